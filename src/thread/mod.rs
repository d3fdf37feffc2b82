//! The thread tree: every thread has a parent, a name, a `please_stop`, and an end that its parent
//! cannot miss. Knows `signal`, `wait` and `os`; knows no log configuration, no profile, no
//! runtime: those put themselves in through `observe`, `failure_context`, `leaving` and `panic`.
//!
//! From the bottom up: `failure` (what is known of a thread that failed), `failing` (how a
//! function's end becomes a failure), `policy` (what is chosen at the spawn), `tree` (nodes and
//! their states), `current` and `roots` (which node the calling thread is), `stop` (how a stop
//! travels), `spawn`, `scope`, `join`, `register`, `restart` (what programs call), `deadlock`
//! (waits that no thread can end).

mod backtrace;
pub(crate) mod bodies;
pub(crate) mod current;
pub(crate) mod deadlock;
mod failing;
pub(crate) mod failure;
pub(crate) mod failure_context;
pub(crate) mod foreign_locals;
pub(crate) mod forked;
mod handle;
pub(crate) mod held;
mod join;
mod kept_error;
pub(crate) mod latency;
pub(crate) mod leaving;
pub mod mdc;
pub(crate) mod observe;
pub(crate) mod overdue;
pub(crate) mod panic;
pub(crate) mod panic_flags;
mod panic_log;
mod policy;
pub(crate) mod pool_names;
mod register;
mod registration;
mod report;
mod restart;
mod result_slot;
pub(crate) mod roots;
mod scope;
mod seen;
mod spawn;
mod standstill;
pub(crate) mod stop;
pub(crate) mod stop_clock;
pub(crate) mod tree;
mod unseen;

#[cfg(test)]
mod tests;

pub(crate) use failing::{is_of_stop, with_sources};
pub use failure::Failure;
pub use handle::Thread;
pub use join::JoinHandle;
pub(crate) use kept_error::boxed;
pub use policy::{OnChildFailure, StopOrder};
pub use register::{Registered, register, register_once};
pub(crate) use registration::end_those_left;
pub use restart::{Restart, Restarting};
pub use scope::{Scope, scope};
pub use spawn::{Builder, spawn, spawn_fallible};
