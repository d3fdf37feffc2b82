//! The cell – B –: a flag that wakes one thread. Made of `permits.rs` with at most one permit.

use super::limit::Limit;
use super::permits::Permits;
use crate::signal::Signal;
use crate::wait::WaitDescription;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// "There is something to do", however often it was said: [`post`](Self::post) raises the flag, one
/// [`wait`](Self::wait) takes it down and goes on.
///
/// In the cube of resource × binary × irreversible it is the cell "binary, reversible, without an
/// owner". Any thread may post. Two posts before a wait count as one. Clones are handles to the
/// same semaphore.
///
/// # Memory ordering
/// What a thread did before it posted is visible to the thread that takes the flag down, also if
/// the flag was up already.
///
/// Peers are the auto-reset event of Windows, tokio's `Notify::notify_one`, `Thread::unpark`, and,
/// in Go, a channel of capacity 1 with a non-blocking send.
///
/// # Example
/// ```
/// use selvedge::{BinarySemaphore, spawn};
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering::SeqCst}};
///
/// // Many threads change settings; one writes the file, once for all changes that came while it wrote.
/// let (version, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
/// let changed = BinarySemaphore::new("settings changed");
/// let saver = spawn("saver", {
///     let (version, written, changed) = (version.clone(), written.clone(), changed.clone());
///     move |please_stop| {
///         while changed.wait_till(please_stop) {
///             written.store(version.load(SeqCst), SeqCst);
///         }
///     }
/// });
/// for _ in 0..3 {
///     version.fetch_add(1, SeqCst);
///     changed.post();
/// }
/// while written.load(SeqCst) < 3 {
///     std::thread::yield_now();
/// }
/// saver.stop();
/// saver.join().unwrap();
/// ```
#[derive(Clone)]
pub struct BinarySemaphore(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    permits: Permits,
}

impl BinarySemaphore {
    /// A semaphore whose flag is down.
    pub fn new(name: impl AsRef<str>) -> BinarySemaphore {
        BinarySemaphore(Arc::new(Inner { name: Arc::from(name.as_ref()), permits: Permits::new(0) }))
    }

    /// Raises the flag, and wakes one waiting thread. Returns `false` if the flag was up already.
    /// Does not block.
    #[inline]
    pub fn post(&self) -> bool {
        self.0.permits.release_unless_there()
    }

    /// Takes the flag down.
    ///
    /// # Blocking
    /// Until a thread raises the flag. A thread with a `please_stop` wants
    /// [`wait_till`](Self::wait_till).
    pub fn wait(&self) {
        // Without a limit it cannot give up.
        while !self.wait_within(Limit::NONE) {}
    }

    /// [`wait`](Self::wait), but gives up when `till` goes, and then returns `false`. A `till` that
    /// has gone before the call wins over a raised flag.
    ///
    /// # Blocking
    /// Until a thread raises the flag, or `till` goes.
    #[must_use = "false: the flag was not taken down"]
    pub fn wait_till(&self, till: &Signal) -> bool {
        let limit = Limit::till(till);
        limit.check().is_ok() && self.wait_within(limit)
    }

    /// [`wait`](Self::wait), but gives up when `timeout` has passed, and then returns `false`.
    ///
    /// # Blocking
    /// Until a thread raises the flag, or `timeout` has passed.
    ///
    /// ```
    /// # use selvedge::BinarySemaphore; use std::time::Duration;
    /// let changed = BinarySemaphore::new("settings changed");
    /// assert!(!changed.wait_timeout(Duration::from_millis(1)));
    /// changed.post();
    /// assert!(changed.wait_timeout(Duration::from_millis(1)));
    /// ```
    #[must_use = "false: the flag was not taken down"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.try_wait() || self.wait_within(Limit::timeout(timeout))
    }

    /// Takes the flag down, and returns `true`, if the flag is up now. Does not block.
    #[must_use = "false: the flag was not taken down"]
    #[inline]
    pub fn try_wait(&self) -> bool {
        self.0.permits.try_acquire()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    #[inline]
    fn wait_within(&self, limit: Limit<'_>) -> bool {
        let inner = &self.0;
        let publish = |since| WaitDescription::new("binary semaphore", inner.name.clone()).publish_since(since);
        inner.permits.try_acquire() || inner.permits.acquire_slow(limit, publish).is_ok()
    }
}

impl fmt::Debug for BinarySemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.0.permits.available() > 0 { "posted" } else { "not posted" };
        write!(f, "BinarySemaphore({}, {state})", self.name())
    }
}
