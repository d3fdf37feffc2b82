//! A queue at the end of its process: what it holds is tried a last time, and what is lost is told
//! on stderr.

use super::{Channel, lock};
use crate::log::process_state::Process;
use crate::log::seam::sleep;
use crate::os::tell::remark;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the exit handlers after ours are expected to take at most.
pub(super) const LONGEST_EXIT: Duration = Duration::from_secs(1);
/// What the ending thread writes between two looks at the clock.
const LAST_BATCH: usize = 64;

impl Channel {
    /// Tries failing sinks a last time, and tells what they lose. Not in the child of a fork, where
    /// the records that they hold are the parent's.
    pub(in crate::log) fn finish_sinks(&self) {
        if matches!(self.drain_lock.process(), Process::Forked | Process::ForkedWhileLocked) {
            return;
        }
        if let Some(_guard) = self.enter(None) {
            lock(&self.sinks).finish(None);
        }
    }

    /// For a flush while another thread exits. It must not return as if the log were written.
    /// Mostly the process ends during the sleep; but an exit handler may wait for the calling
    /// thread.
    pub(super) fn wait_out_exit(&self) -> bool {
        sleep(LONGEST_EXIT);
        false
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
            Process::Normal | Process::Exiting | Process::ExitOwner => {}
            // The thread that exits does this. In the child of a fork, all is the parent's.
            Process::ExitingElsewhere | Process::Forked | Process::ForkedWhileLocked => return,
        }
        while self.queued() > 0 && Instant::now() < deadline && self.drain_most(LAST_BATCH, Some(deadline)) > 0 {}
        // `None` within an appender, and if another thread is within one that hangs.
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
            lock(&self.sinks).finish(limit);
        }
    }

    /// How many records are queued, at most: calls of `flush` are counted as well.
    fn queued(&self) -> usize {
        self.receiver.len() + lock(&self.deferred).len()
    }
}
