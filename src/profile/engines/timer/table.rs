//! From a kernel thread id to what that thread's signal handler writes into: found without a lock, without allocation
//! and without a thread-local, and taken away so that no handler can still be using it.
//!
//! Invariants
//! 1. An entry's `slot` is null, or points to a slot that lives. It is changed under the engine's lock only.
//! 2. An entry's `turns` is stored by its own thread only, in its handler: odd within, even outside.
//! 3. Pages are made once and never freed.

use super::slot::Slot;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// The kernel gives no higher ids (PID_MAX_LIMIT).
const IDS: usize = 1 << 22;
const PAGE: usize = 256;

static PAGES: [AtomicPtr<[Entry; PAGE]>; IDS / PAGE] = [const { AtomicPtr::new(std::ptr::null_mut()) }; IDS / PAGE];

pub(super) struct Entry {
    turns: AtomicU64,
    slot: AtomicPtr<Slot>,
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

/// The entry of that thread, made if need be. Under the engine's lock. `None`: no thread has such an id.
pub(super) fn make_entry(thread: i32) -> Option<&'static Entry> {
    if let Some(entry) = entry(thread) {
        return Some(entry);
    }
    let empty = || Entry { turns: AtomicU64::new(0), slot: AtomicPtr::new(std::ptr::null_mut()) };
    let page = Box::into_raw(Box::new(std::array::from_fn(|_| empty())));
    let place = PAGES.get(usize::try_from(thread).ok()? / PAGE)?;
    // Release: see `entry`. Nobody else makes pages at the same time, but a second engine's lock would be another.
    if place.compare_exchange(std::ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: made above, and published nowhere.
        drop(unsafe { Box::from_raw(page) });
    }
    entry(thread)
}

impl Entry {
    /// In the handler of the thread whose entry this is: `with` gets the slot, if there is one.
    ///
    /// # Signal safety
    /// Safe, if `with` is.
    pub(super) fn enter(&self, with: impl FnOnce(&Slot)) {
        // Relaxed: only this thread stores it.
        let turns = self.turns.load(Ordering::Relaxed);
        // SeqCst, as is the load below and the pair in `take`: see there.
        self.turns.store(turns + 1, Ordering::SeqCst);
        let slot = self.slot.load(Ordering::SeqCst);
        // SAFETY: null or alive, and it stays so while `turns` is odd: who frees a slot has waited for a grace.
        if let Some(slot) = unsafe { slot.as_ref() } {
            with(slot);
        }
        // Release: whoever sees this even number sees all that was done with the slot.
        self.turns.store(turns + 2, Ordering::Release);
    }

    /// From now on the thread's signals find `slot`, until it is taken.
    ///
    /// # Safety
    /// The slot must live until `take` has returned.
    pub(super) unsafe fn give(&self, slot: *const Slot) {
        self.slot.store(slot.cast_mut(), Ordering::SeqCst);
    }

    /// From now on the thread's signals find nothing, and none of them is still at work with what was there.
    pub(super) fn take(&'static self) {
        // SeqCst, then a SeqCst load of `turns`: either the handler's load of `slot` sees the null, or this sees its
        // odd number, or both.
        self.slot.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.grace().wait();
    }

    /// What is being done there now must end before what it could have found is freed.
    pub(super) fn grace(&'static self) -> Grace {
        Grace { entry: self, seen: self.turns.load(Ordering::SeqCst) }
    }
}

/// The handler that was at work when this was made, if there was one.
pub(super) struct Grace {
    entry: &'static Entry,
    seen: u64,
}

impl Grace {
    /// No handler was at work, or it has ended since.
    pub(super) fn is_over(&self) -> bool {
        // Acquire: with the Release at the end of `enter`.
        self.seen.is_multiple_of(2) || self.entry.turns.load(Ordering::Acquire) != self.seen
    }

    /// A handler takes microseconds, unless its thread is not given a processor meanwhile.
    fn wait(&self) {
        let mut rounds = 0u32;
        while !self.is_over() {
            rounds += 1;
            if rounds < 100 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(200)) }
        }
    }
}

#[cfg(test)]
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
                    entry.enter(|slot| {
                        met += 1;
                        for _ in 0..50 {
                            assert_eq!(slot.lost.load(Ordering::SeqCst), 0, "used after it was taken");
                        }
                    });
                }
                met
            });
            for _ in 0..2000 {
                let slot = Arc::new(Slot::new(Arena::default(), Stack::Known(0..u64::MAX)));
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
