//! The errors of queues: why a value could not be added, or was not there to pop. They give the
//! value back.

use std::fmt;

/// Why a value could not be added. The value is in it.
///
/// ```
/// use selvedge::{AddError, Queue};
///
/// let jobs = Queue::bounded("jobs", 1);
/// jobs.add("sweep").unwrap();
/// match jobs.try_add("mop") {
///     Err(AddError::Full(job)) => assert_eq!(job, "mop"), // For another queue, or later.
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddError<T> {
    /// The queue is closed, and stays so.
    Closed(T),
    /// `till` went before there was room. With a `_timeout` form: the time passed.
    Stopped(T),
    /// There is no room now. Only from [`Queue::try_add`](crate::Queue::try_add).
    Full(T),
}

impl<T> AddError<T> {
    /// The value that was not added.
    pub fn into_inner(self) -> T {
        match self {
            AddError::Closed(value) | AddError::Stopped(value) | AddError::Full(value) => value,
        }
    }

    /// The queue is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, AddError::Closed(_))
    }

    /// Returns `true` if the wait was ended by its signal or its time.
    pub fn is_stopped(&self) -> bool {
        matches!(self, AddError::Stopped(_))
    }

    /// There was no room.
    pub fn is_full(&self) -> bool {
        matches!(self, AddError::Full(_))
    }

    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> AddError<U> {
        match self {
            AddError::Closed(value) => AddError::Closed(f(value)),
            AddError::Stopped(value) => AddError::Stopped(f(value)),
            AddError::Full(value) => AddError::Full(f(value)),
        }
    }
}

impl<T> fmt::Display for AddError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddError::Closed(_) => "the queue is closed",
            AddError::Stopped(_) => "stopped while waiting for room in the queue",
            AddError::Full(_) => "the queue is full",
        })
    }
}

impl<T> fmt::Debug for AddError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddError::Closed(_) => "Closed(..)",
            AddError::Stopped(_) => "Stopped(..)",
            AddError::Full(_) => "Full(..)",
        })
    }
}

impl<T> std::error::Error for AddError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        matches!(self, AddError::Stopped(_)).then_some(crate::error::STOPPED)
    }
}

/// Why there was no value.
///
/// ```
/// use selvedge::{PopError, Queue, Signal};
///
/// let jobs = Queue::<&str>::unbounded("jobs");
/// assert_eq!(jobs.pop_till(&Signal::gone()), Err(PopError::Stopped));
/// jobs.close();
/// assert_eq!(jobs.pop_till(&Signal::never()), Err(PopError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopError {
    /// `till` has gone. With a `_timeout` form: the time has passed.
    Stopped,
    /// The queue is closed and everything in it was taken.
    Closed,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PopError::Stopped => "stopped while waiting for the queue",
            PopError::Closed => "the queue is closed and empty",
        })
    }
}

impl std::error::Error for PopError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        matches!(self, PopError::Stopped).then_some(crate::error::STOPPED)
    }
}
