//! The cell R – –: a counted resource. Made of `permits.rs`; this file adds the name and the guard.

use super::GaveUp;
use super::limit::Limit;
use super::permits::Permits;
use crate::signal::Signal;
use crate::wait::WaitDescription;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A number of permits. A thread takes one and gives it back, so at most that many threads do
/// something at once.
///
/// In the cube of resource × binary × irreversible it is the cell "resource, counted, reversible".
/// The number can change ([`add_permits`](Self::add_permits)). A running thread may take a free
/// permit before a waiting one, which makes the semaphore fast. The thread that has waited longest
/// is handed a permit at least once a millisecond while permits come back, so no thread starves.
/// Clones are handles to the same semaphore.
///
/// # Memory ordering
/// What a thread did before it gave a permit back is visible to the thread that takes that permit.
///
/// The idea is Dijkstra's (1965); peers are tokio's and Java's `Semaphore` and, in Go, a buffered
/// channel.
///
/// # Example
/// ```
/// use selvedge::{Semaphore, spawn};
///
/// // Twenty fetchers, but the server takes no more than three connections at once.
/// let connections = Semaphore::new("connections", 3);
/// let fetchers: Vec<_> = (0..20)
///     .map(|n| {
///         let connections = connections.clone();
///         spawn(format!("fetcher-{n}"), move |please_stop| {
///             let Ok(_permit) = connections.acquire_till(please_stop) else { return false };
///             assert!(connections.available() < 3);
///             // … fetch; the connection is given back when _permit drops.
///             true
///         })
///     })
///     .collect();
/// assert!(fetchers.into_iter().all(|fetcher| fetcher.join().unwrap()));
/// assert_eq!(connections.available(), 3);
/// ```
#[derive(Clone)]
pub struct Semaphore(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    permits: Permits,
}

/// One of the permits of a [`Semaphore`], given back when it drops. It may be given back by another
/// thread than took it.
#[must_use = "a permit that is dropped at once is given back at once"]
pub struct Permit<'a>(&'a Inner);

impl Semaphore {
    /// A semaphore with this many permits, at most `usize::MAX / 2`. 0 is fine: permits can be
    /// added later.
    pub fn new(name: impl AsRef<str>, permits: usize) -> Semaphore {
        Semaphore(Arc::new(Inner { name: Arc::from(name.as_ref()), permits: Permits::new(permits) }))
    }

    /// Takes a permit.
    ///
    /// # Blocking
    /// While there is none, until a permit is given back or added. A thread with a `please_stop`
    /// wants [`acquire_till`](Self::acquire_till).
    pub fn acquire(&self) -> Permit<'_> {
        loop {
            // Without a limit it cannot give up.
            if let Ok(permit) = self.acquire_within(Limit::NONE) {
                return permit;
            }
        }
    }

    /// [`acquire`](Self::acquire), but gives up when `till` goes. A `till` that has gone before the
    /// call wins over a free permit.
    ///
    /// # Blocking
    /// Until there is a permit, or `till` goes.
    ///
    /// # Errors
    /// [`GaveUp::Stopped`].
    pub fn acquire_till(&self, till: &Signal) -> Result<Permit<'_>, GaveUp> {
        let limit = Limit::till(till);
        limit.check()?;
        self.acquire_within(limit)
    }

    /// [`acquire`](Self::acquire), but gives up when `timeout` has passed.
    ///
    /// # Blocking
    /// Until there is a permit, or `timeout` has passed.
    ///
    /// # Errors
    /// [`GaveUp::TimedOut`].
    ///
    /// ```
    /// # use selvedge::{GaveUp, Semaphore}; use std::time::Duration;
    /// let licences = Semaphore::new("licences", 1);
    /// let mine = licences.acquire();
    /// assert_eq!(licences.acquire_timeout(Duration::from_millis(1)).err(), Some(GaveUp::TimedOut));
    /// drop(mine);
    /// assert!(licences.try_acquire().is_some());
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, GaveUp> {
        match self.try_acquire() {
            Some(permit) => Ok(permit),
            None => self.acquire_within(Limit::timeout(timeout)),
        }
    }

    /// Takes a permit, if one is free now. Does not block.
    #[must_use = "a permit that is dropped at once is given back at once"]
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        // Not then_some: that would make, and drop, a permit in any case.
        self.0.permits.try_acquire().then(|| Permit(&self.0))
    }

    /// Adds permits for good. The opposite is [`Permit::forget`]. There are at most `usize::MAX /
    /// 2`; more are not added.
    pub fn add_permits(&self, count: usize) {
        self.0.permits.release_many(count);
    }

    /// The number of free permits. It may be out of date when the call returns.
    pub fn available(&self) -> usize {
        self.0.permits.available()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    #[inline]
    fn acquire_within(&self, limit: Limit<'_>) -> Result<Permit<'_>, GaveUp> {
        let inner = &self.0;
        if !inner.permits.try_acquire() {
            let publish = |since| WaitDescription::new("semaphore", inner.name.clone()).publish_since(since);
            inner.permits.acquire_slow(limit, publish)?;
        }
        Ok(Permit(inner))
    }
}

impl Permit<'_> {
    /// Takes this permit out of circulation: it is not given back.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.permits.release();
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({})", self.0.name)
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Semaphore({}, {} available)", self.name(), self.available())
    }
}
