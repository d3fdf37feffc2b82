//! Which context a thread had at which time, while a recording reads its samples later than they
//! are taken. The thread notes each change; the reader forgets what it needs no more. No locks
//! here.

use std::collections::VecDeque;

/// The changes that are kept. The oldest are forgotten first, and samples of that time have a
/// context that is not known.
const MOST: usize = 4096;

/// In the place of a number that was forgotten: no context ever has it.
pub(super) const FORGOTTEN: u64 = u64::MAX;

/// The numbers of a thread's contexts, each with the time from which on it had it, in nanoseconds
/// of the monotonic clock. In order, and never empty.
pub(super) struct ContextHistory {
    changes: VecDeque<(u64, u64)>,
    /// The first one is preceded by changes that were forgotten for want of room.
    are_missing: bool,
}

impl ContextHistory {
    /// The thread has the context `number` up to the first change.
    pub(super) fn new(number: u64) -> ContextHistory {
        ContextHistory { changes: VecDeque::from([(0, number)]), are_missing: false }
    }

    /// From the time `at` on, the thread has the context `number`.
    pub(super) fn push(&mut self, at: u64, number: u64) {
        if self.changes.len() == MOST {
            self.changes.pop_front();
            self.are_missing = true;
        }
        self.changes.push_back((at, number));
    }

    /// The number of the context at that time. Earlier times are not asked for any more.
    pub(super) fn number_at(&mut self, at: u64) -> u64 {
        while self.changes.get(1).is_some_and(|&(next, _)| next <= at) {
            self.changes.pop_front();
            self.are_missing = false;
        }
        match self.changes.front() {
            Some(&(from, number)) if from <= at || !self.are_missing => number,
            _ => FORGOTTEN,
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_context_of_the_last_change() {
        let mut history = ContextHistory::new(7);
        assert_eq!(history.number_at(50), 7);
        for (at, number) in [(100, 1), (200, 0), (200, 2), (300, 3)] {
            history.push(at, number);
        }
        assert_eq!([99, 100, 199, 200, 250, 300, 900].map(|at| history.number_at(at)), [7, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn forgotten_changes_have_no_number() {
        let mut history = ContextHistory::new(7);
        (1..=MOST as u64).for_each(|n| history.push(n * 10, n));
        assert_eq!(history.changes.len(), MOST);
        assert_eq!([5, 9, 10, 19, 25].map(|at| history.number_at(at)), [FORGOTTEN, FORGOTTEN, 1, 1, 2]);
        history.push(u64::MAX, 5);
        assert_eq!(history.number_at(MOST as u64 * 10), MOST as u64);
    }
}
