//! How threads wait for room in the log's queue, and are woken. Knows neither the queue nor its
//! writer.

use super::seam::{Condvar, Mutex};
use crate::model::AtomicUsize;
use crate::wait::{self, Stamp};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) struct Room {
    /// The number of threads that wait for room. SeqCst: either the waiting thread sees the room,
    /// or the thread that has made it sees the count.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    /// Notified when there is room.
    made: Condvar,
    /// Of the thread that has made room last.
    stamp: Stamp,
}

impl Room {
    pub(super) fn new() -> Room {
        Room { waiting: AtomicUsize::new(0), lock: Mutex::new(()), made: Condvar::new(), stamp: Stamp::default() }
    }

    /// Blocks while `is_missing`, but no longer than `limit`: then the caller looks again.
    /// `wake_writer` is called before.
    pub(super) fn wait(&self, wake_writer: impl FnOnce(), is_missing: impl FnOnce() -> bool, limit: Duration) {
        // Before the check under the lock: either the check sees the new room, or the thread that
        // makes room sees the count and wakes this thread.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        wake_writer();
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if is_missing() {
            wait::begin_sleep();
            let _woken = self.made.wait_timeout(guard, limit);
            wait::ended_by(|| self.stamp.get());
        } else {
            drop(guard);
        }
        // Relaxed: a count that is seen too high costs a wake-up, and no thread waits for it to
        // fall.
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes the threads that wait. The caller has made room.
    pub(super) fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.stamp.set();
            self.made.notify_all();
        }
    }
}
