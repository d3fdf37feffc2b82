//! The intervals that are not sent yet, as bodies of requests, in bounded memory.

use std::collections::VecDeque;

/// A quarter of an hour by the default interval.
const MOST: usize = 60;
const MOST_BYTES: usize = 16 << 20;

/// The oldest first.
#[derive(Default)]
pub(super) struct Backlog {
    bodies: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How often the server has failed at the oldest one.
    failures: u32,
}

impl Backlog {
    /// Adds the body of an interval. Returns how many intervals have given way, among them the new
    /// one if it alone is too large.
    pub(super) fn add(&mut self, body: Vec<u8>) -> u64 {
        self.add_within(body, MOST, MOST_BYTES)
    }

    fn add_within(&mut self, body: Vec<u8>, most: usize, most_bytes: usize) -> u64 {
        if body.len() > most_bytes {
            return 1;
        }
        let mut gone = 0;
        while self.bodies.len() >= most || self.bytes + body.len() > most_bytes {
            self.remove();
            gone += 1;
        }
        self.bytes += body.len();
        self.bodies.push_back(body);
        gone
    }

    pub(super) fn oldest(&self) -> Option<&[u8]> {
        self.bodies.front().map(Vec::as_slice)
    }

    /// The server has failed at the oldest. Returns how often it has.
    pub(super) fn fail(&mut self) -> u32 {
        self.failures += 1;
        self.failures
    }

    /// The oldest is done with.
    pub(super) fn remove(&mut self) {
        self.failures = 0;
        if let Some(body) = self.bodies.pop_front() {
            self.bytes -= body.len();
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.bodies.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_are_counted() {
        let mut backlog = Backlog::default();
        let mut add = |length: usize, most, bytes| {
            let gone = backlog.add_within(vec![length as u8; length], most, bytes);
            (gone, backlog.len(), backlog.bytes, backlog.oldest().map(<[u8]>::len))
        };
        assert_eq!(add(4, 3, 100), (0, 1, 4, Some(4)));
        assert_eq!(add(5, 3, 100), (0, 2, 9, Some(4)));
        assert_eq!(add(6, 3, 100), (0, 3, 15, Some(4)));
        assert_eq!(add(7, 3, 100), (1, 3, 18, Some(5)));
        assert_eq!(add(12, 10, 20), (2, 2, 19, Some(7)));
        assert_eq!(add(21, 10, 20), (1, 2, 19, Some(7)), "too large for itself");
        assert_eq!(add(20, 10, 20), (2, 1, 20, Some(20)));
        assert_eq!(backlog.len(), 1);
        backlog.remove();
        assert_eq!((backlog.len(), backlog.oldest()), (0, None));
    }

    #[test]
    fn failures_are_those_of_the_oldest() {
        let mut backlog = Backlog::default();
        assert_eq!([0; 3].map(|byte| backlog.add(vec![byte])), [0; 3]);
        assert_eq!([backlog.fail(), backlog.fail()], [1, 2]);
        backlog.remove();
        assert_eq!(backlog.fail(), 1);
        // The oldest gives way.
        assert_eq!(backlog.add_within(vec![0], 2, 100), 1);
        assert_eq!(backlog.fail(), 1);
    }
}
