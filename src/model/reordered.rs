//! Atomics as loom reorders them: a load may give any value that the memory model allows, not only
//! the newest. Only in unit tests under `--cfg selvedge_loom`. Names nothing else in the crate.
//!
//! What loom does not show: a load never gives a value that is stored later (no load buffering),
//! and at most seven values back. And loom treats a SeqCst access as AcqRel. So here a fence stands
//! between two SeqCst accesses of one thread: in the first run of a model right before the later
//! one, in the second right after the earlier one. So it orders the two, as SeqCst does, but in one
//! of the runs not an access that was weakened. (SeqCst accesses of different threads, of which one
//! happens before the other, are ordered a little less than they must be: that can only give a
//! false alarm.) An order that is weaker than SeqCst is passed on as it is.

pub(crate) use loom::sync::atomic::fence;

use loom::sync::atomic::Ordering;
use std::cell::Cell;

loom::thread_local! {
    /// Whether the thread has made a SeqCst access.
    static HAS_BEEN_SEQ_CST: Cell<bool> = Cell::new(false);
}

std::thread_local! {
    /// All threads of a model run on one thread of the system.
    static FENCE_AFTER: Cell<bool> = const { Cell::new(false) };
}

/// From now on fences stand after SeqCst accesses, or before them.
pub(in crate::model) fn set_fence_after(after: bool) {
    FENCE_AFTER.set(after);
}

/// An access with the order that was `asked` for, or `instead` of SeqCst.
fn with<R>(asked: Ordering, instead: Ordering, access: impl FnOnce(Ordering) -> R) -> R {
    if asked != Ordering::SeqCst {
        return access(asked);
    }
    if FENCE_AFTER.get() {
        let outcome = access(instead);
        fence(Ordering::SeqCst);
        return outcome;
    }
    if HAS_BEEN_SEQ_CST.try_with(|been| been.replace(true)).unwrap_or(true) {
        fence(Ordering::SeqCst);
    }
    access(instead)
}

/// The order of the load of an exchange that fails.
fn failed(order: Ordering) -> Ordering {
    if order == Ordering::SeqCst { Ordering::Acquire } else { order }
}

macro_rules! atomics {
    ($($name:ident$(<$of:ident>)?: $value:ty, [$($change:ident),*];)*) => {$(
        #[derive(Debug)]
        pub(crate) struct $name$(<$of>)?(loom::sync::atomic::$name$(<$of>)?);

        #[allow(dead_code)]
        impl$(<$of>)? $name$(<$of>)? {
            pub(crate) fn new(value: $value) -> Self {
                $name(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                with(order, Ordering::Acquire, |order| self.0.load(order))
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                with(order, Ordering::Release, |order| self.0.store(value, order));
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                with(order, Ordering::AcqRel, |order| self.0.swap(value, order))
            }

            pub(crate) fn compare_exchange(
                &self, from: $value, to: $value, order: Ordering, failing: Ordering,
            ) -> Result<$value, $value> {
                with(order, Ordering::AcqRel, |order| self.0.compare_exchange(from, to, order, failed(failing)))
            }

            pub(crate) fn compare_exchange_weak(
                &self, from: $value, to: $value, order: Ordering, failing: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(from, to, order, failing)
            }

            pub(crate) fn fetch_update(
                &self, order: Ordering, failing: Ordering, change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                with(order, Ordering::AcqRel, |order| self.0.fetch_update(order, failed(failing), change))
            }

            $(pub(crate) fn $change(&self, value: $value, order: Ordering) -> $value {
                with(order, Ordering::AcqRel, |order| self.0.$change(value, order))
            })*
        }
    )*};
}

atomics! {
    AtomicBool: bool, [];
    AtomicU8: u8, [];
    AtomicU64: u64, [fetch_add, fetch_max, fetch_or];
    AtomicUsize: usize, [fetch_add, fetch_sub, fetch_or, fetch_and];
    AtomicPtr<T>: *mut T, [];
}

impl Default for AtomicU64 {
    fn default() -> AtomicU64 {
        AtomicU64::new(0)
    }
}

/// A word that one thread writes and another reads, and that something else must order: loom panics
/// where it does not.
pub(crate) struct Word(loom::cell::UnsafeCell<u64>);

// SAFETY: loom runs one thread at a time, and panics before an access that is not ordered after the
// last other one.
unsafe impl Sync for Word {}

impl Word {
    pub(crate) fn new(value: u64) -> Word {
        Word(loom::cell::UnsafeCell::new(value))
    }

    pub(crate) fn get(&self) -> u64 {
        // SAFETY: see the impl of Sync.
        self.0.with(|word| unsafe { *word })
    }

    pub(crate) fn set(&self, value: u64) {
        // SAFETY: see the impl of Sync.
        self.0.with_mut(|word| unsafe { *word = value });
    }
}
