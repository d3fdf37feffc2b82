//! One thread's entry in the table: the slot and the stack request that its signal handler finds,
//! and the grace after which the handler uses neither any more. No locks, no allocation. The
//! protocol: the handler counts itself as within before it loads a pointer; the thread that clears
//! a pointer loads the count after that.
//!
//! Models: `loom_entry_*` in `loom_tests.rs`.
//!
//! Invariants
//! 1. `slot` is null, or points to a slot that lives. It is changed under the engine's lock only.
//!    The same is true of `request`, under the lock of the batch of requests.
//! 2. The entry is assigned to another id only when it is free and no handler is within it. So
//!    while it belongs to one id, another thread's handler leaves it after it has compared `id`.

use super::slot::Slot;
use super::stack_request::StackRequest;
use crate::model::{AtomicPtr, AtomicU64, back_off};
use std::sync::atomic::Ordering;

/// The entry of one thread. The types are parameters so that a model can replace them.
pub(super) struct Entry<S = Slot, Q = StackRequest> {
    /// | value | meaning | stored by |
    /// |---|---|---|
    /// | 0 | free | `free`; `assign_to`, if a handler was still within |
    /// | an id | the entry belongs to that thread | `assign_to` |
    id: AtomicU64,
    /// The number of handlers that are within, plus [`LEFT`] for each handler that found its own id
    /// here and has left. The latter count wraps. Changed by handlers only.
    handlers: AtomicU64,
    slot: AtomicPtr<S>,
    request: AtomicPtr<Q>,
}

/// One handler that has left, in [`Entry::handlers`].
const LEFT: u64 = 1 << 32;

/// What a handler finds in its thread's entry.
pub(super) struct EntryContents<'a, S = Slot, Q = StackRequest> {
    pub(super) slot: Option<&'a S>,
    pub(super) request: Option<&'a Q>,
}

/// [`Entry::handlers`] when a grace began.
#[derive(Clone, Copy)]
pub(super) struct GraceStart(u64);

impl<S, Q> Entry<S, Q> {
    /// An entry that belongs to that thread.
    pub(super) fn new(thread: i32) -> Entry<S, Q> {
        let (slot, request) = (std::ptr::null_mut(), std::ptr::null_mut());
        Entry {
            id: AtomicU64::new(thread as u64),
            handlers: AtomicU64::new(0),
            slot: AtomicPtr::new(slot),
            request: AtomicPtr::new(request),
        }
    }

    /// Returns `true` if the entry belongs to that thread.
    ///
    /// # Signal safety
    /// Safe.
    pub(super) fn belongs_to(&self, thread: i32) -> bool {
        // SeqCst: what `assign_to` has stored before the signal was sent is seen.
        self.id.load(Ordering::SeqCst) == thread as u64
    }

    /// Assigns a free entry to that thread. For one caller at a time, as [`free`](Self::free).
    /// Returns `false` if it belongs to a thread, or a handler is within.
    pub(super) fn assign_to(&self, thread: i32) -> bool {
        if !self.belongs_to(0) {
            return false;
        }
        // SeqCst, as the addition and the load in `enter`: either the handler of a thread that had
        // the entry before sees the new id, or the load below sees that handler within.
        self.id.store(thread as u64, Ordering::SeqCst);
        let is_empty = self.handlers.load(Ordering::SeqCst).is_multiple_of(LEFT);
        if !is_empty {
            self.id.store(0, Ordering::SeqCst);
        }
        is_empty
    }

    /// Frees the entry. All graces are over.
    pub(super) fn free(&self) {
        // Both are null already, except in the child of a fork, which has none of the entries'
        // threads.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.request.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.id.store(0, Ordering::SeqCst);
    }

    /// Called by the handler of that thread, which has found the entry by its id. Calls `with` with
    /// what is there, if the entry still belongs to the thread.
    ///
    /// # Signal safety
    /// Safe, if `with` is. Loads and stores memory, and calls nothing else.
    pub(super) fn enter(&self, thread: i32, with: impl FnOnce(EntryContents<'_, S, Q>)) {
        // SeqCst, as are the loads below, and the pairs in `clear_slot` and `assign_to`, which say
        // why.
        self.handlers.fetch_add(1, Ordering::SeqCst);
        if !self.belongs_to(thread) {
            // It was assigned to another thread since it was found. One handler within less: this
            // addition wraps.
            self.handlers.fetch_add(u64::MAX, Ordering::Release);
            return;
        }
        let (slot, request) = (self.slot.load(Ordering::SeqCst), self.request.load(Ordering::SeqCst));
        // SAFETY: each is null, or points to a value that lives while this handler is counted as
        // within: the thread that frees it has waited for a grace.
        let (slot, request) = unsafe { (slot.as_ref(), request.as_ref()) };
        if slot.is_some() || request.is_some() {
            with(EntryContents { slot, request });
        }
        // One handler within less, and one more that has left. Release: a thread that sees this
        // sees everything that the handler did with the slot and the request.
        self.handlers.fetch_add(LEFT - 1, Ordering::Release);
    }

    /// From now on the thread's handler finds `request`, until it is cleared.
    ///
    /// # Safety
    /// The request must live until `clear_request` was called and the grace after that is over.
    pub(super) unsafe fn set_request(&self, request: *const Q) {
        self.request.store(request.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's handler finds no request. A handler that found the request before
    /// may use it until the grace is over.
    pub(super) fn clear_request(&self) -> GraceStart {
        // SeqCst, and the load in `grace_start`: as in `clear_slot`.
        self.request.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.grace_start()
    }

    /// From now on the thread's handler finds `slot`, until it is cleared.
    ///
    /// # Safety
    /// The slot must live until `clear_slot` has returned.
    pub(super) unsafe fn set_slot(&self, slot: *const S) {
        self.slot.store(slot.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's handler finds no slot, and no handler uses the slot that was there.
    /// Blocks until a handler at work has ended: microseconds, or longer if its thread is given no
    /// processor.
    pub(super) fn clear_slot(&self) {
        // SeqCst, then a SeqCst load of `handlers`: either the handler's load of `slot` sees the
        // null, or this load sees the handler within, or both.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        let (grace_start, mut rounds) = (self.grace_start(), 0u32);
        while !self.is_over(grace_start) {
            rounds += 1;
            back_off(rounds);
        }
    }

    /// Begins a grace.
    pub(super) fn grace_start(&self) -> GraceStart {
        GraceStart(self.handlers.load(Ordering::SeqCst))
    }

    /// Returns `true` if no handler was within when the grace began, or that handler has left
    /// since.
    pub(super) fn is_over(&self, GraceStart(grace_start): GraceStart) -> bool {
        if grace_start.is_multiple_of(LEFT) {
            return true;
        }
        // Acquire: with the Release at the end of `enter`. Only the thread's own handler goes on
        // after it has compared the id, and it does not interrupt itself: if a handler has left, it
        // was that one. Other threads' handlers only compare the id, and are within for an instant.
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
