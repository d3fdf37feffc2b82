//! The number of threads of the process whose bodies this crate runs. The search for deadlocks
//! compares it with the system's number of threads.

use crate::os::fork::{self, PerProcess};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads whose body runs and that this crate has started, so it knows their lenders. Threads with
/// a named parent are not counted: they may belong to a pool, and lend each other values that this
/// crate does not see.
static BODIES: PerProcess<AtomicUsize> = PerProcess::new(AtomicUsize::new(0), AtomicUsize::default);

/// Counts the calling thread as one of ours until the guard drops. Called by the body of each
/// spawned thread, and on the threads of the timer and of the runtime's reserve.
pub(crate) fn count_body() -> Counted {
    // Relaxed: compared with what the kernel counts; a difference only delays a finding.
    BODIES.fetch_add(1, Ordering::Relaxed);
    Counted(fork::generation())
}

/// The generation of the process in which it counts.
pub(crate) struct Counted(u32);

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0 == fork::generation() {
            BODIES.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Returns `true` if the process has, or may have, threads that are neither `main` nor counted.
pub(super) fn has_unregistered_threads() -> bool {
    let before = BODIES.load(Ordering::Relaxed);
    let count = crate::os::thread_count();
    count != Some(before + 1) || BODIES.load(Ordering::Relaxed) != before
}
