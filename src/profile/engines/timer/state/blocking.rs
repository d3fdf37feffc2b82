//! Finds what keeps threads from being sampled: threads that block SIGPROF, and another handler of
//! SIGPROF. `obstacles.rs` keeps and reports it.

use super::blocked_looks::Look;
use super::data::{SampledThread, State, cpu_nanos};
use crate::os::task;
use crate::profile::engines::timer::triggers::Source;
use crate::thread::Thread;

/// The CPU time in nanoseconds since its last sample up to which a thread that blocks SIGPROF is
/// not reported.
const LITTLE: u64 = 20_000_000;

impl State {
    /// Looks whether the thread blocks SIGPROF now, and notes it if enough looks in a row have seen
    /// that. Returns `true` if it blocks it now: a perf clock would not reach it either.
    pub(super) fn is_blocking(&mut self, id: i32) -> bool {
        let task = task::read(id);
        let (at, is_wall) = (self.now(), self.triggers.source() == Source::Wall);
        let Some(sampled) = self.sampled.get_mut(&id) else { return false };
        let Some(task) = task.filter(|task| task.blocks_sigprof) else {
            // Of a thread that is gone, it is not known whether it still blocked it.
            if std::mem::take(&mut sampled.blocked_looks).is_noted && task.is_some() {
                self.obstacles.note_unblocked(&sampled.path(id));
            }
            return false;
        };
        let last_sample = if is_wall { 0 } else { sampled.thread_clock.last() };
        let cpu = cpu_nanos(sampled.clock).unwrap_or(0);
        if sampled.blocked_looks.add(Look { at, cpu, last_sample, doing: task.doing }) {
            sampled.blocked_looks.is_noted = true;
            self.obstacles.note_blocking(&sampled.path(id));
        }
        true
    }

    /// Looks which threads block SIGPROF now, without the runtime's own. Returns `true` if another
    /// look is needed, [`APART`] later.
    pub(in super::super) fn find_blocking(&mut self) -> bool {
        if self.ring.is_some() {
            return false;
        }
        let is_wall = self.triggers.source() == Source::Wall;
        let is_suspect = |sampled: &SampledThread| {
            let is_users = !sampled.handles.last().is_some_and(Thread::is_runtimes_own);
            let is_behind = || cpu_nanos(sampled.clock).is_some_and(|now| now > sampled.thread_clock.last() + LITTLE);
            is_users && (is_wall || sampled.blocked_looks.is_noted || is_behind())
        };
        let suspects: Vec<i32> =
            self.sampled.iter().filter(|(_, sampled)| is_suspect(sampled)).map(|(&id, _)| id).collect();
        let mut is_open = false;
        for id in suspects {
            let is_blocking = self.is_blocking(id);
            let is_noted = self.sampled.get(&id).is_some_and(|sampled| sampled.blocked_looks.is_noted);
            is_open |= is_blocking && !is_noted;
        }
        is_open
    }

    /// Returns `true` for the first caller that has seen another handler of SIGPROF.
    pub(in super::super) fn is_displaced_first(&mut self) -> bool {
        self.obstacles.is_displaced_first()
    }

    /// The handler of SIGPROF was replaced while the recording ran. `by`: its description, as given
    /// by `describe_handler`.
    pub(in super::super) fn note_displaced(&mut self, by: String) {
        self.obstacles.note_displaced(by);
    }
}
