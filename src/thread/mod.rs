//! The thread tree: every thread has a parent, a name, a `please_stop`, and an end that its parent
//! cannot miss. Knows `signal`, `wait` and `os`; knows no log configuration, no profile, no
//! runtime: those come to it through `observe` and `stop`.

mod ask;
mod current;
pub(crate) mod deadlock;
mod failure;
pub(crate) mod failure_context;
pub(crate) mod forked;
mod handle;
mod join;
pub(crate) mod latency;
pub(crate) mod leaving;
pub mod mdc;
pub(crate) mod observe;
pub(crate) mod overdue;
pub(crate) mod panic;
mod register;
mod report;
mod restart;
mod scope;
mod seen;
mod spawn;
pub(crate) mod stop;
pub(crate) mod stop_clock;
pub(crate) mod tree;
mod unseen;

#[cfg(test)]
mod tests;

pub use failure::Failure;
pub(crate) use failure::{is_of_stop, with_sources};
pub use handle::Thread;
pub use join::JoinHandle;
pub(crate) use register::end_those_left;
pub use register::{Registered, register};
pub use restart::{Restart, Restarting};
pub use scope::{Scope, scope};
pub use spawn::{Builder, spawn, spawn_fallible};

/// In which way a parent stops its children when it ends. In both, the youngest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StopOrder {
    /// Ask all of them, then join them: the fastest end.
    #[default]
    Together,
    /// Ask one and join it before the next is asked: for children that use what an older one
    /// provides.
    OneByOne,
}

/// What a parent does when a child fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnChildFailure {
    /// Keep the failure until a thread joins the child or the parent ends. [`Thread::child_failed`]
    /// goes.
    #[default]
    Collect,
    /// The same, and ask all other children to stop.
    StopSiblings,
}
