//! When a node comes to an OS thread, and when it leaves it: the time in which the thread's ids,
//! clock and stack are its own.
//!
//! Invariants
//! 1. A node has an [`OsThread`] only if its end is certain to be seen on that OS thread: by the
//!    body that it runs, or by a destructor of a thread-local. So a guard that is leaked leaves no
//!    node with another thread's ids.
//! 2. `ended` is set on the OS thread itself, before its last line, and observers are told then. An
//!    observer that finds it not set while it holds the lock that its own `ended` call takes, keeps
//!    the OS thread alive by that lock.

use super::{Ended, Node, Started};
use crate::os::{CpuClock, OsThread};
use crate::thread::observe;
use std::sync::Arc;
use std::time::Instant;

impl Node {
    /// On the thread itself, first thing. `end_is_seen`: [`leave_os_thread`](Self::leave_os_thread)
    /// will be called before the OS thread ends, even if the program leaks guards. Returns `true`
    /// for the call that started it.
    pub(crate) fn start(self: &Arc<Node>, end_is_seen: bool) -> bool {
        let started = Started { at: Instant::now(), os: end_is_seen.then(OsThread::of_current) };
        let is_first = self.started.set(started).is_ok();
        if is_first {
            observe::started(self);
        }
        is_first
    }

    /// On the thread itself: from here on its ids and its clock are not this node's. The node may
    /// end later, since its children do. Does nothing the second time.
    pub(crate) fn leave_os_thread(self: &Arc<Node>, failed: bool) {
        let cpu_time = self.os_thread().and_then(|os| os.clock).and_then(CpuClock::read);
        if self.ended.set(Ended { at: Instant::now(), cpu_time, failed }).is_ok() {
            observe::ended(self);
        }
    }

    /// The system's handle of its OS thread. Once the thread has ended, it may be another thread's.
    pub(crate) fn os_thread(&self) -> Option<&OsThread> {
        self.started.get()?.os.as_ref()
    }
}
