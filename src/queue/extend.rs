//! Adding many values, with one lock for many. Decides how many values are gathered before they are
//! added; `store.rs` adds them.

use super::errors::AddError;
use super::handle::Queue;
use std::time::{Duration, Instant};

/// `extend` gathers at most this many values before it adds them. For 64 values, one more lock and two
/// more reads of the clock cost 1 ns a value.
const MOST: usize = 64;

/// The size of the first batch. In a model it is 2: there, two values must be added under one lock.
const FIRST: usize = if cfg!(all(test, selvedge_model)) { 2 } else { 1 };

/// A batch is larger than the one before by at most this factor.
const GROWTH: usize = 8;

/// The iterator should need at most this long for one batch.
const PROMPT: Duration = Duration::from_micros(50);

impl<T> Queue<T> {
    /// Adds many values, taking the lock once for many.
    ///
    /// # Values that are gathered
    /// It takes at most 64 values from the iterator before it adds them, and at most as many as
    /// there is room for. It takes one value at a time while the queue is full, while the iterator is
    /// slow, and if the iterator promises no more by the lower bound of its
    /// [`size_hint`](Iterator::size_hint): lines that are read, values that are filtered. So a value
    /// does not wait in the caller's hand until the next one is made, unless the iterator was fast
    /// and becomes slow all at once. If the iterator panics, what it has made before is added. What
    /// there is no room for then is counted as [left](crate::left_in_queues).
    ///
    /// # Blocking
    /// As [`add`](Self::add), between values.
    ///
    /// # Errors
    /// [`AddError::Closed`] with the values that were taken from the iterator and not added: one, if
    /// the queue was closed before. The rest is still in the iterator, if you pass it as `&mut iter`;
    /// else it is dropped with the iterator.
    ///
    /// ```
    /// # use selvedge::Queue;
    /// let squares = Queue::unbounded("squares");
    /// squares.extend((1..=3).map(|n| n * n)).unwrap();
    /// assert_eq!(squares.pop_all(), [1, 4, 9]);
    /// ```
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), AddError<Vec<T>>> {
        let mut values = values.into_iter();
        let mut gathered = Gathered { queue: self, values: Vec::new() };
        let mut most = FIRST;
        loop {
            let promised = values.size_hint().0;
            let count = most.min(promised).min(self.store.free_places()).max(1);
            let begin = (promised > 1).then(Instant::now);
            gathered.values.extend(values.by_ref().take(count));
            if let Some(begin) = begin {
                most = next_most(gathered.values.len(), begin.elapsed());
            }
            if gathered.values.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.store.add_batch(&mut gathered.values, || self.handles()) {
                return Err(error.map(|()| std::mem::take(&mut gathered.values)));
            }
        }
    }
}

/// The size of the next batch, by what the iterator needed for `count` values.
fn next_most(count: usize, took: Duration) -> usize {
    let one = (took.as_nanos() / count.max(1) as u128).max(1);
    let prompt = (PROMPT.as_nanos() / one).min(MOST as u128) as usize;
    prompt.min(count * GROWTH).max(1)
}

/// Values that were taken from the iterator and not added yet.
struct Gathered<'a, T> {
    queue: &'a Queue<T>,
    values: Vec<T>,
}

impl<T> Drop for Gathered<'_, T> {
    /// There are values only if the iterator has panicked. This does not wait for room: the panic
    /// may be what ends the consumer.
    fn drop(&mut self) {
        if self.values.is_empty() {
            return;
        }
        let _ = self.queue.store.try_add_batch(&mut self.values);
        let how = format_args!("has lost, by a panic of the iterator of Queue::extend and for want of room,");
        self.queue.lose(self.values.len(), how, "Queue::add adds one value after the other");
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_only_while_the_iterator_is_fast() {
        let [fast, slow] = [100, 100_000].map(Duration::from_nanos);
        let mut most = 1;
        let grown = std::array::from_fn(|_| {
            most = next_most(most, fast * most as u32);
            most
        });
        assert_eq!(grown, [8, 64, 64]);
        // 64 values in 100 µs: half of them would have taken 50 µs.
        assert_eq!((next_most(64, slow), next_most(64, 64 * slow), next_most(1, slow)), (32, 1, 1));
        assert_eq!((next_most(0, Duration::ZERO), next_most(1, Duration::ZERO)), (1, 8));
    }

    #[test]
    fn a_panic_of_the_iterator_counts_what_has_no_room() {
        let queue = Queue::bounded("a narrow way out", 1);
        drop(Gathered { queue: &queue, values: vec![1, 2, 3] });
        assert_eq!(queue.pop_all(), [1]);
        let left = crate::queue::left_in_queues();
        let counted = left.iter().find(|left| left.name() == queue.name()).map(|left| left.values());
        assert_eq!(counted, Some(2));
    }
}
