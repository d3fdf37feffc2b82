//! From a kernel thread id to what that thread's signal handler writes into: found without a lock, without allocation
//! and without a thread-local, and taken away so that no handler can still be using it.
//!
//! Models: `loom_table_*` in `loom_tests.rs`, for the turns; a page is published by one pointer and never changed.
//!
//! Invariants
//! 1. An entry's `slot` is null, or points to a slot that lives. It is changed under the engine's lock only. So is its
//!    `question`, under the lock of the round of questions.
//! 2. An entry's `turns` is stored by its own thread only, in its handler: odd within, even outside.
//! 3. Pages are made once and never freed.

use super::ask::Question;
use super::slot::Slot;
use crate::model::{AtomicPtr, AtomicU64, yield_now};
use std::sync::atomic::{AtomicPtr as PagePtr, Ordering};
use std::time::Duration;

/// The kernel gives no higher ids (PID_MAX_LIMIT).
const IDS: usize = 1 << 22;
const PAGE: usize = 256;

static PAGES: [PagePtr<[Entry; PAGE]>; IDS / PAGE] = [const { PagePtr::new(std::ptr::null_mut()) }; IDS / PAGE];

/// The types are parameters so that the model can put in its own.
pub(super) struct Entry<S = Slot, Q = Question> {
    turns: AtomicU64,
    slot: AtomicPtr<S>,
    question: AtomicPtr<Q>,
}

/// What a handler finds in its thread's entry.
pub(super) struct Found<'a, S = Slot, Q = Question> {
    pub(super) slot: Option<&'a S>,
    pub(super) question: Option<&'a Q>,
}

/// The entry of that thread, if one was ever made.
///
/// # Signal safety
/// Safe.
pub(super) fn entry(thread: i32) -> Option<&'static Entry> {
    let id = usize::try_from(thread).ok()?;
    // Acquire: the page's contents were written before it was published.
    let page = PAGES.get(id / PAGE)?.load(Ordering::Acquire);
    // SAFETY: null or a page that is never freed.
    unsafe { page.as_ref() }.map(|page| &page[id % PAGE])
}

/// The entry of that thread, made if need be. `None`: no thread has such an id.
pub(super) fn make_entry(thread: i32) -> Option<&'static Entry> {
    if let Some(entry) = entry(thread) {
        return Some(entry);
    }
    let page = Box::into_raw(Box::new(std::array::from_fn(|_| Entry::empty())));
    let place = PAGES.get(usize::try_from(thread).ok()? / PAGE)?;
    // Release: see `entry`. The engine and a round of questions, which have locks of their own, may both make this page.
    if place.compare_exchange(std::ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: made above, and published nowhere.
        drop(unsafe { Box::from_raw(page) });
    }
    entry(thread)
}

impl<S, Q> Entry<S, Q> {
    pub(super) fn empty() -> Entry<S, Q> {
        let (slot, question) = (std::ptr::null_mut(), std::ptr::null_mut());
        Entry { turns: AtomicU64::new(0), slot: AtomicPtr::new(slot), question: AtomicPtr::new(question) }
    }

    /// In the handler of the thread whose entry this is: `with` gets what is there.
    ///
    /// # Signal safety
    /// Safe, if `with` is.
    pub(super) fn enter(&self, with: impl FnOnce(Found<'_, S, Q>)) {
        // Relaxed: only this thread stores it.
        let turns = self.turns.load(Ordering::Relaxed);
        // SeqCst, as are the loads below and the pair in `take`: see there.
        self.turns.store(turns + 1, Ordering::SeqCst);
        let (slot, question) = (self.slot.load(Ordering::SeqCst), self.question.load(Ordering::SeqCst));
        // SAFETY: both null or alive, and they stay so while `turns` is odd: who frees one has waited for a grace.
        let (slot, question) = unsafe { (slot.as_ref(), question.as_ref()) };
        if slot.is_some() || question.is_some() {
            with(Found { slot, question });
        }
        // Release: whoever sees this even number sees all that was done with them.
        self.turns.store(turns + 2, Ordering::Release);
    }

    /// From now on the thread's signals find `question`, until it is taken.
    ///
    /// # Safety
    /// It must live until `take_question` was called and the grace that it gives is over.
    pub(super) unsafe fn ask(&self, question: *const Q) {
        self.question.store(question.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's signals find no question; one of them may still be at work with it, until the grace is over.
    pub(super) fn take_question(&self) -> Grace<'_> {
        // SeqCst, and the load in `grace`: as in `take`.
        self.question.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.grace()
    }

    /// From now on the thread's signals find `slot`, until it is taken.
    ///
    /// # Safety
    /// The slot must live until `take` has returned.
    pub(super) unsafe fn give(&self, slot: *const S) {
        self.slot.store(slot.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's signals find nothing, and none of them is still at work with what was there.
    pub(super) fn take(&self) {
        // SeqCst, then a SeqCst load of `turns`: either the handler's load of `slot` sees the null, or this sees its
        // odd number, or both.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.grace().wait();
    }

    /// What is being done there now must end before what it could have found is freed.
    pub(super) fn grace(&self) -> Grace<'_> {
        Grace { turns: &self.turns, seen: self.turns.load(Ordering::SeqCst) }
    }
}

/// The handler that was at work when this was made, if there was one.
pub(super) struct Grace<'a> {
    turns: &'a AtomicU64,
    seen: u64,
}

impl Grace<'_> {
    /// No handler was at work, or it has ended since.
    pub(super) fn is_over(&self) -> bool {
        // Acquire: with the Release at the end of `enter`.
        self.seen.is_multiple_of(2) || self.turns.load(Ordering::Acquire) != self.seen
    }

    /// A handler takes microseconds, unless its thread is not given a processor meanwhile.
    fn wait(&self) {
        let mut rounds = 0u32;
        while !self.is_over() {
            rounds += 1;
            if rounds < 100 { yield_now() } else { std::thread::sleep(Duration::from_micros(200)) }
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::super::slot::{Arena, Stack};
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// Ids that no thread of this process has: the kernel's highest.
    const SPARE: i32 = (IDS - 300) as i32;

    #[test]
    fn ids_have_entries_of_their_own_and_impossible_ones_have_none() {
        assert!(entry(SPARE).is_none());
        let (a, b) = (make_entry(SPARE).unwrap(), make_entry(SPARE + 1).unwrap());
        assert!(std::ptr::eq(a, entry(SPARE).unwrap()) && !std::ptr::eq(a, b));
        assert!(make_entry(-1).is_none() && make_entry(IDS as i32).is_none() && entry(i32::MIN).is_none());
    }

    #[test]
    fn what_was_taken_is_not_in_use_any_more() {
        let entry = make_entry(SPARE + 256).unwrap();
        let stop = AtomicBool::new(false);
        // Kept to the end, so that a fault is a failed assertion and not a wild access. `lost` marks those taken.
        let mut taken = Vec::new();
        std::thread::scope(|scope| {
            let handler = scope.spawn(|| {
                let mut met = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    entry.enter(|found| {
                        let Some(slot) = found.slot else { return };
                        met += 1;
                        for _ in 0..50 {
                            assert_eq!(slot.lost.load(Ordering::SeqCst), 0, "used after it was taken");
                        }
                    });
                }
                met
            });
            for _ in 0..2000 {
                let slot = Arc::new(Slot::new(Arena::default(), 0, Stack::Known(0..u64::MAX)));
                // SAFETY: it lives to the end of the test.
                unsafe { entry.give(Arc::as_ptr(&slot)) };
                std::thread::yield_now();
                entry.take();
                slot.lost.store(1, Ordering::SeqCst);
                taken.push(slot);
                if taken.len() > 100 {
                    taken.clear();
                }
                if handler.is_finished() {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
            assert!(handler.join().unwrap() > 0);
        });
    }
}
