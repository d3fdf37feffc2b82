//! The two buffers of a queue: adders fill the tail's, poppers empty the head's, and then the two change
//! places. Decides when a buffer that a burst has made large is freed. Knows no locks; `store.rs` has
//! them.

use std::collections::VecDeque;
use std::ops::DerefMut;

/// A buffer of at most this many bytes is never freed.
const KEPT: usize = 4096;

/// A buffer is freed if it has room for more than this many times the recent depth. A buffer that
/// grows has room for at most twice its values, so an even load frees none.
const FAR: usize = 4;

/// The recent depth is that of at least this many swaps, and of at most twice as many.
const WINDOW: u32 = 64;

pub(super) struct Tail<T> {
    pub(super) fresh: Vec<T>,
    pub(super) closed: bool,
    /// `popped` as last read. The other side's cache line is read only when the queue looks full.
    pub(super) popped_seen: u64,
}

pub(super) struct Head<T> {
    pub(super) ready: VecDeque<T>,
    recent: RecentDepth,
}

impl<T> Tail<T> {
    pub(super) fn new() -> Tail<T> {
        Tail { fresh: Vec::new(), closed: false, popped_seen: 0 }
    }
}

impl<T> Head<T> {
    pub(super) fn new() -> Head<T> {
        Head { ready: VecDeque::new(), recent: RecentDepth::default() }
    }

    /// Gives the tail's values to the empty head, and the head's memory to the tail. Returns whether
    /// the queue is closed, and a buffer that the caller drops with no lock held: to free a large
    /// one takes milliseconds.
    ///
    /// Two buffers change places again and again, so adders soon allocate nothing. An adder that
    /// allocates may block on the allocator's lock while it holds the tail's. Neither conversion
    /// copies: a buffer is emptied from the front, and filled from its start.
    pub(super) fn swap<G: DerefMut<Target = Tail<T>>>(&mut self, lock_tail: impl FnOnce() -> G) -> (bool, Vec<T>) {
        debug_assert!(self.ready.is_empty());
        let mut empty = Vec::from(std::mem::take(&mut self.ready));
        let mut surplus = Vec::new();
        if let Some(depth) = self.recent.depth_if_far_below(empty.capacity(), size_of::<T>()) {
            surplus = std::mem::replace(&mut empty, Vec::with_capacity(depth));
        }
        let mut tail = lock_tail();
        let fresh = std::mem::replace(&mut tail.fresh, empty);
        let closed = tail.closed;
        drop(tail);
        self.recent.count(fresh.len());
        self.ready = VecDeque::from(fresh);
        (closed, surplus)
    }
}

/// How many values the last swaps have found at most.
#[derive(Default)]
struct RecentDepth {
    /// The number of swaps in this window.
    swaps: u32,
    in_this_window: usize,
    in_the_last_window: usize,
}

impl RecentDepth {
    fn count(&mut self, depth: usize) {
        self.in_this_window = self.in_this_window.max(depth);
        self.swaps += 1;
        if self.swaps == WINDOW {
            *self = RecentDepth { in_the_last_window: self.in_this_window, ..RecentDepth::default() };
        }
    }

    /// The recent depth, if a buffer with room for `room` values of `size` bytes is to be freed.
    fn depth_if_far_below(&self, room: usize, size: usize) -> Option<usize> {
        let depth = self.in_this_window.max(self.in_the_last_window);
        let is_large = room.saturating_mul(size) > KEPT;
        (is_large && room / FAR > depth).then_some(depth)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    /// What a popper of `depth` values does. Returns the room of the buffer that is freed.
    fn pass(head: &mut Head<u64>, tail: &mut Tail<u64>, depth: u64) -> usize {
        tail.fresh.extend(0..depth);
        let (_, surplus) = head.swap(move || tail);
        assert_eq!(head.ready.drain(..).count() as u64, depth);
        surplus.capacity()
    }

    #[test]
    fn the_memory_of_a_burst_is_freed_after_some_use() {
        let (mut head, mut tail) = (Head::new(), Tail::new());
        (0..2).for_each(|_| assert_eq!(pass(&mut head, &mut tail, 100_000), 0));
        let freed: Vec<_> = (0..200).map(|_| pass(&mut head, &mut tail, 1)).filter(|room| *room > 0).collect();
        assert!(freed.len() == 2 && freed.iter().all(|room| *room >= 100_000), "{freed:?}");
    }

    #[test]
    fn an_uneven_load_frees_nothing() {
        let (mut head, mut tail) = (Head::new(), Tail::new());
        for round in 0..10_000 {
            // A burst in every window.
            let depth = if round % 60 == 0 { 5_000 + round } else { round % 3 };
            assert_eq!(pass(&mut head, &mut tail, depth), 0, "in round {round}");
        }
    }

    #[test]
    fn small_buffers_and_values_without_size_are_kept() {
        let recent = RecentDepth::default();
        assert_eq!(recent.depth_if_far_below(512, 8), None);
        assert_eq!(recent.depth_if_far_below(513, 8), Some(0));
        assert_eq!(recent.depth_if_far_below(usize::MAX, 0), None);
    }
}
