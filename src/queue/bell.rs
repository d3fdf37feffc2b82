//! How a thread waits for the other side of a queue: it spins a little, then sleeps by a bell.
//!
//! Models: `queue/loom_tests.rs`.

use crate::model::{AtomicBool, AtomicUsize, Receiver, Sender, bounded};
use crate::signal::Round;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

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
        let (ring, heard) = bounded(1);
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
        round.block_on(&self.0.heard);
        // Release pairs with the Acquire in `ring`. Acquire, and hence a swap: if a `ring` found the flag set because this
        // had not cleared it yet, the caller sees what came before that `ring`. `close` takes no lock between the two.
        self.0.rung.swap(false, Ordering::AcqRel);
    }
}

impl Drop for InBell<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A short wait for a thread that is running: steps that double, of pauses and one turn for others; then it is over.
///
/// Sleeping and being woken costs microseconds on both sides. Pauses and not a steady look: each look takes the cache
/// line from the one that is waited for, and who looks again at once finds one value, where a little later are twenty.
/// The turn is for the case that the one that is waited for has to run on this very core.
pub(super) struct Spin {
    step: Duration,
}

impl Spin {
    const FIRST: Duration = Duration::from_nanos(500);
    const LAST: Duration = Duration::from_nanos(if cfg!(all(test, selvedge_model)) { 0 } else { 4000 });

    pub(super) fn new() -> Spin {
        Spin { step: Spin::FIRST }
    }

    /// Waits a little and returns true; or false when it is time to sleep.
    pub(super) fn again(&mut self) -> bool {
        if self.step > Spin::LAST {
            return false;
        }
        let begin = Instant::now();
        while begin.elapsed() < self.step {
            (0..4).for_each(|_| std::hint::spin_loop());
        }
        thread::yield_now();
        self.step *= 2;
        true
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_left_is_not_awaited() {
        let bell = Bell::new();
        let waiting = bell.enter();
        assert!(bell.is_awaited());
        drop(waiting);
        assert!(!bell.is_awaited());
    }
}
