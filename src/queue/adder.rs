//! Handles for producers. The last one to be dropped closes the queue; the protocol of the close is
//! in `store.rs`.

use super::handle::Queue;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::Ordering;

/// A handle to add with, which closes the queue when it is the last `Adder` and is dropped: by a
/// return, by `?`, by a panic. So the consumers always come to an end. Made by [`Queue::adder`].
///
/// Clones count: with several producers the queue is closed when the last one has ended. Give each
/// producer its adder *before* the first one starts, and keep none: an adder that the main function
/// keeps in a variable keeps the queue open. [`Queue::close`] closes at once, also while there are
/// adders.
///
/// ```
/// use selvedge::{Queue, spawn};
///
/// let words = Queue::bounded("words", 100);
/// let adder = words.adder();
/// let producers = [["to", "be"], ["or", "not"]].map(|pair| {
///     let adder = adder.clone();
///     spawn("producer", move |_please_stop| adder.extend(pair))
/// });
/// drop(adder); // Now only the producers have one.
/// assert_eq!(words.iter().count(), 4); // Ends when both producers have.
/// # producers.into_iter().for_each(|producer| producer.join().unwrap().unwrap());
/// ```
///
/// A producer that panics closes too:
///
/// ```
/// # use selvedge::Queue;
/// let jobs: Queue<u32> = Queue::unbounded("jobs");
/// let adder = jobs.adder();
/// let producer = std::thread::spawn(move || {
///     adder.add(7).unwrap();
///     panic!("out of ink");
/// });
/// assert_eq!(jobs.iter().collect::<Vec<_>>(), [7]);
/// # producer.join().unwrap_err();
/// ```
#[must_use = "an adder that is dropped at once closes the queue"]
pub struct Adder<T>(Queue<T>);

impl<T> Adder<T> {
    pub(super) fn new(queue: Queue<T>) -> Adder<T> {
        queue.account.adders.fetch_add(1, Ordering::SeqCst);
        Adder(queue)
    }
}

impl<T> Queue<T> {
    /// A handle for a producer: when the last [`Adder`] is dropped, the queue is closed. Once the
    /// queue is closed, a new adder adds nothing: each `add` gives its value back.
    pub fn adder(&self) -> Adder<T> {
        Adder::new(self.clone())
    }
}

impl<T> Deref for Adder<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> Clone for Adder<T> {
    fn clone(&self) -> Adder<T> {
        Adder::new(self.0.clone())
    }
}

impl<T> Drop for Adder<T> {
    fn drop(&mut self) {
        if self.0.account.adders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.close();
        }
    }
}

impl<T> fmt::Debug for Adder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Adder({:?})", self.0)
    }
}
