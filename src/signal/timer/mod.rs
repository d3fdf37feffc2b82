//! The timer: fires Tills that have a target or a receiver. Plain waits on Tills do not need it.
//!
//! Its threads belong to the process and not to a runtime, since its users may outlive a runtime.
//! The first target starts one, and it ends when there has been no target for a while. While a tree
//! of threads is alive, each is a thread of that tree (`main/selvedge/timer`); asked to stop, it
//! leaves the tree, and goes on outside of it if a target is still to come.
//!
//! One thread *leads*: it alone takes targets out and runs them, so they run in the order in which
//! they are due. While it runs a target, a *deputy* watches. If the target takes longer than
//! [`BOUND`] and another one is due, the deputy leads from then on, and the log tells which target
//! it was. The former leader ends with its target, or becomes the deputy.
//!
//! Invariants
//! 1. While `due` or `ready` has an entry, there is a leader, or no thread was to be had when one
//!    was last needed. Then `IS_LEFT_ALONE` is set, and `resume` tries to start one again.
//! 2. Only the leader takes entries out. The lead changes only while `running` is set, so never
//!    between the removal of an entry and the start of its target.
//! 3. Nothing of the user's runs, and nothing is logged, while `state` is locked.

mod at_fork;
mod entries;
mod state;
mod worker;

#[cfg(all(test, not(selvedge_model)))]
pub(super) mod tests;

pub(super) use entries::{add, remove};
pub(crate) use entries::{is_left_alone, resume};
pub(crate) use state::{Member, Tree, set_tree};
