//! The cell – – –: a value that threads change, and wait for others to change.
//!
//! Invariants
//! 1. Only the owner of `permit` touches `value` and `line`.
//! 2. `changes` counts what may have changed the value. A waiter remembers the count up to which it
//!    has looked. That count never falls, so the waiters in the line stand in its order.
//! 3. A thread that leaves takes the first waiter out of the line, if that has not seen the last
//!    change, and wakes it. A waiter that was woken and waits again has seen all changes so far. So
//!    the waiters see each change one after the other, and then all sleep.
//!
//! Models: `loom_monitor_*` in `sync/loom_tests.rs`, and `sync/model_tests.rs`.

use super::GaveUp;
use super::limit::Limit;
use super::owned::Owned;
use super::parker::Parker;
use crate::model::AtomicBool;
use crate::signal::Signal;
use crate::wait::WaitDescription;
use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A value that one thread has at a time, and a place to wait until another thread has changed it.
///
/// In the cube of resource × binary × irreversible it is the cell with none of the three. There is
/// no condition variable to notify, and so none to forget. A thread that leaves, by dropping the
/// guard or by waiting in it, wakes one waiting thread. That thread looks at the value, and when it
/// leaves it wakes the next thread that has not looked yet. So each waiting thread looks at each
/// change.
///
/// Look through `&`, as with `is_empty`, and change through `&mut`. A thread that has used `&mut`
/// and then waits again counts as having changed the value, and wakes the others. So two threads
/// that look through `&mut` wake each other without end, and cost a processor:
///
/// ```no_run
/// # let jobs = selvedge::Monitor::new("jobs", vec![1]);
/// # let mut guard = jobs.enter();
/// // Wrong: `pop` takes `&mut`, also if it finds nothing.
/// while guard.pop().is_none() {
///     guard.wait();
/// }
/// // Right: it waits until it has seen a value, and then takes it.
/// while guard.is_empty() {
///     guard.wait();
/// }
/// let job = guard.pop();
/// ```
///
/// Not reentrant, and left usable by a panic, as [`Lock`](crate::Lock) is. The idea is Hoare's and
/// Brinch Hansen's (1974); peers are Java's `synchronized` with `wait` and `notify`, and `Mutex`
/// with `Condvar` in std and parking_lot.
///
/// # Memory ordering
/// What a thread did before it left is visible to each thread that enters later.
///
/// # Example
/// ```
/// use selvedge::{Monitor, spawn};
/// use std::sync::Arc;
///
/// // Connections that several threads share: taken out, given back, waited for.
/// let idle = Arc::new(Monitor::new("idle connections", vec!["first", "second"]));
/// let users: Vec<_> = (0..5)
///     .map(|n| {
///         let idle = idle.clone();
///         spawn(format!("user-{n}"), move |please_stop| {
///             let mut connections = idle.enter();
///             while connections.is_empty() {
///                 if !connections.wait_till(please_stop) {
///                     return;
///                 }
///             }
///             let connection = connections.pop().expect("not empty");
///             drop(connections);
///             // … use it …
///             idle.enter().push(connection);
///         })
///     })
///     .collect();
/// for user in users {
///     user.join().unwrap();
/// }
/// assert_eq!(idle.enter().len(), 2);
/// ```
///
/// A guard stays on the thread that entered:
/// ```compile_fail,E0277
/// let monitor = selvedge::Monitor::new("stock", 0);
/// let guard = monitor.enter();
/// std::thread::scope(|s| { s.spawn(move || drop(guard)); });
/// ```
/// And nothing borrowed from the value outlives a wait, in which others change it:
/// ```compile_fail,E0502
/// let monitor = selvedge::Monitor::new("names", vec![String::new()]);
/// let mut guard = monitor.enter();
/// let first = &guard[0];
/// guard.wait();
/// assert_eq!(first, "");
/// ```
pub struct Monitor<T: ?Sized> {
    permit: Owned,
    line: UnsafeCell<Line>,
    value: UnsafeCell<T>,
}

// SAFETY: value and line are only reached by the owner, one thread at a time, in the order of the
// permits; a shared Monitor thus hands them from thread to thread, for which T: Send is enough
// (Line is Send).
unsafe impl<T: ?Sized + Send> Sync for Monitor<T> {}

/// The right to the value of a [`Monitor`], until it drops.
#[must_use = "a guard that is dropped at once leaves at once"]
pub struct MonitorGuard<'a, T: ?Sized> {
    monitor: &'a Monitor<T>,
    /// The value may have been changed through this guard since it entered, or since its last wait.
    changed: bool,
    panicking_before: bool,
    /// Not Send: the owner is a thread.
    _here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` and nothing more.
unsafe impl<T: ?Sized + Sync> Sync for MonitorGuard<'_, T> {}

#[derive(Default)]
struct Line {
    changes: u64,
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
}

struct Waiter {
    seen: u64,
    woken: Arc<AtomicBool>,
    parker: Parker,
}

impl Line {
    /// Takes out the first waiter, if it has not seen the last change.
    #[cold]
    fn pop_unseen(&mut self) -> Option<Waiter> {
        let first = self.waiters.first_entry()?;
        (first.get().seen < self.changes).then(|| first.remove())
    }
}

impl<T> Monitor<T> {
    /// A monitor around `value`.
    pub fn new(name: impl AsRef<str>, value: T) -> Monitor<T> {
        Monitor {
            permit: Owned::new("monitor", name.as_ref()),
            line: UnsafeCell::default(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value. The caller has the monitor for itself, so nothing blocks.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Monitor<T> {
    /// Enters.
    ///
    /// # Blocking
    /// While another thread is inside, until it leaves. A thread with a `please_stop` wants
    /// [`enter_till`](Self::enter_till).
    ///
    /// # Panics
    /// If the calling thread is inside already. The message names the monitor and the thread.
    #[inline]
    #[track_caller]
    pub fn enter(&self) -> MonitorGuard<'_, T> {
        self.permit.enter();
        MonitorGuard::new(self)
    }

    /// [`enter`](Self::enter), but gives up when `till` goes. A `till` that has gone before the
    /// call wins over a free monitor.
    ///
    /// # Blocking
    /// Until the monitor is free, or `till` goes.
    ///
    /// # Errors
    /// [`GaveUp::Stopped`].
    ///
    /// # Panics
    /// As [`enter`](Self::enter).
    #[inline]
    #[track_caller]
    pub fn enter_till(&self, till: &Signal) -> Result<MonitorGuard<'_, T>, GaveUp> {
        self.permit.enter_till(till)?;
        Ok(MonitorGuard::new(self))
    }

    /// [`enter`](Self::enter), but gives up when `timeout` has passed.
    ///
    /// # Blocking
    /// Until the monitor is free, or `timeout` has passed.
    ///
    /// # Errors
    /// [`GaveUp::TimedOut`].
    ///
    /// # Panics
    /// As [`enter`](Self::enter).
    #[track_caller]
    pub fn enter_timeout(&self, timeout: Duration) -> Result<MonitorGuard<'_, T>, GaveUp> {
        self.permit.enter_timeout(timeout)?;
        Ok(MonitorGuard::new(self))
    }

    /// Enters, if no thread is inside now. `None` also if the calling thread is inside. Does not
    /// block.
    #[must_use = "a guard that is dropped at once leaves at once"]
    #[inline]
    #[track_caller]
    pub fn try_enter(&self) -> Option<MonitorGuard<'_, T>> {
        self.permit.try_enter().then(|| MonitorGuard::new(self))
    }

    /// The path of the thread that is inside. It may be out of date when the call returns.
    pub fn owner(&self) -> Option<Arc<str>> {
        self.permit.owner()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.permit.name()
    }
}

impl<'a, T: ?Sized> MonitorGuard<'a, T> {
    #[inline]
    fn new(monitor: &'a Monitor<T>) -> MonitorGuard<'a, T> {
        MonitorGuard { monitor, changed: false, panicking_before: std::thread::panicking(), _here: PhantomData }
    }

    /// Leaves, waits for a change of the value, and enters again. Call it in a loop that checks the
    /// condition: the change may be a different one. The check must not use `&mut`, as `pop` does: it
    /// counts as a change, and threads that wait so wake each other without end (see [`Monitor`]).
    ///
    /// # Blocking
    /// Until another thread has left that may have changed the value, and then until the monitor is
    /// free. A thread with a `please_stop` wants [`wait_till`](Self::wait_till).
    #[track_caller]
    pub fn wait(&mut self) {
        // Without a limit it cannot give up.
        while self.wait_within(Limit::NONE).is_err() {}
    }

    /// [`wait`](Self::wait), but gives up when `till` goes. Then it enters again and returns
    /// `false`. If `till` has gone before the call, it does not leave at all.
    ///
    /// # Blocking
    /// Until a change or `till`, and then until the monitor is free.
    #[must_use = "false: nothing has changed, and to wait again would not block"]
    #[track_caller]
    pub fn wait_till(&mut self, till: &Signal) -> bool {
        let limit = Limit::till(till);
        limit.check().is_ok() && self.wait_within(limit).is_ok()
    }

    /// [`wait`](Self::wait), but gives up when `timeout` has passed. Then it enters again, which
    /// may take longer than `timeout`, and returns `false`.
    ///
    /// # Blocking
    /// Until a change or the time, and then until the monitor is free.
    #[must_use = "false: nothing has changed in this time"]
    #[track_caller]
    pub fn wait_timeout(&mut self, timeout: Duration) -> bool {
        self.wait_within(Limit::timeout(timeout)).is_ok()
    }

    /// Returns `true` if the thread that was inside before left by a panic. The value may be half
    /// changed then. A thread that enters and leaves while it unwinds, in a destructor, does not
    /// count: the answer stays `true` for the next thread.
    #[inline]
    pub fn left_by_panic(&self) -> bool {
        self.monitor.permit.left_by_panic()
    }

    #[track_caller]
    fn wait_within(&mut self, limit: Limit<'_>) -> Result<(), GaveUp> {
        let permit = &self.monitor.permit;
        let changed = u64::from(self.changed);
        let (parker, woken) = (Parker::mine(), Arc::new(AtomicBool::new(false)));
        let what = WaitDescription::new("change in monitor", Arc::from(permit.name()));
        let published = what.limited(limit.is_any()).at(Location::caller()).publish();
        let place = {
            let line = self.line();
            line.changes += changed;
            line.next += 1;
            let waiter = Waiter { seen: line.changes, woken: woken.clone(), parker: parker.clone() };
            line.waiters.insert(line.next, waiter);
            line.next
        };
        self.leave();
        // Relaxed: entering again makes the change visible.
        let outcome = limit.block_until(&parker, || woken.load(Ordering::Relaxed));
        permit.enter();
        drop(published);
        self.changed = false;
        self.panicking_before = std::thread::panicking();
        // It may have been woken after it gave up. Then this thread has to look at the change.
        match self.line().waiters.remove(&place) {
            Some(_) => outcome,
            None => Ok(()),
        }
    }

    #[inline]
    fn line(&mut self) -> &mut Line {
        // SAFETY: this guard is the only one of its monitor, and it is borrowed exclusively for as
        // long as the result lives. So no other reference to the line exists.
        unsafe { &mut *self.monitor.line.get() }
    }

    #[inline]
    fn leave(&mut self) {
        self.monitor.permit.note_panic(self.panicking_before);
        let line = self.line();
        let woken = if line.waiters.is_empty() { None } else { line.pop_unseen() };
        self.monitor.permit.leave();
        if let Some(waiter) = woken {
            // After leaving: a waiter that wakes earlier only waits to enter.
            waiter.parker.stamp();
            waiter.woken.store(true, Ordering::Relaxed);
            waiter.parker.unpark();
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
impl<T: ?Sized> MonitorGuard<'_, T> {
    /// How many changes have been counted so far.
    pub(super) fn changes(&mut self) -> u64 {
        self.line().changes
    }
}

impl<T: ?Sized> Deref for MonitorGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one, and it gives out `&mut T` only for a `&mut` of
        // itself.
        unsafe { &*self.monitor.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MonitorGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        // SAFETY: this guard is the only one, and it is borrowed exclusively.
        unsafe { &mut *self.monitor.value.get() }
    }
}

impl<T: ?Sized> Drop for MonitorGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.line().changes += 1;
        self.leave();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MonitorGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> fmt::Debug for Monitor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner() {
            Some(owner) => write!(f, "Monitor({}, {owner} is inside)", self.name()),
            None => write!(f, "Monitor({}, no thread is inside)", self.name()),
        }
    }
}
