//! Atomics as loom reorders them: a load may give any value that the memory model allows, not only the newest. Only in unit
//! tests under `--cfg selvedge_loom`. Names nothing else in the crate.
//!
//! What loom does not show: a load never gives a value that is stored later (no load buffering), and at most seven values
//! back. loom treats a SeqCst access as AcqRel, so here it gets the fences that make it one; a SeqCst access thus orders
//! accesses of other orders beside it a little more than it must. An order that is weaker than SeqCst is passed on as it is.

use loom::sync::atomic::Ordering;
pub(crate) use loom::sync::atomic::fence;

/// Makes a load sequentially consistent: it comes after what is before it.
fn loading<R>(order: Ordering, access: impl FnOnce(Ordering) -> R) -> R {
    if order != Ordering::SeqCst {
        return access(order);
    }
    fence(Ordering::SeqCst);
    access(Ordering::Acquire)
}

/// Makes a store sequentially consistent: what follows comes after it.
fn storing<R>(order: Ordering, access: impl FnOnce(Ordering) -> R) -> R {
    if order != Ordering::SeqCst {
        return access(order);
    }
    let stored = access(Ordering::Release);
    fence(Ordering::SeqCst);
    stored
}

/// Both.
fn swapping<R>(order: Ordering, access: impl FnOnce(Ordering) -> R) -> R {
    if order != Ordering::SeqCst {
        return access(order);
    }
    fence(Ordering::SeqCst);
    let swapped = access(Ordering::AcqRel);
    fence(Ordering::SeqCst);
    swapped
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
                loading(order, |order| self.0.load(order))
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                storing(order, |order| self.0.store(value, order));
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                swapping(order, |order| self.0.swap(value, order))
            }

            pub(crate) fn compare_exchange(
                &self, from: $value, to: $value, order: Ordering, failing: Ordering,
            ) -> Result<$value, $value> {
                swapping(order, |order| self.0.compare_exchange(from, to, order, failed(failing)))
            }

            pub(crate) fn compare_exchange_weak(
                &self, from: $value, to: $value, order: Ordering, failing: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(from, to, order, failing)
            }

            pub(crate) fn fetch_update(
                &self, order: Ordering, failing: Ordering, change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                swapping(order, |order| self.0.fetch_update(order, failed(failing), change))
            }

            $(pub(crate) fn $change(&self, value: $value, order: Ordering) -> $value {
                swapping(order, |order| self.0.$change(value, order))
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

/// A word that one thread writes and another reads, and that something else must order: loom panics where it does not.
pub(crate) struct Word(loom::cell::UnsafeCell<u64>);

// SAFETY: loom runs one thread at a time, and panics before an access that is not ordered after the last other one.
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
