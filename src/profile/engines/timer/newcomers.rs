//! New threads that found the engine's lock taken. A thread that starts does not wait for that
//! lock. With hundreds of runnable threads, the thread that gets the lock next is woken, and has a
//! processor only after all others. Each later thread would wait for that. The thread that has the
//! lock admits them. Knows threads, and no state of the recording.
//!
//! Invariants
//! 1. A thread that was taken out has reported its start itself, and counts its waits if the
//!    recording asks.
//! 2. After `close`, no thread goes on counting for the recording: it sees that the recording is
//!    closed, or `close` has taken it out.

use crate::thread::Thread;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub(super) struct Newcomers {
    /// When the recording began.
    began: Instant,
    /// By the wall clock, each thread counts its waits from its start on.
    counts_waits: bool,
    /// The recording has ended. Stored by the thread that ends it, before it takes the last threads
    /// out; loaded by a newcomer after it has put itself in. SeqCst on both sides: at least one of
    /// the two sees the other.
    is_closed: AtomicBool,
    /// Not a list with a lock: a thread that loses its processor while it has that lock would delay
    /// all others. In this channel such a thread delays the one that takes, within the write of one
    /// slot.
    put: Sender<Thread>,
    take: Receiver<Thread>,
}

impl Newcomers {
    pub(super) fn new(began: Instant, counts_waits: bool) -> Newcomers {
        let (put, take) = unbounded();
        Newcomers { began, counts_waits, is_closed: AtomicBool::new(false), put, take }
    }

    /// Adds the calling thread.
    pub(super) fn add(&self, thread: &Thread) {
        if self.counts_waits {
            thread.waits().begin_times(thread.started_at().max(self.began), self.began);
        }
        // The other end is in `self`, so it is taken.
        let _ = self.put.send(thread.clone());
        if self.is_closed.load(Ordering::SeqCst) {
            self.refuse(thread);
        }
    }

    /// The recording does without the thread, which counts its waits no longer for it.
    pub(super) fn refuse(&self, thread: &Thread) {
        thread.waits().end_times(self.began);
    }

    /// Takes the threads out that are in, the oldest first.
    pub(super) fn take(&self) -> Vec<Thread> {
        self.take.try_iter().collect()
    }

    /// The same, for the last time.
    pub(super) fn close(&self) -> Vec<Thread> {
        self.is_closed.store(true, Ordering::SeqCst);
        self.take()
    }
}
