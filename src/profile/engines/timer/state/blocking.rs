//! Finds what keeps threads from being sampled: threads that block SIGPROF, and another handler of
//! SIGPROF. `obstacles.rs` keeps and reports it.

use super::data::{SampledThread, State, cpu_nanos};
use crate::os::task;
use crate::profile::engines::timer::triggers::Source;
use crate::thread::Thread;

/// The CPU time in nanoseconds since its last sample up to which a thread that blocks SIGPROF is
/// not reported.
const LITTLE: u64 = 20_000_000;

impl State {
    /// Notes the thread if it blocks SIGPROF now. Returns `true` if so: a perf clock would not
    /// reach it either.
    pub(super) fn is_blocking(&mut self, id: i32) -> bool {
        let blocks = task::read(id).is_some_and(|task| task.blocks_sigprof);
        if let Some(sampled) = self.sampled.get(&id).filter(|_| blocks) {
            self.obstacles.note_blocking(&sampled.path(id));
        }
        blocks
    }

    /// Notes the threads that block SIGPROF now, without the runtime's own.
    pub(super) fn find_blocking(&mut self) {
        if self.ring.is_some() {
            return;
        }
        let is_wall = self.triggers.source() == Source::Wall;
        let is_suspect = |sampled: &SampledThread| {
            let is_users = !sampled.handles.last().is_some_and(Thread::is_runtimes_own);
            let is_behind = || cpu_nanos(sampled.clock).is_some_and(|now| now > sampled.thread_clock.last() + LITTLE);
            is_users && (is_wall || is_behind())
        };
        let suspects: Vec<i32> =
            self.sampled.iter().filter(|(_, sampled)| is_suspect(sampled)).map(|(&id, _)| id).collect();
        for id in suspects {
            self.is_blocking(id);
        }
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
