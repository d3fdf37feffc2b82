//! What keeps signals from being answered: threads that block SIGPROF, and a handler that other
//! code has put in the place of ours.

use super::{Held, State, nanos};
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
        if let Some(held) = self.held.get(&id).filter(|_| blocks) {
            self.refused.blocks(&held.path(id));
        }
        blocks
    }

    /// Notes the threads of the user's that block SIGPROF just now.
    pub(super) fn find_blocking(&mut self) {
        let is_wall = self.triggers.source() == Source::Wall;
        let hides = |held: &Held| {
            let is_users = !held.threads.last().is_some_and(Thread::is_runtimes_own);
            is_users && (is_wall || nanos(held.clock).is_some_and(|now| now > held.meter.last() + LITTLE))
        };
        let hiding: Vec<i32> = self.held.iter().filter(|(_, held)| hides(held)).map(|(&id, _)| id).collect();
        for id in hiding {
            self.is_blocking(id);
        }
    }

    /// Returns `true` for the first caller that has seen another handler of SIGPROF.
    pub(in crate::profile::engines::timer) fn is_displaced_first(&mut self) -> bool {
        self.refused.is_displaced_first()
    }

    /// The handler of SIGPROF was replaced while the recording ran; `by`: as `answerer::describe`
    /// says it.
    pub(in crate::profile::engines::timer) fn displaced(&mut self, by: String) {
        self.refused.displaced(by);
    }
}

impl Held {
    /// For a message.
    fn path(&self, id: i32) -> String {
        self.threads.last().map_or_else(|| format!("thread {id}"), |thread| thread.path().to_owned())
    }
}
