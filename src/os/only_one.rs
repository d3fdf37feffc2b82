//! A right that one holder in a process has at a time: the runtime, the recording, a dump that is
//! being made. Taken without blocking, given back when it is dropped.

use super::fork::{self, PerProcess};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct OnlyOne {
    taken: &'static PerProcess<AtomicBool>,
    /// The generation of the process that has taken it: a forked child, which has a flag of its
    /// own, gives nothing back.
    generation: u32,
}

impl OnlyOne {
    /// Takes the right. `None` if it is taken already.
    pub(crate) fn try_take(taken: &'static PerProcess<AtomicBool>) -> Option<OnlyOne> {
        fork::watch();
        // SeqCst: nothing here is hot. Not then_some: that would make, and drop, one in any case.
        (!taken.swap(true, Ordering::SeqCst)).then(|| OnlyOne { taken, generation: fork::generation() })
    }

    /// Returns `true` if this process has taken it, and not the process that forked it.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.generation == fork::generation()
    }
}

impl Drop for OnlyOne {
    fn drop(&mut self) {
        if self.is_of_this_process() {
            self.taken.store(false, Ordering::SeqCst);
        }
    }
}
