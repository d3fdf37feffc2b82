//! Signals: irreversible, binary, shared. Knows `os` and `wait`; knows no threads of the tree, no
//! queues.
//!
//! `handle` is what programs use; `compose` has its `|` and `&`, `till` the signals that go by the
//! clock, `reason` why a signal went. Behind it are `core` (the state and its protocol), `walk`
//! (the parts of composites), `wait_set` and `token` (blocking), `links`, `on_go`, `targets` and
//! `running` (targets) and `timer` (targets on Tills). `lazy` and `batch_wake` save the tree time,
//! `stops` tells it that a thread was asked.

// First, so that the documentation of a signal begins with how it is made.
mod handle;

mod batch_wake;
mod compose;
mod core;
mod lazy;
mod links;
#[cfg(all(test, selvedge_loom))]
mod loom_tests;
mod on_go;
mod reason;
mod running;
mod stops;
mod targets;
mod till;
mod timer;
mod token;
mod wait_set;
mod walk;

#[cfg(all(test, not(selvedge_model)))]
mod tests;

pub(crate) use batch_wake::BatchWake;
pub use handle::Signal;
pub(crate) use lazy::LazySignal;
pub use on_go::{OnGo, OnGoScoped};
pub use reason::Reason;
pub(crate) use running::{RunningTarget, running_targets};
pub(crate) use stops::{PLEASE_STOP, observe_stops};
pub use till::Till;
pub(crate) use timer::{
    Member as TimerMember, Tree as TimerTree, is_left_alone as is_timer_left_alone, resume as resume_timer,
    set_tree as set_timer_tree,
};
pub(crate) use token::Token;
pub(crate) use wait_set::WaitSet;
