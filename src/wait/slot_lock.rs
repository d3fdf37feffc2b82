//! The lock of a thread's slot. While a thread holds one, it publishes nothing: an allocator that waits,
//! logs or opens a span, and is called under the lock, would take the same lock again.

use crate::model::{Mutex, MutexGuard, thread_local};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

thread_local! {
    /// How many locks of slots the calling thread holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// Returns `true` if the calling thread holds the lock of a slot, its own or another thread's.
#[inline]
pub(super) fn is_held_here() -> bool {
    HELD.try_with(Cell::get).unwrap_or(0) != 0
}

/// What only its lock's holder sees.
#[derive(Default)]
pub(super) struct SlotLock<T>(Mutex<T>);

impl<T> SlotLock<T> {
    #[inline]
    pub(super) fn lock(&self) -> Locked<'_, T> {
        Locked::new(self.0.lock())
    }

    /// Waits at most for `patience`.
    pub(super) fn try_lock_for(&self, patience: Duration) -> Option<Locked<'_, T>> {
        self.0.try_lock_for(patience).map(Locked::new)
    }
}

pub(super) struct Locked<'a, T>(MutexGuard<'a, T>);

impl<'a, T> Locked<'a, T> {
    #[inline]
    fn new(guard: MutexGuard<'a, T>) -> Locked<'a, T> {
        let _ = HELD.try_with(|held| held.set(held.get() + 1));
        Locked(guard)
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let _ = HELD.try_with(|held| held.set(held.get() - 1));
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
