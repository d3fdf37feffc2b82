//! The times in which the whole process stood still: Ctrl-Z, a debugger, a paused container, a
//! machine without a processor for it. Such a time is no thread's fault, so it is no part of a
//! patience. The system does not tell a process of it. A thread that wakes much later than it planned
//! knows of it.

use std::time::{Duration, Instant};

/// A thread that wakes later than planned by more than this has stood still.
const LATE: Duration = Duration::from_millis(100);
/// The maximum number of standstills. If there are more, the oldest ones are kept as one.
const MOST: usize = 64;

/// The oldest first.
pub(super) struct Standstills(Vec<Standstill>);

struct Standstill {
    end: Instant,
    length: Duration,
}

impl Standstills {
    pub(super) const fn new() -> Standstills {
        Standstills(Vec::new())
    }

    /// A thread that was to wake at `planned` wakes now.
    pub(super) fn woke(&mut self, planned: Instant, now: Instant) {
        let length = now.saturating_duration_since(planned);
        if length <= LATE {
            return;
        }
        self.0.push(Standstill { end: now, length });
        if self.0.len() > MOST {
            let oldest = self.0.remove(0);
            self.0[0].length += oldest.length;
        }
    }

    /// How long the process has stood still since `when`, as far as it is known.
    pub(super) fn since(&self, when: Instant) -> Duration {
        self.0.iter().map(|stood| stood.length.min(stood.end.saturating_duration_since(when))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_late_wake_ups_after_the_time_count() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut stood = Standstills::new();
        stood.woke(at(1000), at(1000) + LATE);
        assert_eq!(stood.since(begin), Duration::ZERO, "a processor was busy");
        stood.woke(at(2000), at(5000));
        stood.woke(at(6000), at(6500));
        for (when, millis) in [(0, 3500), (2000, 3500), (4000, 1500), (5000, 500), (6400, 100), (7000, 0)] {
            assert_eq!(stood.since(at(when)), Duration::from_millis(millis), "since {when} ms");
        }
    }

    #[test]
    fn very_many_standstills_keep_their_sum() {
        let begin = Instant::now();
        let mut stood = Standstills::new();
        for second in 0..1000 {
            let planned = begin + Duration::from_secs(second);
            stood.woke(planned, planned + 2 * LATE);
        }
        assert_eq!(stood.since(begin), 2000 * LATE);
        assert_eq!(stood.0.len(), MOST);
    }
}
