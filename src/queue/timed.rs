//! Adding and popping with a time limit: the waits of `store.rs` with a `Till`.

use super::errors::{AddError, PopError};
use super::handle::Queue;
use super::store::Taken;
use crate::signal::Till;
use std::time::Duration;

impl<T> Queue<T> {
    /// [`add`](Self::add), but gives up when `timeout` has passed. Room that is there is taken,
    /// even if `timeout` is zero.
    ///
    /// # Blocking
    /// While a bounded queue is full, until there is room, the queue is closed, or `timeout` has
    /// passed.
    ///
    /// # Errors
    /// [`AddError::Closed`] with the value, or [`AddError::Stopped`] with it if the time has
    /// passed.
    ///
    /// ```
    /// # use selvedge::{AddError, Queue};
    /// # use std::time::Duration;
    /// let jobs = Queue::bounded("jobs", 1);
    /// assert_eq!(jobs.add_timeout("sweep", Duration::ZERO), Ok(()));
    /// assert_eq!(jobs.add_timeout("mop", Duration::from_millis(1)), Err(AddError::Stopped("mop")));
    /// ```
    pub fn add_timeout(&self, value: T, timeout: Duration) -> Result<(), AddError<T>> {
        match self.try_add(value) {
            Err(AddError::Full(value)) => self.store.add(value, Some(&Till::after(timeout)), || self.handles()),
            outcome => outcome,
        }
    }

    /// [`pop`](Self::pop), but gives up when `timeout` has passed. A value that is there is taken,
    /// even if `timeout` is zero.
    ///
    /// # Blocking
    /// While the queue is empty and open, until there is a value, the queue is closed, or `timeout`
    /// has passed.
    ///
    /// # Errors
    /// [`PopError::Closed`] when the queue is closed and empty, or [`PopError::Stopped`] if the
    /// time has passed.
    ///
    /// ```
    /// # use selvedge::{PopError, Queue};
    /// # use std::time::Duration;
    /// let jobs = Queue::unbounded("jobs");
    /// jobs.add("sweep").unwrap();
    /// assert_eq!(jobs.pop_timeout(Duration::ZERO), Ok("sweep"));
    /// assert_eq!(jobs.pop_timeout(Duration::from_millis(1)), Err(PopError::Stopped));
    /// ```
    pub fn pop_timeout(&self, timeout: Duration) -> Result<T, PopError> {
        match self.store.take() {
            Taken::Value(value) => Ok(value),
            Taken::Closed => Err(PopError::Closed),
            Taken::Empty => self.store.pop_blocking(Some(&Till::after(timeout)), || self.handles()),
        }
    }
}
