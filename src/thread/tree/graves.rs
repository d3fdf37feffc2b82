//! Ended OS threads that no thread joins by name: a sibling that ends later, or the parent, joins them.

use crate::os::CpuClock;
use crate::thread::leaving;
use std::sync::Arc;
use std::thread::JoinHandle as OsHandle;
use std::time::{Duration, Instant};

/// An ended thread that is to be joined.
pub(super) struct Grave {
    pub(super) os: OsHandle<()>,
    pub(super) clock: Option<CpuClock>,
    pub(super) path: Arc<str>,
    pub(super) patience: Option<Duration>,
}

/// At how many clocks somebody who comes by looks, at a third of a microsecond each and with the lock held.
const MOST_LOOKS: usize = 4;

/// Those of `graves` whose threads the system does not have any more. Of one that has only left its body the thread-locals may
/// still have destructors to run, and those may wait for the caller, or be it.
pub(super) fn take_gone(graves: &mut Vec<Grave>) -> Vec<Grave> {
    let (mut looks, mut gone, mut there, mut others) = (0, Vec::new(), Vec::new(), Vec::new());
    for grave in std::mem::take(graves) {
        if looks == MOST_LOOKS || !grave.os.is_finished() {
            others.push(grave);
            continue;
        }
        looks += 1;
        if grave.is_gone() { gone.push(grave) } else { there.push(grave) }
    }
    // Next time the others are first.
    others.append(&mut there);
    *graves = others;
    gone
}

impl Grave {
    fn is_gone(&self) -> bool {
        match self.clock {
            // Another thread may have got its id; then this is found out later.
            Some(clock) => clock.is_gone(),
            // Where there are no such clocks.
            None => self.os.thread().id() != std::thread::current().id(),
        }
    }
}

/// Joins threads that have ended, or are about to leave their last line.
pub(super) fn bury(graves: Vec<Grave>) {
    for grave in graves {
        let since = Instant::now();
        leaving::join(grave.os, &grave.path, grave.patience, || Some(since));
    }
}
