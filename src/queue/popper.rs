//! Handles for consumers. The last one to be dropped closes the queue; the protocol of the close is
//! in `store.rs`.

use super::handle::Queue;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::Ordering;

/// A handle to pop with, which closes the queue when it is the last `Popper` and is dropped: by a
/// return, by `?`, by a panic. So a producer does not wait for room that no thread will make: its
/// `add` fails, and gives the value back. Made by [`Queue::popper`].
///
/// Clones count. What is queued when the last `Popper` is dropped can still be popped through any
/// handle. What is never popped is counted as [left](crate::left_in_queues).
///
/// ```
/// use selvedge::Queue;
///
/// let jobs = Queue::bounded("jobs", 1);
/// let popper = jobs.popper();
/// jobs.add("sweep").unwrap();
/// let consumer = std::thread::spawn(move || {
///     popper.pop();
///     panic!("the broom is broken");
/// });
/// # consumer.join().unwrap_err();
/// // Without a popper this would wait for room forever.
/// assert_eq!(jobs.add("mop").unwrap_err().into_inner(), "mop");
/// ```
#[must_use = "a popper that is dropped at once closes the queue"]
pub struct Popper<T>(Queue<T>);

impl<T> Popper<T> {
    pub(super) fn new(queue: Queue<T>) -> Popper<T> {
        queue.account.poppers.fetch_add(1, Ordering::SeqCst);
        Popper(queue)
    }
}

impl<T> Queue<T> {
    /// A handle for a consumer: when the last [`Popper`] is dropped, the queue is closed. So no
    /// producer waits for room that no thread will make.
    pub fn popper(&self) -> Popper<T> {
        Popper::new(self.clone())
    }
}

impl<T> Deref for Popper<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> Clone for Popper<T> {
    fn clone(&self) -> Popper<T> {
        Popper::new(self.0.clone())
    }
}

impl<T> Drop for Popper<T> {
    fn drop(&mut self) {
        if self.0.account.poppers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.close();
        }
    }
}

impl<T> fmt::Debug for Popper<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Popper({:?})", self.0)
    }
}
