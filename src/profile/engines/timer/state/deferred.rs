//! Deferred attachment: when many short threads start, a thread whose first sample is due after the
//! next tick gets no slot or timer until the sampler's next round. Most end first.
//!
//! Invariants
//! 1. A deferred thread is neither in `sampled` nor in `known`. It is in `deferred` until it is
//!    attached, has ended, or the recording ends. So it has one account in all, which has its CPU
//!    clock from 0 on.
//! 2. A thread that is about to call `detach` is not attached.

use super::{State, nanos};
use crate::profile::engines::Nanos;
use crate::profile::engines::timer::accounting::{Accounting, ThreadClock};
use crate::thread::Thread;
use std::time::{Duration, Instant};

pub(super) struct Deferred {
    thread: Thread,
    /// The kernel's id.
    id: i32,
    /// When it is due for the first time, by its CPU clock.
    first: Duration,
}

impl State {
    /// Defers the attachment of a new thread, and returns `true`, if that is possible.
    pub(super) fn defer(&mut self, thread: &Thread, id: i32, first: Duration) -> bool {
        // What is still held by that id is another thread's, and must not be taken for this one's.
        let may = self.is_spawning_fast && self.triggers.can_wait(first) && !self.sampled.contains_key(&id);
        if may {
            self.deferred.insert(thread.id(), Deferred { thread: thread.clone(), id, first });
        }
        may
    }

    pub(super) fn attach_deferred(&mut self) {
        for (key, deferred) in std::mem::take(&mut self.deferred) {
            if deferred.thread.ended_at().is_some() {
                self.deferred.insert(key, deferred);
                continue;
            }
            // It is due by a clock that has gone on meanwhile.
            let used = deferred.thread.cpu_clock().and_then(|clock| clock.read()).unwrap_or_default();
            self.register(&deferred.thread, true, deferred.first.saturating_sub(used));
        }
    }

    /// The same if a deferred thread has that kernel id: the thread is about to get another name.
    pub(super) fn attach_deferred_as(&mut self, id: i32) {
        if self.deferred.values().any(|deferred| deferred.id == id) {
            self.attach_deferred();
        }
    }

    /// A thread that is not known has ended.
    pub(super) fn end_deferred(&mut self, thread: &Thread) {
        let Some(deferred) = self.deferred.remove(&thread.id()) else { return };
        let clock = thread.cpu_time().map(|time| time.as_nanos() as u64);
        let ended = self.time(thread.ended_at().unwrap_or_else(Instant::now));
        let started = self.time(deferred.thread.started_at());
        let account = close(&mut self.accounting, &deferred, started, clock);
        self.accounting.end(account, ended);
        self.has_left_tree(deferred.id, clock);
    }

    /// Closes the accounts of all deferred threads, as if they ended now.
    pub(super) fn close_deferred(&self, accounting: &mut Accounting) {
        for deferred in self.deferred.values() {
            let clock = deferred.thread.cpu_clock().and_then(nanos);
            close(accounting, deferred, self.time(deferred.thread.started_at()), clock);
        }
    }
}

/// All that it has used was not seen.
fn close(accounting: &mut Accounting, deferred: &Deferred, started: Nanos, clock: Option<u64>) -> usize {
    let thread = &deferred.thread;
    let account = accounting.open(thread.path().into(), thread.os_thread(), started);
    accounting.is_spawned_at(account, thread.spawned_at());
    accounting.settle(&mut ThreadClock::new(account, 0), clock.unwrap_or(0));
    account
}
