//! How a thread waits for the other side of a queue: it spins a little, then sleeps by a bell.

use crate::signal::Round;
use crossbeam_channel::{Receiver, Sender};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Wakes one of those who sleep: a token in a channel that holds one.
///
/// `is_awaited` is asked under the lock of the side that changes something, and what it asks for is written before a
/// look under that lock. So its loads can be relaxed: the lock orders them.
pub(super) struct Bell {
    waiting: AtomicUsize,
    /// | value | means                                                                                  |
    /// |-------|----------------------------------------------------------------------------------------|
    /// | false | nobody was called since a woken thread last said that it looks                         |
    /// | true  | a token lies in the channel or is being put there, or its taker has not looked yet     |
    ///
    /// Without it, each value added until the woken thread really runs would touch the channel again.
    rung: AtomicBool,
    ring: Sender<()>,
    heard: Receiver<()>,
}

impl Bell {
    pub(super) fn new() -> Bell {
        let (ring, heard) = crossbeam_channel::bounded(1);
        Bell { waiting: AtomicUsize::new(0), rung: AtomicBool::new(false), ring, heard }
    }

    /// Somebody sleeps who was not called yet.
    #[inline]
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0 && !self.rung.load(Ordering::Relaxed)
    }

    #[cold]
    pub(super) fn ring(&self) {
        // Acquire pairs with the Release in `block`: whoever finds it cleared sees that the token was taken, so `try_send`
        // cannot find the channel full of a token that is gone.
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Full: somebody woken by something else left it there; its taker looks and rings on.
            let _ = self.ring.try_send(());
        }
    }

    /// Counts the caller among the waiting until the guard drops.
    pub(super) fn enter(&self) -> InBell<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        InBell(self)
    }
}

pub(super) struct InBell<'a>(&'a Bell);

impl InBell<'_> {
    /// Blocks for a token, a signal or the deadline in `round`. The caller must look again before it sleeps again.
    pub(super) fn block(&self, round: &Round) {
        round.block_with(&self.0.heard);
        self.0.rung.store(false, Ordering::Release);
    }
}

impl Drop for InBell<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A short wait for a thread that is running: pauses that double, then some turns for others, then it is over.
///
/// Sleeping and being woken costs microseconds on both sides. The first pause is long enough for the other side to get a
/// few values ahead: who looks again at once finds one, and pays for the cache lines with each.
pub(super) struct Spin(u32);

impl Spin {
    const FIRST: u32 = 3;
    const PAUSES: u32 = 7;
    const TURNS: u32 = 4;

    pub(super) fn new() -> Spin {
        Spin(Spin::FIRST)
    }

    /// Waits a little and returns true; or false when it is time to sleep.
    pub(super) fn again(&mut self) -> bool {
        if self.0 < Spin::PAUSES {
            (0..1 << self.0).for_each(|_| std::hint::spin_loop());
        } else if self.0 < Spin::PAUSES + Spin::TURNS {
            thread::yield_now();
        } else {
            return false;
        }
        self.0 += 1;
        true
    }
}
