//! Deferred attachment: new threads that have no slot and no trigger yet.
//!
//! When many short threads start, a thread whose first sample is due after the next tick gets no
//! slot or timer until the sampler's next round. Most end first. And a thread that starts while the
//! engine's lock is taken does not wait for it: the thread that has the lock admits it. It may have
//! ended by then.
//!
//! Invariants
//! 1. A deferred thread is neither in `sampled` nor in `registered`. It is in `deferred` until it
//!    is attached, has ended, or the recording ends. So it has one account in all, which has its
//!    CPU clock from 0 on.
//! 2. A deferred thread has reported its start itself. So it calls `detach` before it ends, or the
//!    recording ends first: its id, clock and stack are its own until then, also when its end is
//!    set.
//! 3. Where timers sample, a thread that is about to call `detach` is not attached: all its time is
//!    `[unsampled]`. By the wall clock it has counted waits, and the kernel's rings may have
//!    samples of it. So it is attached then.

use super::data::{Deferred, State, cpu_nanos};
use crate::profile::engines::timer::accounting::{Accounting, ThreadClock};
use crate::profile::engines::timer::triggers::Source;
use crate::profile::raw::Nanos;
use crate::thread::Thread;
use std::time::{Duration, Instant};

impl State {
    /// Starts to sample the new threads that have found the lock taken.
    pub(in super::super) fn admit_newcomers(&mut self) {
        self.newcomers.take().iter().for_each(|thread| self.admit(thread));
    }

    /// The same, for the last time.
    pub(super) fn admit_last_newcomers(&mut self) {
        self.newcomers.close().iter().for_each(|thread| self.admit(thread));
        self.attach_all_deferred();
    }

    fn admit(&mut self, thread: &Thread) {
        self.attach_newcomer(thread);
        if !self.is_known(thread) {
            // It has no place, as in a full table. Nothing would end its counts.
            self.newcomers.refuse(thread);
        }
    }

    fn attach_newcomer(&mut self, thread: &Thread) {
        if !self.running || self.is_known(thread) {
            return;
        }
        let Some(clock) = thread.cpu_clock() else { return };
        self.cpu.new_threads += 1;
        let first = self.cpu.draw_first_expiry(&self.triggers);
        if thread.ended_at().is_some() {
            let deferred = Deferred { thread: thread.clone(), id: clock.thread(), first };
            self.deferred.insert(thread.id(), deferred);
        } else if !self.defer(thread, clock.thread(), first) {
            self.register(thread, true, rest_of(first, thread));
        }
    }

    /// Returns `true` if the thread has an account, or is deferred.
    pub(super) fn is_known(&self, thread: &Thread) -> bool {
        self.registered.contains_key(&thread.id()) || self.deferred.contains_key(&thread.id())
    }

    /// Attaches the deferred threads that have something to account beside their CPU time, also
    /// those about to end.
    pub(super) fn attach_all_deferred(&mut self) {
        if !matches!(self.triggers.source(), Source::Cpu { .. }) {
            self.attach_deferred();
        }
    }

    /// Defers the attachment of a new thread, and returns `true`, if that is possible.
    pub(super) fn defer(&mut self, thread: &Thread, id: i32, first: Duration) -> bool {
        // If the id is in `sampled`, that entry belongs to an earlier thread, and `register` must
        // end it first.
        let may = self.cpu.is_spawning_fast && self.triggers.can_wait(first) && !self.sampled.contains_key(&id);
        if may {
            self.deferred.insert(thread.id(), Deferred { thread: thread.clone(), id, first });
        }
        may
    }

    /// Attaches the deferred threads, where timers sample only those that have not ended.
    pub(super) fn attach_deferred(&mut self) {
        let has_timers = matches!(self.triggers.source(), Source::Cpu { .. });
        for (key, deferred) in std::mem::take(&mut self.deferred) {
            if has_timers && deferred.thread.ended_at().is_some() {
                self.deferred.insert(key, deferred);
                continue;
            }
            self.register(&deferred.thread, true, rest_of(deferred.first, &deferred.thread));
        }
    }

    /// Attaches the deferred threads if one of them has that kernel id: it is about to be
    /// registered under a second name.
    pub(super) fn attach_deferred_as(&mut self, id: i32) {
        if self.deferred.values().any(|deferred| deferred.id == id) {
            self.attach_deferred();
        }
    }

    /// Closes the account of a thread that is not registered and has ended, if it was deferred.
    pub(super) fn end_deferred(&mut self, thread: &Thread) {
        let Some(deferred) = self.deferred.remove(&thread.id()) else { return };
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
        for deferred in self.deferred.values() {
            let clock = deferred.thread.cpu_clock().and_then(cpu_nanos);
            close(accounting, deferred, self.nanos_since_start(deferred.thread.started_at()), clock);
        }
    }
}

/// What is left until a new thread's first sample is due. Its CPU clock has advanced since it
/// started.
fn rest_of(first: Duration, thread: &Thread) -> Duration {
    let used = || thread.cpu_clock().and_then(|clock| clock.read()).unwrap_or_default();
    if first.is_zero() { first } else { first.saturating_sub(used()) }
}

/// Opens and closes the account of a deferred thread: all its time is `[unsampled]`.
fn close(accounting: &mut Accounting, deferred: &Deferred, started: Nanos, clock: Option<u64>) -> usize {
    let thread = &deferred.thread;
    let account = accounting.open(thread.path().into(), thread.os_thread(), started);
    accounting.set_spawn_site(account, thread.spawned_at());
    accounting.close(&mut ThreadClock::new(account, 0), clock.unwrap_or(0));
    account
}
