//! A queue in the child of a fork, and at the end of its process: what it holds is tried a last
//! time, and what is lost is told on stderr.

use super::{Channel, lock};
use crate::log::drain_lock::is_draining;
use crate::log::forked_child::{self, Loss};
use crate::log::process_state::Process;
use crate::log::record::Captured;
use crate::log::seam::{MutexGuard, sleep};
use crate::log::sinks::Sinks;
use crate::os::tell::remark;
use crate::signal::Signal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the exit handlers after ours are expected to take at most.
const LONGEST_EXIT: Duration = Duration::from_secs(1);
/// What the ending thread writes between two looks at the clock.
const LAST_BATCH: usize = 64;

impl Channel {
    /// The sinks, for the thread that has the right to drain. In the child of a fork, the first call
    /// discards what they hold: it is the parent's.
    pub(super) fn own_sinks(&self) -> MutexGuard<'_, Sinks> {
        let mut sinks = lock(&self.sinks);
        if self.drain_lock.take_over() {
            sinks.forget();
        }
        sinks
    }

    /// In the child of a fork: each thread writes its records itself, and waits for other threads of
    /// the child that write.
    pub(super) fn write_in_child(&self, to: usize, captured: Captured) -> bool {
        if is_draining() {
            return forked_child::count_lost(Loss::WithinAppender);
        }
        // `None` while the process aborts.
        let Some(_guard) = self.enter(None) else { return forked_child::count_lost(Loss::Aborting) };
        let mut sinks = self.own_sinks();
        sinks.write(to, 0, captured);
        sinks.flush();
        true
    }

    /// In the child of a fork: a record is written before `put` returns, unless its appender fails.
    pub(super) fn flush_in_child(&self, deadline: Option<Instant>) -> bool {
        let guard = self.enter(deadline);
        if guard.is_some() {
            self.own_sinks().flush();
        }
        guard.is_some()
    }

    /// Tries failing sinks a last time, and tells what they lose.
    pub(in crate::log) fn finish_sinks(&self) {
        if self.drain_lock.process() == Process::ForkedWhileLocked {
            return;
        }
        if let Some(_guard) = self.enter(None) {
            self.own_sinks().finish(None);
        }
    }

    /// For a flush while another thread exits. It must not return as if the log were written.
    /// Mostly the process ends during the sleep; but an exit handler may wait for the calling
    /// thread.
    pub(super) fn wait_out_exit(&self) -> bool {
        sleep(LONGEST_EXIT);
        false
    }

    /// Waits while another thread exits. The writer has ended for that reason; without the wait its
    /// caller would start it again and again.
    pub(in crate::log) fn pause_after_exit(&self, please_stop: &Signal) {
        if self.drain_lock.is_exiting_elsewhere() {
            please_stop.wait_for_go_timeout(LONGEST_EXIT);
        }
    }

    /// At exit, after the flush: from now on only the calling thread writes.
    pub(in crate::log) fn begin_exit(&self, deadline: Instant) {
        if self.drain_lock.begin_exit(deadline) {
            self.state.store(super::DIRECT, Ordering::SeqCst);
            self.room.wake();
        }
    }

    /// At the end of the process: writes what is queued, up to `deadline`, then finishes the sinks,
    /// up to `limit` (see `Sinks::finish`). What is lost is told. `is_flushed`: what a `flush` just
    /// before has returned; without one, `false`.
    pub(in crate::log) fn finish_exit(&self, is_flushed: bool, deadline: Instant, limit: Option<Instant>) {
        match self.drain_lock.process() {
            Process::Normal | Process::Forked | Process::Exiting | Process::ExitOwner => {}
            // The thread that exits does this; or the sinks are never free in this process.
            Process::ExitingElsewhere | Process::ForkedWhileLocked => return,
        }
        while self.queued() > 0 && Instant::now() < deadline && self.drain_most(LAST_BATCH, Some(deadline)) > 0 {}
        // `None` if a thread is within an appender: the calling thread, or a thread that hangs there.
        let guard = self.enter(Some(deadline));
        let queued = self.queued();
        if queued > 0 || guard.is_none() && !is_flushed {
            let held = if guard.is_some() { "" } else { ", and what its appenders hold" };
            remark(&format!(
                "selvedge: the queue `{}` was not written in time, and the process ends; lost: up to {queued} records \
                 in its queue{held}",
                self.name
            ));
        }
        if guard.is_some() {
            self.own_sinks().finish(limit);
        }
    }

    /// How many records are queued, at most: calls of `flush` are counted as well. None in the child
    /// of a fork, where they are the parent's.
    fn queued(&self) -> usize {
        match self.drain_lock.process() {
            Process::Forked => 0,
            _ => self.receiver.len() + lock(&self.deferred).len(),
        }
    }
}
