//! Deferred attachment: when many short threads start, a thread whose first sample is due after the
//! next tick gets no slot or timer until the sampler's next round. Most end first.
//!
//! Invariants
//! 1. A deferred thread is neither in `sampled` nor in `registered`. It is in `deferred` until it
//!    is attached, has ended, or the recording ends. So it has one account in all, which has its
//!    CPU clock from 0 on.
//! 2. A thread that is about to call `detach` is not attached.

use super::cpu::Deferred;
use super::data::{State, cpu_nanos};
use crate::profile::engines::timer::accounting::{Accounting, ThreadClock};
use crate::profile::raw::Nanos;
use crate::thread::Thread;
use std::time::{Duration, Instant};

impl State {
    /// Defers the attachment of a new thread, and returns `true`, if that is possible.
    pub(super) fn defer(&mut self, thread: &Thread, id: i32, first: Duration) -> bool {
        // If the id is in `sampled`, that entry belongs to an earlier thread, and `register` must
        // end it first.
        let may = self.cpu.is_spawning_fast && self.triggers.can_wait(first) && !self.sampled.contains_key(&id);
        if may {
            self.cpu.deferred.insert(thread.id(), Deferred { thread: thread.clone(), id, first });
        }
        may
    }

    /// Attaches the deferred threads that have not ended.
    pub(super) fn attach_deferred(&mut self) {
        for (key, deferred) in std::mem::take(&mut self.cpu.deferred) {
            if deferred.thread.ended_at().is_some() {
                self.cpu.deferred.insert(key, deferred);
                continue;
            }
            // Its CPU clock has advanced since `first` was drawn.
            let used = deferred.thread.cpu_clock().and_then(|clock| clock.read()).unwrap_or_default();
            self.register(&deferred.thread, true, deferred.first.saturating_sub(used));
        }
    }

    /// Attaches the deferred threads if one of them has that kernel id: it is about to be
    /// registered under a second name.
    pub(super) fn attach_deferred_as(&mut self, id: i32) {
        if self.cpu.deferred.values().any(|deferred| deferred.id == id) {
            self.attach_deferred();
        }
    }

    /// Closes the account of a thread that is not registered and has ended, if it was deferred.
    pub(super) fn end_deferred(&mut self, thread: &Thread) {
        let Some(deferred) = self.cpu.deferred.remove(&thread.id()) else { return };
        let clock = thread.cpu_time().map(|time| time.as_nanos() as u64);
        let ended = self.nanos_since_start(thread.ended_at().unwrap_or_else(Instant::now));
        let started = self.nanos_since_start(deferred.thread.started_at());
        let account = close(&mut self.accounting, &deferred, started, clock);
        self.accounting.end(account, ended);
        if let (Some(tracing), Some(clock)) = (&mut self.tracing, clock) {
            tracing.close(ended.max(0) as u64, &mut 0, clock);
            tracing.hand_over(Some(thread));
        }
        self.expect_unregistered(deferred.id, clock);
    }

    /// Closes the accounts of all deferred threads, as if they ended now.
    pub(super) fn close_deferred(&self, accounting: &mut Accounting) {
        for deferred in self.cpu.deferred.values() {
            let clock = deferred.thread.cpu_clock().and_then(cpu_nanos);
            close(accounting, deferred, self.nanos_since_start(deferred.thread.started_at()), clock);
        }
    }
}

/// Opens and closes the account of a deferred thread: all its time is `[unsampled]`.
fn close(accounting: &mut Accounting, deferred: &Deferred, started: Nanos, clock: Option<u64>) -> usize {
    let thread = &deferred.thread;
    let account = accounting.open(thread.path().into(), thread.os_thread(), started);
    accounting.set_spawn_site(account, thread.spawned_at());
    accounting.close(&mut ThreadClock::new(account, 0), clock.unwrap_or(0));
    account
}
