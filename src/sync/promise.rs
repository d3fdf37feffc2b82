//! The cell R B I: one value, by one claimant, forever.
//!
//! Models: `loom_promise_*` in `sync/loom_tests.rs`, and `sync/model_tests.rs`.

use super::GaveUp;
use super::limit::Limit;
use crate::model::{AtomicBool, OnceLock};
use crate::signal::Signal;
use crate::wait::{Handles, Holder, Shared, Unblocker, WaitDescription};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A value that one thread is going to provide, and that all others can wait for.
///
/// In the cube of resource × binary × irreversible it is the cell with all three: one thread claims
/// the right to provide the value, the value is there or not, and once there it stays. A claimant
/// that fails abandons the promise, and waiting threads get an error. Clones are handles to the
/// same promise.
///
/// Peers are Java's `CompletableFuture`, tokio's `OnceCell`, `std::sync::OnceLock`, and Go's
/// `sync.Once` with a closed channel.
///
/// # Memory ordering
/// What the claimant did before it fulfilled the promise is visible to each thread that gets the
/// value.
///
/// # Example
/// ```
/// use selvedge::{Promise, spawn};
///
/// // The first thread that needs the table builds it. The others wait for it and do not build their own.
/// let table: Promise<Vec<u64>> = Promise::new("squares");
/// let readers: Vec<_> = (0..4)
///     .map(|n| {
///         let table = table.clone();
///         spawn(format!("reader-{n}"), move |please_stop| {
///             if let Some(claim) = table.claim() {
///                 claim.fulfil((0..100).map(|n| n * n).collect());
///             }
///             table.wait_till(please_stop).map(|squares| squares[9])
///         })
///     })
///     .collect();
/// for reader in readers {
///     assert_eq!(reader.join().unwrap(), Ok(81));
/// }
/// assert!(table.get().is_some());
/// ```
pub struct Promise<T> {
    inner: Arc<Inner<T>>,
    /// Its count of references is the number of handles to the promise.
    handle: Arc<Handle>,
}

struct Inner<T> {
    name: Arc<str>,
    claimed: AtomicBool,
    value: OnceLock<T>,
    fulfilled: Signal,
    abandoned: Signal,
    /// `fulfilled | abandoned`.
    settled: Signal,
}

/// The right, and the duty, to provide the value of a [`Promise`]. Dropped without a value, also by
/// a panic, it abandons the promise.
///
/// It is good for one value:
/// ```compile_fail,E0382
/// let claim = selvedge::Promise::new("answer").claim().unwrap();
/// claim.fulfil(42);
/// claim.fulfil(43);
/// ```
#[must_use = "a claim that is dropped abandons the promise"]
pub struct Claim<T> {
    /// `None` once it is fulfilled.
    inner: Option<Arc<Inner<T>>>,
    _handle: Arc<Handle>,
}

/// Shared by all handles and the claim: what can still bring a value. Not generic, so that a
/// published wait can refer to it.
struct Handle {
    fulfilled: Signal,
    abandoned: Signal,
    claimant: Arc<Holder>,
}

impl Shared for Handle {
    fn is_left_to(&self, known: usize, all: usize) -> bool {
        // Any clone of one of the signals can let it go. Three are the promise's own: in Inner, in
        // its composite, and here.
        all <= known && self.fulfilled.has_handles(3) && self.abandoned.has_handles(3)
    }
}

/// Why there is no value.
///
/// ```
/// use selvedge::{Promise, PromiseError};
///
/// let table: Promise<Vec<u64>> = Promise::new("table");
/// drop(table.claim()); // The claimant gives up.
/// assert_eq!(table.wait(), Err(PromiseError::Abandoned));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PromiseError {
    /// The claim was dropped: there will never be one.
    Abandoned,
    /// The signal that was given as `till` has gone.
    Stopped,
    /// The time of a `_timeout` form has passed.
    TimedOut,
}

impl<T> Promise<T> {
    /// A promise without a claimant.
    pub fn new(name: impl AsRef<str>) -> Promise<T> {
        let name = name.as_ref();
        let (fulfilled, abandoned) =
            (Signal::new(format!("{name} fulfilled")), Signal::new(format!("{name} abandoned")));
        let settled = &fulfilled | &abandoned;
        let handle = Handle { fulfilled: fulfilled.clone(), abandoned: abandoned.clone(), claimant: Arc::default() };
        let inner = Inner {
            name: Arc::from(name),
            claimed: AtomicBool::new(false),
            value: OnceLock::new(),
            fulfilled,
            abandoned,
            settled,
        };
        Promise { inner: Arc::new(inner), handle: Arc::new(handle) }
    }

    /// The right to provide the value. `None` if it was claimed before. Does not block.
    #[must_use = "a claim that is dropped abandons the promise"]
    #[track_caller]
    pub fn claim(&self) -> Option<Claim<T>> {
        // Relaxed: the swap alone decides which thread is first; nothing else depends on it.
        if self.inner.claimed.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.handle.claimant.take();
        Some(Claim { inner: Some(self.inner.clone()), _handle: self.handle.clone() })
    }

    /// Waits for the value.
    ///
    /// # Blocking
    /// Until the promise is fulfilled or abandoned; forever, if it is never claimed. A thread with a
    /// `please_stop` wants [`wait_till`](Self::wait_till).
    ///
    /// # Errors
    /// [`PromiseError::Abandoned`].
    pub fn wait(&self) -> Result<&T, PromiseError> {
        self.wait_within(|| Limit::NONE)
    }

    /// [`wait`](Self::wait), but gives up when `till` goes. A value that is there wins over a
    /// `till` that has gone.
    ///
    /// # Blocking
    /// Until the promise is fulfilled or abandoned, or `till` goes.
    ///
    /// # Errors
    /// [`PromiseError::Abandoned`] or [`PromiseError::Stopped`].
    pub fn wait_till(&self, till: &Signal) -> Result<&T, PromiseError> {
        self.wait_within(|| Limit::till(till))
    }

    /// [`wait`](Self::wait), but gives up when `timeout` has passed.
    ///
    /// # Blocking
    /// Until the promise is fulfilled or abandoned, or `timeout` has passed.
    ///
    /// # Errors
    /// [`PromiseError::Abandoned`] or [`PromiseError::TimedOut`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<&T, PromiseError> {
        self.wait_within(|| Limit::timeout(timeout))
    }

    /// The value, if it is there.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // By the signal and not by the cell: the value must not be visible before `fulfilled` has
        // gone.
        if self.inner.fulfilled.is_go() { self.inner.value.get() } else { None }
    }

    /// The value itself, for the last handle to the promise.
    ///
    /// A promise with one consumer (the answer to one question, as with a `oneshot` channel) is
    /// waited for and then taken.
    ///
    /// # Errors
    /// The promise comes back: there is no value yet, or there is another handle to it, whose owner
    /// may look at the value.
    ///
    /// ```
    /// use selvedge::{Promise, spawn};
    ///
    /// let answer: Promise<String> = Promise::new("answer");
    /// let claim = answer.claim().unwrap();
    /// drop(spawn("thinker", move |_please_stop| claim.fulfil("42".to_owned())));
    /// answer.wait()?;
    /// let owned: String = answer.take().unwrap();
    /// assert_eq!(owned, "42");
    /// # Ok::<(), selvedge::PromiseError>(())
    /// ```
    pub fn take(self) -> Result<T, Promise<T>> {
        if self.get().is_none() {
            return Err(self);
        }
        let Promise { inner, handle } = self;
        match Arc::try_unwrap(inner) {
            // It is there.
            Ok(Inner { value, .. }) => Ok(value.into_inner().expect("the promise is fulfilled")),
            Err(inner) => Err(Promise { inner, handle }),
        }
    }

    /// Goes when the value is there.
    pub fn fulfilled(&self) -> &Signal {
        &self.inner.fulfilled
    }

    /// Goes when the claim is dropped without a value.
    pub fn abandoned(&self) -> &Signal {
        &self.inner.abandoned
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    fn wait_within<'a>(&self, limit: impl FnOnce() -> Limit<'a>) -> Result<&T, PromiseError> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let limit = limit();
        let publish = || {
            let shared = Arc::downgrade(&self.handle);
            let what = WaitDescription::new("promise", self.inner.name.clone())
                .unblocker(Unblocker::Claimed(self.handle.claimant.clone()));
            what.limited(limit.is_any()).handles(Handles::of(self, shared)).publish()
        };
        let outcome = limit.wait_for(&self.inner.settled, publish);
        match (self.get(), outcome) {
            (Some(value), _) => Ok(value),
            (None, Ok(())) => Err(PromiseError::Abandoned),
            (None, Err(GaveUp::Stopped)) => Err(PromiseError::Stopped),
            (None, Err(GaveUp::TimedOut)) => Err(PromiseError::TimedOut),
        }
    }
}

impl<T> Claim<T> {
    /// Provides the value, and wakes all threads that wait for it.
    pub fn fulfil(mut self, value: T) {
        let Some(inner) = self.inner.take() else { return };
        // There is one claim, and this uses it up: the cell is empty.
        let _ = inner.value.set(value);
        let fulfilled = inner.fulfilled.clone();
        // Before the signal goes: then a thread that waits for it finds that its handle is the last
        // one.
        drop(inner);
        fulfilled.go_unexplained();
    }
}

impl<T> Drop for Claim<T> {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            inner.abandoned.go_unexplained();
        }
    }
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Promise<T> {
        Promise { inner: self.inner.clone(), handle: self.handle.clone() }
    }
}

impl<T> Inner<T> {
    fn state(&self) -> &'static str {
        if self.fulfilled.is_go() {
            "fulfilled"
        } else if self.abandoned.is_go() {
            "abandoned"
        } else if self.claimed.load(Ordering::Relaxed) {
            "claimed"
        } else {
            "unclaimed"
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Promise({}, {})", self.name(), self.inner.state())
    }
}

impl<T> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim({})", self.inner.as_ref().map_or("fulfilled", |inner| &inner.name))
    }
}

impl fmt::Display for PromiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PromiseError::Abandoned => "the promise was abandoned",
            PromiseError::Stopped => "stopped while waiting for the promise",
            PromiseError::TimedOut => "timed out while waiting for the promise",
        })
    }
}

impl std::error::Error for PromiseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        matches!(self, PromiseError::Stopped).then_some(crate::error::STOPPED)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_seen_before_fulfilled_has_gone() {
        let promise = Promise::new("answer");
        // The first of the two steps of `fulfil`.
        promise.inner.value.set(42).unwrap();
        assert_eq!((promise.get(), promise.fulfilled().is_go()), (None, false));
        promise.claim().unwrap().fulfil(42);
        assert_eq!((promise.get(), promise.fulfilled().is_go()), (Some(&42), true));
    }

    #[test]
    fn a_thread_whose_claim_is_refused_is_not_the_claimant() {
        let promise = Promise::<u32>::new("answer");
        let _claim = promise.claim().unwrap();
        std::thread::scope(|s| s.spawn(|| assert!(promise.claim().is_none())).join().unwrap());
        assert!(promise.handle.claimant.is_me());
    }

    #[test]
    fn clones_of_its_signals_can_end_waits() {
        let promise = Promise::<u32>::new("answer");
        let is_left = |known| promise.handle.is_left_to(known, Arc::strong_count(&promise.handle));
        assert!(is_left(1) && !is_left(0));
        for signal in [promise.fulfilled(), promise.abandoned()] {
            let clone = signal.clone();
            assert!(!is_left(1));
            drop(clone);
            assert!(is_left(1));
        }
    }
}
