//! What is chosen when a thread is spawned: its role, how it stops its children, what it does when
//! one fails. Types only; `stop.rs` acts on them.

use std::panic::Location;
use std::time::Duration;

/// In which way a parent stops its children when it ends. In both, the youngest comes first.
///
/// ```
/// use selvedge::{Builder, StopOrder, spawn};
///
/// // The cache is older than the readers, which use it until they have stopped.
/// let service = Builder::new("service").stop_order(StopOrder::OneByOne).spawn(|please_stop| {
///     drop(spawn("cache", |please_stop| please_stop.wait_for_go()));
///     drop(spawn("reader", |please_stop| please_stop.wait_for_go()));
///     please_stop.wait_for_go();
/// })?;
/// service.stop();
/// service.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
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
///
/// ```
/// use selvedge::{Builder, OnChildFailure, spawn, spawn_fallible};
///
/// let pair = Builder::new("pair").on_child_failure(OnChildFailure::StopSiblings).spawn(|_please_stop| {
///     let other = spawn("other", |please_stop| please_stop.wait_for_go());
///     drop(spawn_fallible("fails", |_please_stop| Err::<(), _>("out of paper")));
///     other.join().unwrap(); // Ends, since its sibling has failed.
/// })?;
/// assert!(pair.join().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnChildFailure {
    /// Keep the failure until a thread joins the child or the parent ends.
    /// [`Thread::child_failed`](crate::Thread::child_failed) goes.
    #[default]
    Collect,
    /// The same, and ask all other children to stop. A child that is spawned after the failure is
    /// asked at once, until a thread joins the failed child, or its handle is released. Where a
    /// parent is restarted, the end of its run takes the failures along.
    StopSiblings,
}

/// What a thread is to the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `main`.
    Root,
    /// Spawned or registered by the program.
    User,
    /// The runtime's own: asked to stop after all threads of the user.
    Runtime,
    /// An unregistered thread. Not part of the tree: only a name for `Thread::current`.
    Unregistered,
}

/// The settings that it was spawned with.
#[derive(Clone, Debug)]
pub(crate) struct SpawnSettings {
    pub(crate) role: Role,
    pub(crate) stop_order: StopOrder,
    pub(crate) on_child_failure: OnChildFailure,
    /// How long its end may take before it is reported. `None`: the runtime's setting.
    pub(crate) patience: Option<Duration>,
    /// Its parent was named: it may be spawned for a pool, whose jobs borrow from each other.
    pub(crate) is_placed: bool,
    /// Its parent does not wait for its end: it was registered until its OS thread ends, which may
    /// be after the end of the program's threads.
    pub(crate) is_lent: bool,
    /// The call that spawned it; `main` and foreign threads have none.
    pub(crate) spawned_at: Option<&'static Location<'static>>,
}

impl SpawnSettings {
    pub(crate) fn of(role: Role) -> SpawnSettings {
        SpawnSettings {
            role,
            stop_order: StopOrder::default(),
            on_child_failure: OnChildFailure::default(),
            patience: None,
            is_placed: false,
            is_lent: false,
            spawned_at: None,
        }
    }

    /// For a thread of the user's that the caller spawns.
    #[track_caller]
    pub(crate) fn here() -> SpawnSettings {
        SpawnSettings { spawned_at: Some(Location::caller()), ..SpawnSettings::of(Role::User) }
    }
}
