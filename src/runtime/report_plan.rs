//! When something that does not end is reported: when its patience is over, and again when twice
//! the time has passed that had passed at the report before, but at least once an hour.

use crate::thread::stop_clock;
use std::time::{Duration, Instant};

/// The longest time between two reports of one thread.
pub(super) const RARELY: Duration = Duration::from_secs(3600);

/// When something is reported.
pub(super) struct Plan {
    /// When its clock started.
    pub(super) since: Instant,
    /// After this much of it comes the next report.
    after: Duration,
    /// How long the process has stood still meanwhile, which does not count.
    stood_still: Duration,
}

impl Plan {
    pub(super) fn new(since: Instant, patience: Duration) -> Plan {
        Plan { since, after: patience, stood_still: Duration::ZERO }
    }

    /// The plan with the time that the process has stood still up to now.
    pub(super) fn at_look(self) -> Plan {
        Plan { stood_still: stop_clock::stood_still_since(self.since), ..self }
    }

    /// `None`: beyond what the clock can express.
    pub(super) fn next(&self) -> Option<Instant> {
        self.since.checked_add(self.after)?.checked_add(self.stood_still)
    }

    /// The report is made now.
    pub(super) fn advance(&mut self) {
        let elapsed = self.since.elapsed().saturating_sub(self.stood_still).max(Duration::from_millis(1));
        // Not twice what was planned: a report that is late would be followed by the next one at once.
        self.after = elapsed.saturating_mul(2).min(elapsed.saturating_add(RARELY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_report_delays_the_next_one() {
        let Some(since) = Instant::now().checked_sub(Duration::from_millis(1900)) else { return };
        let mut plan = Plan::new(since, Duration::from_secs(1));
        plan.advance();
        assert!(plan.next() >= since.checked_add(Duration::from_millis(3800)), "{:?}", plan.after);
        let Some(since) = Instant::now().checked_sub(3 * RARELY) else { return };
        let mut plan = Plan::new(since, RARELY);
        plan.advance();
        assert!(plan.next() <= Instant::now().checked_add(RARELY), "{:?}", plan.after);
    }
}
