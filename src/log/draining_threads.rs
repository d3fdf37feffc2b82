//! Which threads are within the sinks of a queue, for the handler of SIGABRT. The handler may not
//! touch a thread-local, whose first use allocates in a library that was loaded later; so they are
//! in a static array.

use crate::os;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The most threads that are marked at a time. One thread for each queue can be within its sinks.
const MOST: usize = 64;

/// | value | meaning | stored by |
/// |---|---|---|
/// | 0 | free | the thread that was within its sinks; the child of a fork |
/// | a `pthread_t` | that thread is within the sinks of a queue | that thread, if it was 0 |
///
/// SeqCst, although a thread only looks for its own stores, which any order gives: the cost is
/// small beside a batch.
static THREADS: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];

/// The calling thread is marked as within the sinks until this drops. Beyond [`MOST`] threads it is
/// not marked: its abort then waits for itself, up to the limit.
pub(super) struct DrainMark(Option<&'static AtomicU64>);

impl DrainMark {
    pub(super) fn enter() -> DrainMark {
        let this = os::thread_handle();
        DrainMark(THREADS.iter().find(|place| place.compare_exchange(0, this, SeqCst, SeqCst).is_ok()))
    }
}

impl Drop for DrainMark {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(0, SeqCst);
        }
    }
}

/// Returns `true` if the calling thread is within the sinks of a queue.
///
/// # Signal safety
/// Safe. Calls `pthread_self`, and loads.
pub(super) fn is_calling_thread_draining() -> bool {
    let this = os::thread_handle();
    this != 0 && THREADS.iter().any(|place| place.load(SeqCst) == this)
}

/// In the child of a fork: the other threads are not there, and a new thread may get the
/// `pthread_t` of one of them.
pub(super) fn keep_calling_thread_only() {
    let this = os::thread_handle();
    for place in &THREADS {
        if place.load(SeqCst) != this {
            place.store(0, SeqCst);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_until_its_mark_drops() {
        let is_inside = || std::thread::spawn(is_calling_thread_draining).join().unwrap();
        assert!(!is_calling_thread_draining());
        let (outer, inner) = (DrainMark::enter(), DrainMark::enter());
        assert!(is_calling_thread_draining() && !is_inside());
        drop(outer);
        assert!(is_calling_thread_draining());
        drop(inner);
        assert!(!is_calling_thread_draining());
    }
}
