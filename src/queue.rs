//! Queues that move values between threads. Knows `signal` and `wait`; knows no threads of the tree.
//!
//! Here are the handle and its promises; `store` has the protocol, `bell` the sleeping.

mod bell;
mod errors;
mod store;

pub use errors::{AddError, PopError};

use self::store::{Store, Taken};
use crate::signal::Signal;
use crate::wait::Handles;
use std::fmt;
use std::sync::Arc;

/// Values that `extend` gathers before it takes the lock.
const BATCH: usize = 1024;

/// A first-in first-out queue between any number of threads. Values move; nothing is copied or serialized. Clones are
/// handles to the same queue.
///
/// It ends by being closed: adding fails from then on and gives the value back, popping takes what is left and then says
/// that this was all.
///
/// Peers are Go's channels, mo-threads' `Queue` and crossbeam's channels, from which it differs by its name, by `close`
/// being a call and not the drop of the last sender, and by the `_till` forms that any [`Signal`] ends.
///
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
    store: Arc<Store<T>>,
    /// One for each handle. Not generic, so that a published wait can refer to it.
    handle: Arc<()>,
}

impl<T> Queue<T> {
    /// A queue that holds at most `capacity` values; adding to a full one blocks. A capacity of 0 is taken as 1: there is
    /// no hand-over without a place to put the value.
    pub fn bounded(name: impl AsRef<str>, capacity: usize) -> Queue<T> {
        Queue::over(Store::new(name.as_ref(), capacity.max(1) as u64))
    }

    /// A queue that grows as far as memory goes.
    pub fn unbounded(name: impl AsRef<str>) -> Queue<T> {
        Queue::over(Store::new(name.as_ref(), u64::MAX))
    }

    fn over(store: Store<T>) -> Queue<T> {
        Queue { store: Arc::new(store), handle: Arc::new(()) }
    }

    /// Who else could end a wait by this handle.
    fn handles(&self) -> Handles {
        let shared = Arc::downgrade(&self.handle);
        Handles::of(self, shared)
    }

    /// Adds a value at the end. Blocks while a bounded queue is full, and then logs a warning every 5 seconds: who waits,
    /// for which queue, how long.
    ///
    /// # Errors
    /// [`AddError::Closed`] with the value.
    pub fn add(&self, value: T) -> Result<(), AddError<T>> {
        self.store.add(value, None, || self.handles())
    }

    /// [`add`](Self::add), but gives up when `till` goes. One that has gone already wins over room in the queue.
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

    /// Adds many values, taking the lock once for many. Blocks as [`add`](Self::add) does, between values.
    ///
    /// # Errors
    /// [`AddError::Closed`] with those that were taken from the iterator and not added; the rest is still in the iterator,
    /// if you pass it as `&mut iter`.
    ///
    /// ```
    /// # use selvedge::Queue;
    /// let squares = Queue::unbounded("squares");
    /// squares.extend((1..=3).map(|n| n * n)).unwrap();
    /// assert_eq!(squares.pop_all(), [1, 4, 9]);
    /// ```
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), AddError<Vec<T>>> {
        let mut values = values.into_iter();
        loop {
            let batch: Vec<T> = values.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.store.add_batch(batch, || self.handles())?;
        }
    }

    /// Takes the first value. Blocks while the queue is empty and open; `None` once it is closed and everything in it
    /// was taken. A thread that has a `please_stop` wants [`pop_till`](Self::pop_till).
    pub fn pop(&self) -> Option<T> {
        match self.store.take() {
            Taken::Value(value) => Some(value),
            Taken::Closed => None,
            Taken::Empty => self.store.pop_blocking(None, || self.handles()).ok(),
        }
    }

    /// [`pop`](Self::pop), but gives up when `till` goes. One that has gone already wins over values in the queue, so that
    /// a loop over a busy queue stops promptly.
    ///
    /// # Errors
    /// [`PopError::Stopped`], or [`PopError::Closed`] when the queue is closed and empty.
    ///
    /// ```
    /// # use selvedge::{Queue, PopError, Signal};
    /// # let please_stop = Signal::new("please_stop");
    /// let jobs: Queue<u32> = Queue::unbounded("jobs");
    /// jobs.add(7).unwrap();
    /// jobs.close();
    /// while let Ok(job) = jobs.pop_till(&please_stop) {
    ///     assert_eq!(job, 7);
    /// }
    /// assert_eq!(jobs.pop_till(&please_stop), Err(PopError::Closed));
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

    /// Takes the first value, if there is one now.
    pub fn try_pop(&self) -> Option<T> {
        match self.store.take() {
            Taken::Value(value) => Some(value),
            Taken::Empty | Taken::Closed => None,
        }
    }

    /// Takes everything that is in the queue now, without blocking. After one blocking [`pop`](Self::pop) it is the
    /// cheapest way to consume.
    pub fn pop_all(&self) -> Vec<T> {
        self.store.take_all()
    }

    /// Closes the queue: nothing can be added any more, whoever waits for room or for a value is woken. What is in it can
    /// still be popped. True for the call that did it.
    pub fn close(&self) -> bool {
        self.store.close()
    }

    /// Goes when the queue is closed.
    pub fn closed(&self) -> &Signal {
        &self.store.closed
    }

    /// Pops until the queue is closed and empty. Blocks as [`pop`](Self::pop) does.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// How many values are in it; when others use it, how many there were.
    pub fn len(&self) -> usize {
        self.store.len() as usize
    }

    /// Whether it is empty; when others use it, whether it was.
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
        Queue { store: self.store.clone(), handle: self.handle.clone() }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.store.closed.is_go() { "closed" } else { "open" };
        write!(f, "Queue({}, {} values, {state})", self.name(), self.len())
    }
}
