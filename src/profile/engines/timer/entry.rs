//! One thread's entry in the table: what its signal handler finds, and the grace after which
//! nothing that was taken is still in use there.
//!
//! Models: `loom_entry_*` in `loom_tests.rs`.
//!
//! Invariants
//! 1. `slot` is null, or points to a slot that lives. It is changed under the engine's lock only.
//!    So is `request`, under the lock of the round of requests.
//! 2. The entry becomes another id's only when it is free and no handler is within it. So while it
//!    is one id's, no other thread's handler goes further than the look at `id`.

use super::slot::Slot;
use super::stack_request::StackRequest;
use crate::model::{AtomicPtr, AtomicU64, yield_now};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The types are parameters so that the model can put in its own.
pub(super) struct Entry<S = Slot, Q = StackRequest> {
    /// | value | meaning | stored by |
    /// |---|---|---|
    /// | 0 | free | `free`; `assign_to`, if a handler was still within |
    /// | an id | that thread's | `assign_to` |
    id: AtomicU64,
    /// How many handlers are within, and, in units of [`LEFT`], how many have left that found their
    /// own id here. The latter wraps. Changed by handlers only.
    handlers: AtomicU64,
    slot: AtomicPtr<S>,
    request: AtomicPtr<Q>,
}

/// One handler that has left, in `Entry::handlers`.
const LEFT: u64 = 1 << 32;

/// What a handler finds in its thread's entry.
pub(super) struct EntryContents<'a, S = Slot, Q = StackRequest> {
    pub(super) slot: Option<&'a S>,
    pub(super) request: Option<&'a Q>,
}

/// The state of `Entry::handlers` after something was taken.
#[derive(Clone, Copy)]
pub(super) struct GraceStart(u64);

impl<S, Q> Entry<S, Q> {
    /// Of that thread.
    pub(super) fn new(thread: i32) -> Entry<S, Q> {
        let (slot, request) = (std::ptr::null_mut(), std::ptr::null_mut());
        Entry {
            id: AtomicU64::new(thread as u64),
            handlers: AtomicU64::new(0),
            slot: AtomicPtr::new(slot),
            request: AtomicPtr::new(request),
        }
    }

    /// Returns `true` if it is that thread's.
    ///
    /// # Signal safety
    /// Safe.
    pub(super) fn belongs_to(&self, thread: i32) -> bool {
        // SeqCst: what `assign_to` has stored before the signal was sent is grace_start.
        self.id.load(Ordering::SeqCst) == thread as u64
    }

    /// Makes a free entry that thread's. For one caller at a time, as `free`. Returns `false` if it
    /// is a thread's, or a handler is within.
    pub(super) fn assign_to(&self, thread: i32) -> bool {
        if !self.belongs_to(0) {
            return false;
        }
        // SeqCst, and so are the two of `enter`: either the handler of a thread that the entry was
        // of sees the new id, or it is grace_start here to be within.
        self.id.store(thread as u64, Ordering::SeqCst);
        let is_empty = self.handlers.load(Ordering::SeqCst).is_multiple_of(LEFT);
        if !is_empty {
            self.id.store(0, Ordering::SeqCst);
        }
        is_empty
    }

    /// It is no thread's from now on. All graces are over.
    pub(super) fn free(&self) {
        // Null already, but in the child of a fork, where the threads of entries are not.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.request.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.id.store(0, Ordering::SeqCst);
    }

    /// In the handler of that thread, which has found the entry to be its own: `with` gets what is
    /// there.
    ///
    /// # Signal safety
    /// Safe, if `with` is. Loads and stores memory, and calls nothing else.
    pub(super) fn enter(&self, thread: i32, with: impl FnOnce(EntryContents<'_, S, Q>)) {
        // SeqCst, as are the loads below, and the pairs in `clear_slot` and `assign_to`: see there.
        self.handlers.fetch_add(1, Ordering::SeqCst);
        if !self.belongs_to(thread) {
            // It has become another thread's since it was found. One within less: this addition
            // wraps.
            self.handlers.fetch_add(u64::MAX, Ordering::Release);
            return;
        }
        let (slot, request) = (self.slot.load(Ordering::SeqCst), self.request.load(Ordering::SeqCst));
        // SAFETY: both null or alive, and they stay so while this handler is counted as within: a
        // thread that frees one has waited for a grace.
        let (slot, request) = unsafe { (slot.as_ref(), request.as_ref()) };
        if slot.is_some() || request.is_some() {
            with(EntryContents { slot, request });
        }
        // One within less, and one more that has left. Release: a thread that sees this sees all
        // that was done with them.
        self.handlers.fetch_add(LEFT - 1, Ordering::Release);
    }

    /// From now on the thread's signals find `request`, until it is taken.
    ///
    /// # Safety
    /// It must live until `clear_request` was called and the grace after that is over.
    pub(super) unsafe fn set_request(&self, request: *const Q) {
        self.request.store(request.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's signals find no request; one of them may still be at work with it,
    /// until the grace is over.
    pub(super) fn clear_request(&self) -> GraceStart {
        // SeqCst, and the load in `grace_start`: as in `clear_slot`.
        self.request.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.grace_start()
    }

    /// From now on the thread's signals find `slot`, until it is taken.
    ///
    /// # Safety
    /// The slot must live until `clear_slot` has returned.
    pub(super) unsafe fn set_slot(&self, slot: *const S) {
        self.slot.store(slot.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's signals find no slot, and none of them is still at work with what
    /// was there. A handler takes microseconds, unless its thread is not given a processor
    /// meanwhile.
    pub(super) fn clear_slot(&self) {
        // SeqCst, then a SeqCst load of `handlers`: either the handler's load of `slot` sees the null,
        // or this sees it within, or both.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        let (grace_start, mut rounds) = (self.grace_start(), 0u32);
        while !self.is_over(grace_start) {
            rounds += 1;
            if rounds < 100 { yield_now() } else { std::thread::sleep(Duration::from_micros(200)) }
        }
    }

    /// For a grace that begins now.
    pub(super) fn grace_start(&self) -> GraceStart {
        GraceStart(self.handlers.load(Ordering::SeqCst))
    }

    /// Returns `true` if no handler was at work then, or it has ended since.
    pub(super) fn is_over(&self, GraceStart(grace_start): GraceStart) -> bool {
        if grace_start.is_multiple_of(LEFT) {
            return true;
        }
        // Acquire: with the Release at the end of `enter`. Only the thread's own handler can be at
        // work here, and it does not interrupt itself: if a handler has left, it was that one.
        // Handlers that only look at the id are within for an instant.
        let now = self.handlers.load(Ordering::Acquire);
        now.is_multiple_of(LEFT) || now / LEFT != grace_start / LEFT
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_grace_ends_though_the_next_handler_is_within() {
        let (entry, request) = (Entry::<u8, u8>::new(7), 0);
        // SAFETY: `request` lives longer than `entry` is used, and no other thread has `entry`.
        unsafe { entry.set_request(&request) };
        let mut grace_start = None;
        entry.enter(7, |_| grace_start = Some(entry.grace_start()));
        let mut is_over = None;
        entry.enter(7, |_| is_over = Some((entry.is_over(grace_start.unwrap()), entry.is_over(entry.grace_start()))));
        assert_eq!(is_over, Some((true, false)));
    }
}
