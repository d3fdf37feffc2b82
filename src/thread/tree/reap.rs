//! Reaping of OS threads: ended threads without a joiner are joined by a sibling that ends later,
//! or by the parent. Invariant 4 of `tree` is kept here.

use crate::os::CpuClock;
use crate::thread::leaving;
use std::sync::Arc;
use std::thread::JoinHandle as OsHandle;
use std::time::{Duration, Instant};

/// An ended OS thread that is to be joined.
pub(super) struct Unreaped {
    pub(super) os: OsHandle<()>,
    pub(super) clock: Option<CpuClock>,
    pub(super) path: Arc<str>,
    pub(super) patience: Option<Duration>,
}

/// Maximum number of clocks read per pass (about 0.3 µs each, lock held).
const MOST_LOOKS: usize = 4;

/// Takes out the threads that the system does not have any more. A thread that has only left its
/// body may still run destructors of thread-locals, and those may wait for the caller, or be the
/// caller.
pub(super) fn take_gone(unreaped: &mut Vec<Unreaped>) -> Vec<Unreaped> {
    let (mut looks, mut gone, mut there, mut others) = (0, Vec::new(), Vec::new(), Vec::new());
    for thread in std::mem::take(unreaped) {
        if looks == MOST_LOOKS || !thread.os.is_finished() {
            others.push(thread);
            continue;
        }
        looks += 1;
        if thread.is_gone() { gone.push(thread) } else { there.push(thread) }
    }
    // Next time the others are first.
    others.append(&mut there);
    *unreaped = others;
    gone
}

impl Unreaped {
    fn is_gone(&self) -> bool {
        match self.clock {
            // Another thread may have got its id. Then the thread is found gone at a later pass.
            Some(clock) => clock.is_gone(),
            // Systems without such clocks.
            None => self.os.thread().id() != std::thread::current().id(),
        }
    }
}

/// Joins threads that have ended, or are about to leave their last line.
pub(super) fn reap(threads: Vec<Unreaped>) {
    for thread in threads {
        let since = Instant::now();
        leaving::join(thread.os, &thread.path, thread.patience, || Some(since));
    }
}
