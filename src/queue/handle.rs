//! The public handle of a queue: adding, popping, closing. `store` has the protocol.

use super::errors::{AddError, PopError};
use super::left::HandleCount;
use super::store::{Store, Taken};
use crate::signal::Signal;
use crate::wait::Handles;
use std::fmt;
use std::sync::Arc;

/// A first-in first-out queue between any number of threads. Values move; nothing is copied or
/// serialized. Clones are handles to the same queue.
///
/// It ends by being closed. Then adding fails and gives the value back, and popping takes what is
/// left and then returns `None`. [`close`](Self::close) closes it at once. The last
/// [`Adder`](super::Adder) closes it when it is dropped, and so does the last
/// [`Popper`](super::Popper).
///
/// Which pop a consumer takes decides what a stop does to the values that are queued:
///
/// | call | when `please_stop` goes | for |
/// |---|---|---|
/// | [`pop_draining`](Self::pop_draining) | hands out everything, until the queue is closed and empty | the end of a pipeline: nothing is lost |
/// | [`pop`](Self::pop), [`iter`](Self::iter) | the same, but a forgotten close is a hang | producers that have an [`Adder`](super::Adder) |
/// | [`pop_till`](Self::pop_till) | ends at once; what is queued stays | one of several consumers; values that may be left |
///
/// Values that are still in the queue when its last handle is dropped are lost. They are counted
/// ([`left_in_queues`](crate::left_in_queues)), logged as a warning with the queue's name, and
/// listed at the end of the program, unless the queue says that its values [may be
/// left](Self::may_be_left). [The guide](crate::guide::stopping) shows whole pipelines.
///
/// Peers are Go's channels, mo-threads' `Queue` and crossbeam's channels. It differs from
/// crossbeam's by its name, by `close`, and by the `_till` forms that any [`Signal`] ends.
///
/// # Memory ordering
/// What a thread did before it added a value is visible to the thread that pops the value. What a
/// popping thread did before it made room is visible to a thread whose `add` waited for that room.
///
/// # Example
/// ```
/// use selvedge::Queue;
///
/// let lines = Queue::bounded("lines", 100);
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         lines.extend(["to be", "or not"]).unwrap();
///         lines.close();
///     });
///     assert_eq!(lines.iter().collect::<Vec<_>>(), ["to be", "or not"]);
/// });
/// ```
pub struct Queue<T> {
    /// Declared before the store, so that it is dropped first: the drop of the last count reads the
    /// store's counters.
    pub(super) account: HandleCount,
    pub(super) store: Arc<Store<T>>,
}

impl<T> Queue<T> {
    /// A queue that holds at most `capacity` values; adding to a full queue blocks. A capacity of 0
    /// is taken as 1, since the queue needs a place for the value.
    pub fn bounded(name: impl AsRef<str>, capacity: usize) -> Queue<T> {
        Queue::over(Store::new(name.as_ref(), capacity.max(1) as u64))
    }

    /// A queue without a limit: it grows as long as there is memory.
    ///
    /// A queue keeps the memory of its values for the next ones, in two buffers. Each has room for
    /// up to twice the most values that were in it. What a burst has taken is freed once pops find,
    /// some hundred times in turn, less than a quarter of that. A queue that is not used frees
    /// nothing before its last handle is dropped. This holds for [`bounded`](Self::bounded) queues
    /// too.
    pub fn unbounded(name: impl AsRef<str>) -> Queue<T> {
        Queue::over(Store::new(name.as_ref(), u64::MAX))
    }

    fn over(store: Store<T>) -> Queue<T> {
        let store = Arc::new(store);
        // SAFETY: the parts are in the store, which is behind an Arc: it does not move, and is
        // only reached through shared references. Each clone of the count is in a `Queue`, and is
        // dropped before the `Queue`'s own reference to the store.
        let account = unsafe { HandleCount::first(store.name.clone(), store.parts()) };
        Queue { account, store }
    }

    /// The handles that could end a wait by this handle.
    pub(super) fn handles(&self) -> Handles {
        Handles::of(self, self.account.shared())
    }

    /// Says that values which are still queued at the end may be dropped: ticks, progress, hints,
    /// each value that the next one makes obsolete. They are then neither counted nor logged.
    ///
    /// ```
    /// # use selvedge::{Queue, left_in_queues};
    /// let ticks = Queue::bounded("ticks", 1).may_be_left();
    /// ticks.add("tick").unwrap();
    /// drop(ticks);
    /// assert!(left_in_queues().iter().all(|left| left.name() != "ticks"));
    /// ```
    #[must_use = "it is the same queue"]
    pub fn may_be_left(self) -> Queue<T> {
        self.account.allow();
        self
    }

    /// Adds a value at the end.
    ///
    /// # Blocking
    /// While a bounded queue is full, until there is room or the queue is closed. Every 5 seconds
    /// it logs a warning with the waiting thread, the queue, and how long it has waited. A thread
    /// with a `please_stop` wants [`add_till`](Self::add_till).
    ///
    /// # Errors
    /// [`AddError::Closed`] with the value.
    pub fn add(&self, value: T) -> Result<(), AddError<T>> {
        self.store.add(value, None, || self.handles())
    }

    /// [`add`](Self::add), but gives up when `till` goes. A `till` that has gone before the call
    /// wins over room in the queue.
    ///
    /// # Blocking
    /// While a bounded queue is full, until there is room, the queue is closed, or `till` goes.
    ///
    /// # Errors
    /// [`AddError::Closed`] or [`AddError::Stopped`] with the value.
    pub fn add_till(&self, value: T, till: &Signal) -> Result<(), AddError<T>> {
        if till.is_go() { Err(AddError::Stopped(value)) } else { self.store.add(value, Some(till), || self.handles()) }
    }

    /// [`add`](Self::add) without blocking.
    ///
    /// # Errors
    /// [`AddError::Closed`] or [`AddError::Full`] with the value.
    pub fn try_add(&self, value: T) -> Result<(), AddError<T>> {
        self.store.try_add(value)
    }

    /// Takes the first value. Returns `None` once the queue is closed and empty.
    ///
    /// # Blocking
    /// While the queue is empty and open. Only a value or the close ends the wait, no
    /// `please_stop`: so it loses nothing, but it hangs if no producer closes the queue.
    /// [`pop_draining`](Self::pop_draining) loses nothing and does not hang.
    pub fn pop(&self) -> Option<T> {
        match self.store.take() {
            Taken::Value(value) => Some(value),
            Taken::Closed => None,
            Taken::Empty => self.store.pop_blocking(None, || self.handles()).ok(),
        }
    }

    /// [`pop`](Self::pop), but gives up when `till` goes. A `till` that has gone already wins over
    /// values in the queue, so that a loop over a busy queue stops promptly.
    ///
    /// So **what is queued at the stop stays queued**, and a program that ends then loses it. It is
    /// right for one of several consumers, for a wait with a deadline, and for values that [may be
    /// left](Self::may_be_left). A consumer that must handle everything calls
    /// [`pop_draining`](Self::pop_draining).
    ///
    /// # Blocking
    /// While the queue is empty and open, until there is a value, the queue is closed, or `till`
    /// goes.
    ///
    /// # Errors
    /// [`PopError::Stopped`], or [`PopError::Closed`] when the queue is closed and empty.
    ///
    /// ```
    /// # use selvedge::{PopError, Queue, Signal};
    /// let please_stop = Signal::new("please_stop");
    /// let jobs = Queue::unbounded("jobs");
    /// jobs.extend(["sweep", "mop"]).unwrap();
    /// assert_eq!(jobs.pop_till(&please_stop), Ok("sweep"));
    /// please_stop.go();
    /// assert_eq!(jobs.pop_till(&please_stop), Err(PopError::Stopped));
    /// assert_eq!(jobs.close_and_take(), ["mop"]); // What was left, for the program to keep or count.
    /// ```
    pub fn pop_till(&self, till: &Signal) -> Result<T, PopError> {
        if till.is_go() {
            return Err(PopError::Stopped);
        }
        match self.store.take() {
            Taken::Value(value) => Ok(value),
            Taken::Closed => Err(PopError::Closed),
            Taken::Empty => self.store.pop_blocking(Some(till), || self.handles()),
        }
    }

    /// Takes the first value, if there is one now. Does not block.
    pub fn try_pop(&self) -> Option<T> {
        match self.store.take() {
            Taken::Value(value) => Some(value),
            Taken::Empty | Taken::Closed => None,
        }
    }

    /// Takes everything that is in the queue now, without blocking. After one blocking
    /// [`pop`](Self::pop) it is the cheapest way to consume.
    #[must_use = "values that are dropped are lost"]
    pub fn pop_all(&self) -> Vec<T> {
        self.store.take_all()
    }

    /// Closes the queue: nothing can be added any more, and the threads that wait for room or for a
    /// value are woken. What is in the queue can still be popped. Returns `true` for the call that
    /// closed it. Does not block.
    pub fn close(&self) -> bool {
        self.store.close()
    }

    /// Closes the queue and takes everything that is in it, without blocking: for a program that
    /// wants to keep, count or hand on what was left. Nothing is added after it, so what it returns
    /// and what was popped is together what was added.
    #[must_use = "values that are dropped are lost"]
    pub fn close_and_take(&self) -> Vec<T> {
        self.close();
        self.pop_all()
    }

    /// Counts `values`, which were popped and not handled, as left. `how` completes "queue NAME …",
    /// `cure` tells what to do.
    pub(crate) fn lose(&self, values: usize, how: fmt::Arguments<'_>, cure: &str) {
        self.account.lose(values as u64, how, cure);
    }

    /// Goes when the queue is closed.
    pub fn closed(&self) -> &Signal {
        &self.store.closed
    }

    /// Pops until the queue is closed and empty.
    ///
    /// # Blocking
    /// Each step blocks as [`pop`](Self::pop) does.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// The number of values in the queue. It may be out of date when the call returns.
    pub fn len(&self) -> usize {
        self.store.len() as usize
    }

    /// Returns `true` if the queue is empty. It may be out of date when the call returns.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.store.name
    }
}
/// Pops until the queue is closed and empty; made by [`Queue::iter`].
pub struct Iter<'a, T>(&'a Queue<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.pop()
    }
}

impl<'a, T> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { account: self.account.clone(), store: self.store.clone() }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.store.closed.is_go() { "closed" } else { "open" };
        write!(f, "Queue({}, {} values, {state})", self.name(), self.len())
    }
}
