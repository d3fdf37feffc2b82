//! What keeps signals from being answered: threads that block SIGPROF, and a handler that other
//! code has put in the place of ours.

use super::{SampledThread, State, nanos};
use crate::os::task;
use crate::profile::engines::timer::triggers::Source;
use crate::thread::Thread;

/// With less CPU time since its last sample than this, a thread that blocks SIGPROF hides nothing.
const LITTLE: u64 = 20_000_000;

impl State {
    /// Notes the thread if it blocks SIGPROF just now. Returns `true` if so: a perf clock would not
    /// reach it either.
    pub(super) fn is_blocking(&mut self, id: i32) -> bool {
        let blocks = task::read(id).is_some_and(|task| task.blocks_sigprof);
        if let Some(sampled) = self.sampled.get(&id).filter(|_| blocks) {
            self.obstacles.blocks(&sampled.path(id));
        }
        blocks
    }

    /// Notes the threads of the user's that block SIGPROF just now.
    pub(super) fn find_blocking(&mut self) {
        let is_wall = self.triggers.source() == Source::Wall;
        let hides = |sampled: &SampledThread| {
            let is_users = !sampled.handles.last().is_some_and(Thread::is_runtimes_own);
            is_users && (is_wall || nanos(sampled.clock).is_some_and(|now| now > sampled.thread_clock.last() + LITTLE))
        };
        let hiding: Vec<i32> = self.sampled.iter().filter(|(_, sampled)| hides(sampled)).map(|(&id, _)| id).collect();
        for id in hiding {
            self.is_blocking(id);
        }
    }

    /// Returns `true` for the first caller that has seen another handler of SIGPROF.
    pub(in crate::profile::engines::timer) fn is_displaced_first(&mut self) -> bool {
        self.obstacles.is_displaced_first()
    }

    /// The handler of SIGPROF was replaced while the recording ran; `by`: as `describe_handler`
    /// says it.
    pub(in crate::profile::engines::timer) fn displaced(&mut self, by: String) {
        self.obstacles.displaced(by);
    }
}

impl SampledThread {
    /// For a message.
    fn path(&self, id: i32) -> String {
        self.handles.last().map_or_else(|| format!("thread {id}"), |thread| thread.path().to_owned())
    }
}
