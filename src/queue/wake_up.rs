//! How a thread waits for the other side of a queue: it spins a little, then sleeps until the other
//! side wakes it. Knows no values and no locks of the queue.
//!
//! Models: `queue/loom_tests.rs`.

use crate::model::{AtomicBool, AtomicUsize};
use crate::signal::{Token, WaitSet};
use crate::wait::{self, Stamp};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Wakes one sleeping thread, by a token.
///
/// A side that changes something calls `is_awaited` under its own lock. A thread that is about to
/// sleep counts itself before it looks under that lock. So the loads of `is_awaited` can be
/// relaxed: the lock orders them.
pub(super) struct WakeUp {
    waiting: AtomicUsize,
    /// | value | means                                                                                  |
    /// |-------|----------------------------------------------------------------------------------------|
    /// | false | no thread was called since a woken thread last cleared the flag                |
    /// | true  | the token is there or is being given, or its taker has not looked yet                  |
    ///
    /// Without the flag, each value that is added before the woken thread runs would touch the
    /// token again.
    called: AtomicBool,
    token: Token,
    /// Of the thread that called last. Only the thread that has set `called` writes it.
    stamp: Stamp,
}

impl WakeUp {
    pub(super) fn new() -> WakeUp {
        WakeUp {
            waiting: AtomicUsize::new(0),
            called: AtomicBool::new(false),
            token: Token::new(),
            stamp: Stamp::default(),
        }
    }

    /// Returns `true` if a thread sleeps and none was called yet.
    #[inline]
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0 && !self.called.load(Ordering::Relaxed)
    }

    #[cold]
    pub(super) fn wake_one(&self) {
        self.call(true);
    }

    /// The same, by a thread that was woken itself and passes that on: what ends the next thread's
    /// wait is what has woken this one.
    #[cold]
    pub(super) fn pass_on(&self) {
        self.call(false);
    }

    fn call(&self, is_first: bool) {
        // Acquire pairs with the Release in `block`: a thread that finds the flag cleared sees that
        // the token was taken. So `give` does not find a token that is gone.
        if !self.called.swap(true, Ordering::AcqRel) {
            if is_first {
                self.stamp.set();
            }
            // It may be there already: a thread that was woken by something else left it. The
            // thread that takes it looks, and wakes the next one.
            self.token.give();
        }
    }

    /// Counts the caller among the waiting until the guard drops.
    pub(super) fn enter(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }
}

pub(super) struct Waiting<'a>(&'a WakeUp);

impl Waiting<'_> {
    /// Blocks until there is a token, or until a signal or the deadline of `wait_set`. The caller
    /// must look again before it sleeps again.
    pub(super) fn block(&self, wait_set: &WaitSet) {
        wait_set.block_on(&self.0.token);
        // Before the flag is cleared, since another thread may stamp then.
        wait::ended_by(|| self.0.stamp.get());
        // Release pairs with the Acquire in `call`. Acquire, and hence a swap: another `call` may
        // have found the flag still set. Then the caller must see what came before that `call`,
        // and `close` takes no lock between the two.
        self.0.called.swap(false, Ordering::AcqRel);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A short wait for a running thread, in steps that double. After the last step it is time to
/// sleep.
///
/// To sleep and be woken costs microseconds on both sides. It pauses instead of polling: each poll
/// takes the other side's cache line, and polling early finds one value where a moment later there
/// are twenty. It does not yield: with other work on the cores, a thread that has yielded comes
/// back after milliseconds (Linux from 6.6 on), and a woken thread runs soon.
pub(super) struct Spin {
    began: Instant,
    step: Duration,
}

impl Spin {
    const FIRST: Duration = Duration::from_nanos(500);
    const LAST: Duration = Duration::from_nanos(if cfg!(all(test, selvedge_model)) { 0 } else { 4000 });

    pub(super) fn new() -> Spin {
        Spin { began: Instant::now(), step: Spin::FIRST }
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Pauses for one step and returns `true`. Returns `false` when it is time to sleep.
    pub(super) fn pause(&mut self) -> bool {
        if self.step > Spin::LAST {
            return false;
        }
        let begin = if self.step == Spin::FIRST { self.began } else { Instant::now() };
        while begin.elapsed() < self.step {
            (0..4).for_each(|_| std::hint::spin_loop());
        }
        self.step *= 2;
        true
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_left_is_not_awaited() {
        let wake_up = WakeUp::new();
        let waiting = wake_up.enter();
        assert!(wake_up.is_awaited());
        drop(waiting);
        assert!(!wake_up.is_awaited());
    }
}
