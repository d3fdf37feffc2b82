//! A mutex and a condition variable made of std's, with the calls of parking_lot's and without
//! poisoning.
//!
//! They are std's because of forks: std's keep their state in themselves. parking_lot keeps all
//! threads that wait in one table of the process. In a forked child that table names threads that
//! are not there, in memory that the child's own threads get as their stacks: a child that waits or
//! wakes could hang, or write into a stack.
//!
//! ThreadSanitizer does not see what std's locks do: std is not compiled with it. `--cfg
//! selvedge_tsan` tells it.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard, TryLockError, WaitTimeoutResult};
use std::time::{Duration, Instant};
use std::{fmt, thread};

/// What a lock orders, told to ThreadSanitizer; nothing in other builds.
mod order {
    #[cfg(selvedge_tsan)]
    unsafe extern "C" {
        safe fn __tsan_acquire(place: *mut std::ffi::c_void);
        safe fn __tsan_release(place: *mut std::ffi::c_void);
    }

    /// The caller has what `place` guards.
    #[inline]
    pub(super) fn acquire<T>(_place: &T) {
        #[cfg(selvedge_tsan)]
        __tsan_acquire((&raw const *_place).cast_mut().cast());
    }

    /// The caller is about to give away what `place` guards.
    #[inline]
    pub(super) fn release<T>(_place: &T) {
        #[cfg(selvedge_tsan)]
        __tsan_release((&raw const *_place).cast_mut().cast());
    }
}

#[derive(Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

/// The option is empty only within the waits of [`Condvar`].
pub(crate) struct MutexGuard<'a, T>(Option<std::sync::MutexGuard<'a, T>>);

impl<'a, T> MutexGuard<'a, T> {
    #[inline]
    fn new(guard: std::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        order::acquire(&*guard);
        MutexGuard(Some(guard))
    }
}

#[cfg(selvedge_tsan)]
impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        order::release(&**self);
    }
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard::new(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(MutexGuard::new(guard)),
            Err(TryLockError::Poisoned(poisoned)) => Some(MutexGuard::new(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Looks again and again: for readers that may be late, of locks that are held for a moment.
    pub(crate) fn try_lock_for(&self, patience: Duration) -> Option<MutexGuard<'_, T>> {
        again_for(patience, || self.try_lock())
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("a guard that is not in a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("a guard that is not in a wait")
    }
}

#[derive(Default)]
pub(crate) struct Condvar(std::sync::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Condvar {
        Condvar(std::sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        order::release(&**guard);
        let inner = guard.0.take().expect("a guard that is not in a wait");
        guard.0 = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
        order::acquire(&**guard);
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> WaitTimeoutResult {
        self.wait_for(guard, deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns also when `timeout` is over. Called by the leader of the timer, which lingers
    /// without targets (`signal/timer/worker.rs`), and by [`wait_until`](Self::wait_until) for all
    /// other waits with a deadline.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> WaitTimeoutResult {
        order::release(&**guard);
        let inner = guard.0.take().expect("a guard that is not in a wait");
        let (inner, result) = self.0.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner);
        guard.0 = Some(inner);
        order::acquire(&**guard);
        result
    }

    #[inline]
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    #[inline]
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[derive(Default)]
pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> RwLock<T> {
        RwLock(std::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        match self.0.try_write() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Tries again and again, as [`Mutex::try_lock_for`] does.
    pub(crate) fn try_write_for(&self, patience: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        again_for(patience, || self.try_write())
    }
}

/// Calls `attempt` until it succeeds, with pauses, until `patience` is over.
fn again_for<R>(patience: Duration, mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
    const PAUSE: Duration = Duration::from_micros(50);
    let begin = Instant::now();
    loop {
        let result = attempt();
        if result.is_some() || begin.elapsed() >= patience {
            return result;
        }
        thread::sleep(PAUSE);
    }
}
