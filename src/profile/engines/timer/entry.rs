//! One thread's entry in the table: what its signal handler finds, and the grace after which
//! nothing that was taken is still in use there.
//!
//! Models: `loom_entry_*` in `loom_tests.rs`.
//!
//! Invariants
//! 1. `slot` is null, or points to a slot that lives. It is changed under the engine's lock only.
//!    So is `question`, under the lock of the round of questions.
//! 2. The entry becomes another id's only when it is free and no handler is within it. So while it
//!    is one id's, no other thread's handler goes further than the look at `id`.

use super::ask::Question;
use super::slot::Slot;
use crate::model::{AtomicPtr, AtomicU64, yield_now};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The types are parameters so that the model can put in its own.
pub(super) struct Entry<S = Slot, Q = Question> {
    /// | value | meaning | stored by |
    /// |---|---|---|
    /// | 0 | free | `free`; `become_of`, if a handler was still within |
    /// | an id | that thread's | `become_of` |
    id: AtomicU64,
    /// How many handlers are within, and, in units of [`LEFT`], how many have left that found their
    /// own id here. The latter wraps. Changed by handlers only.
    turns: AtomicU64,
    slot: AtomicPtr<S>,
    question: AtomicPtr<Q>,
}

/// One handler that has left, in `Entry::turns`.
const LEFT: u64 = 1 << 32;

/// What a handler finds in its thread's entry.
pub(super) struct Found<'a, S = Slot, Q = Question> {
    pub(super) slot: Option<&'a S>,
    pub(super) question: Option<&'a Q>,
}

/// The state of `Entry::turns` after something was taken.
#[derive(Clone, Copy)]
pub(super) struct Seen(u64);

impl<S, Q> Entry<S, Q> {
    /// Of that thread.
    pub(super) fn new(thread: i32) -> Entry<S, Q> {
        let (slot, question) = (std::ptr::null_mut(), std::ptr::null_mut());
        Entry {
            id: AtomicU64::new(thread as u64),
            turns: AtomicU64::new(0),
            slot: AtomicPtr::new(slot),
            question: AtomicPtr::new(question),
        }
    }

    /// Returns `true` if it is that thread's.
    ///
    /// # Signal safety
    /// Safe.
    pub(super) fn is_of(&self, thread: i32) -> bool {
        // SeqCst: what `become_of` has stored before the signal was sent is seen.
        self.id.load(Ordering::SeqCst) == thread as u64
    }

    /// Makes a free entry that thread's. For one caller at a time, as `free`. Returns `false` if it
    /// is a thread's, or a handler is within.
    pub(super) fn become_of(&self, thread: i32) -> bool {
        if !self.is_of(0) {
            return false;
        }
        // SeqCst, and so are the two of `enter`: either the handler of a thread that the entry was
        // of sees the new id, or it is seen here to be within.
        self.id.store(thread as u64, Ordering::SeqCst);
        let is_empty = self.turns.load(Ordering::SeqCst).is_multiple_of(LEFT);
        if !is_empty {
            self.id.store(0, Ordering::SeqCst);
        }
        is_empty
    }

    /// It is no thread's from now on. All graces are over.
    pub(super) fn free(&self) {
        // Null already, but in the child of a fork, where the threads of entries are not.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.question.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.id.store(0, Ordering::SeqCst);
    }

    /// In the handler of that thread, which has found the entry to be its own: `with` gets what is
    /// there.
    ///
    /// # Signal safety
    /// Safe, if `with` is. Loads and stores memory, and calls nothing else.
    pub(super) fn enter(&self, thread: i32, with: impl FnOnce(Found<'_, S, Q>)) {
        // SeqCst, as are the loads below, and the pairs in `take` and `become_of`: see there.
        self.turns.fetch_add(1, Ordering::SeqCst);
        if !self.is_of(thread) {
            // It has become another thread's since it was found. One within less: this addition
            // wraps.
            self.turns.fetch_add(u64::MAX, Ordering::Release);
            return;
        }
        let (slot, question) = (self.slot.load(Ordering::SeqCst), self.question.load(Ordering::SeqCst));
        // SAFETY: both null or alive, and they stay so while this handler is counted as within: a
        // thread that frees one has waited for a grace.
        let (slot, question) = unsafe { (slot.as_ref(), question.as_ref()) };
        if slot.is_some() || question.is_some() {
            with(Found { slot, question });
        }
        // One within less, and one more that has left. Release: a thread that sees this sees all
        // that was done with them.
        self.turns.fetch_add(LEFT - 1, Ordering::Release);
    }

    /// From now on the thread's signals find `question`, until it is taken.
    ///
    /// # Safety
    /// It must live until `take_question` was called and the grace after that is over.
    pub(super) unsafe fn ask(&self, question: *const Q) {
        self.question.store(question.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's signals find no question; one of them may still be at work with it,
    /// until the grace is over.
    pub(super) fn take_question(&self) -> Seen {
        // SeqCst, and the load in `seen`: as in `take`.
        self.question.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.seen()
    }

    /// From now on the thread's signals find `slot`, until it is taken.
    ///
    /// # Safety
    /// The slot must live until `take` has returned.
    pub(super) unsafe fn give(&self, slot: *const S) {
        self.slot.store(slot.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's signals find no slot, and none of them is still at work with what
    /// was there. A handler takes microseconds, unless its thread is not given a processor
    /// meanwhile.
    pub(super) fn take(&self) {
        // SeqCst, then a SeqCst load of `turns`: either the handler's load of `slot` sees the null,
        // or this sees it within, or both.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        let (seen, mut rounds) = (self.seen(), 0u32);
        while !self.is_over(seen) {
            rounds += 1;
            if rounds < 100 { yield_now() } else { std::thread::sleep(Duration::from_micros(200)) }
        }
    }

    /// For a grace that begins now.
    pub(super) fn seen(&self) -> Seen {
        Seen(self.turns.load(Ordering::SeqCst))
    }

    /// Returns `true` if no handler was at work then, or it has ended since.
    pub(super) fn is_over(&self, Seen(seen): Seen) -> bool {
        if seen.is_multiple_of(LEFT) {
            return true;
        }
        // Acquire: with the Release at the end of `enter`. Only the thread's own handler can be at
        // work here, and it does not interrupt itself: if a handler has left, it was that one.
        // Handlers that only look at the id are within for an instant.
        let now = self.turns.load(Ordering::Acquire);
        now.is_multiple_of(LEFT) || now / LEFT != seen / LEFT
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_grace_ends_though_the_next_handler_is_within() {
        let (entry, question) = (Entry::<u8, u8>::new(7), 0);
        // SAFETY: `question` lives longer than `entry` is used, and no other thread has `entry`.
        unsafe { entry.ask(&question) };
        let mut seen = None;
        entry.enter(7, |_| seen = Some(entry.seen()));
        let mut is_over = None;
        entry.enter(7, |_| is_over = Some((entry.is_over(seen.unwrap()), entry.is_over(entry.seen()))));
        assert_eq!(is_over, Some((true, false)));
    }
}
