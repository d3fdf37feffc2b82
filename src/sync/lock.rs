//! The cell R B –: a value that one thread has at a time. Entering and leaving is in `owned.rs`;
//! this file has the value and the guard.

use super::GaveUp;
use super::owned::Owned;
use crate::signal::Signal;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

/// A value that one thread has at a time.
///
/// In the cube of resource × binary × irreversible it is the cell "resource, binary, reversible".
/// It has a name, it knows its owner, and it is not reentrant: a thread that locks it twice gets a
/// panic that says so, and not a deadlock.
///
/// A panic of the owner does not poison it: the next owner gets the lock as usual and can ask
/// [`left_by_panic`](LockGuard::left_by_panic). A running thread may take a free lock before a
/// waiting one, which makes the lock fast. While the lock is contended, the thread that has waited
/// longest gets it at least once a millisecond, so no thread starves.
///
/// # Memory ordering
/// What an owner did before it unlocked is visible to each later owner.
///
/// Peers are `std::sync::Mutex`, parking_lot's and Java's `ReentrantLock`, which is reentrant and
/// knows its owner too.
///
/// # Example
/// ```
/// use selvedge::{Lock, scope};
/// use std::collections::BTreeMap;
///
/// let hits: Lock<BTreeMap<&str, u64>> = Lock::new("hits", BTreeMap::new());
/// scope(|s| {
///     for page in ["/", "/about", "/"] {
///         s.spawn(format!("handler of {page}"), |_please_stop| *hits.lock().entry(page).or_default() += 1);
///     }
/// });
/// assert_eq!(hits.into_inner(), BTreeMap::from([("/", 2), ("/about", 1)]));
/// ```
///
/// A guard stays on the thread that locked:
/// ```compile_fail,E0277
/// let lock = selvedge::Lock::new("ledger", 0);
/// let guard = lock.lock();
/// std::thread::scope(|s| { s.spawn(move || drop(guard)); });
/// ```
/// What is not `Send` cannot be shared through it:
/// ```compile_fail,E0277
/// let lock = selvedge::Lock::new("local", std::rc::Rc::new(0));
/// std::thread::scope(|s| { s.spawn(|| drop(lock.lock())); });
/// ```
pub struct Lock<T: ?Sized> {
    permit: Owned,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached by the owner, one thread at a time, in the order of the
// permits; a shared Lock thus hands T from thread to thread, for which T: Send is enough.
// Everything else in it is Send and Sync by itself.
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

/// The right to the value of a [`Lock`], until it drops.
#[must_use = "a guard that is dropped at once unlocks at once"]
pub struct LockGuard<'a, T: ?Sized> {
    lock: &'a Lock<T>,
    panicking_before: bool,
    /// Not Send: the owner is a thread.
    _here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` and nothing more.
unsafe impl<T: ?Sized + Sync> Sync for LockGuard<'_, T> {}

impl<T> Lock<T> {
    /// A lock around `value`.
    pub fn new(name: impl AsRef<str>, value: T) -> Lock<T> {
        Lock { permit: Owned::new("lock", name.as_ref()), value: UnsafeCell::new(value) }
    }

    /// The value. The caller has the lock for itself, so nothing blocks.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Locks.
    ///
    /// # Blocking
    /// While another thread has the lock, until it unlocks. A thread with a `please_stop` wants
    /// [`lock_till`](Self::lock_till).
    ///
    /// # Panics
    /// If the calling thread has the lock already. The message names the lock and the thread.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockGuard<'_, T> {
        self.permit.enter();
        LockGuard::new(self)
    }

    /// [`lock`](Self::lock), but gives up when `till` goes. A `till` that has gone before the call
    /// wins over a free lock.
    ///
    /// # Blocking
    /// Until the lock is free, or `till` goes.
    ///
    /// # Errors
    /// [`GaveUp::Stopped`].
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    #[inline]
    #[track_caller]
    pub fn lock_till(&self, till: &Signal) -> Result<LockGuard<'_, T>, GaveUp> {
        self.permit.enter_till(till)?;
        Ok(LockGuard::new(self))
    }

    /// [`lock`](Self::lock), but gives up when `timeout` has passed.
    ///
    /// # Blocking
    /// Until the lock is free, or `timeout` has passed.
    ///
    /// # Errors
    /// [`GaveUp::TimedOut`].
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_, T>, GaveUp> {
        self.permit.enter_timeout(timeout)?;
        Ok(LockGuard::new(self))
    }

    /// Locks, if the lock is free now. `None` if a thread has it, also if that is the calling
    /// thread. Does not block.
    #[must_use = "a guard that is dropped at once unlocks at once"]
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.permit.try_enter().then(|| LockGuard::new(self))
    }

    /// The value. The caller has the lock for itself, so nothing blocks.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The path of the thread that has the lock. It may be out of date when the call returns.
    pub fn owner(&self) -> Option<Arc<str>> {
        self.permit.owner()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.permit.name()
    }
}

impl<'a, T: ?Sized> LockGuard<'a, T> {
    #[inline]
    fn new(lock: &'a Lock<T>) -> LockGuard<'a, T> {
        LockGuard { lock, panicking_before: std::thread::panicking(), _here: PhantomData }
    }

    /// Returns `true` if the owner before this one unlocked by a panic. The value may be half
    /// changed then. An owner that locks and unlocks while its thread unwinds, in a destructor,
    /// does not count: the answer stays `true` for the next owner.
    ///
    /// ```
    /// use selvedge::{Lock, scope};
    ///
    /// let accounts = Lock::new("accounts", (70, 30));
    /// scope(|s| {
    ///     let transfer = s.spawn("transfer", |_please_stop| {
    ///         let mut both = accounts.lock();
    ///         both.0 -= 10;
    ///         panic!("the other bank does not answer");
    ///     });
    ///     assert!(transfer.join().is_err());
    /// });
    /// let mut both = accounts.lock();
    /// if both.left_by_panic() {
    ///     *both = (70, 30);
    /// }
    /// drop(both);
    /// assert!(!accounts.lock().left_by_panic());
    /// ```
    #[inline]
    pub fn left_by_panic(&self) -> bool {
        self.lock.permit.left_by_panic()
    }
}

impl<T: ?Sized> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one, and it gives out `&mut T` only for a `&mut` of
        // itself.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.permit.note_panic(self.panicking_before);
        self.lock.permit.leave();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner() {
            Some(owner) => write!(f, "Lock({}, held by {owner})", self.name()),
            None => write!(f, "Lock({}, free)", self.name()),
        }
    }
}
