//! How long threads have waited for a thing since it was last let go, for a recording that counts
//! waits. The thread that lets go is charged with the time of all of them: one second held with five
//! threads waiting is five seconds. Pure arithmetic; the caller has a lock.

use crate::wait;

/// The sum over the threads that wait.
#[derive(Debug, Default)]
pub(super) struct Owed {
    waiting: u64,
    /// The sum of the times since which they are owed: since they began to wait, or since
    /// [`charged_at`](Self::charged_at), if that is later.
    since: u128,
    charged_at: u64,
}

/// When a thread began to wait; 0 if it is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered(u64);

impl Owed {
    /// A thread begins to wait. While no recording counts, this does nothing.
    #[inline]
    pub(super) fn enter(&mut self) -> Entered {
        self.enter_at(wait::counted_now())
    }

    /// A thread waits no more.
    #[inline]
    pub(super) fn leave(&mut self, entered: Entered) {
        if entered.0 != 0 {
            self.waiting -= 1;
            self.since -= u128::from(entered.0.max(self.charged_at));
        }
    }

    /// The thing is let go. Returns the nanoseconds that threads have waited since the last time.
    #[inline]
    pub(super) fn charge(&mut self) -> u64 {
        if self.waiting == 0 { 0 } else { self.charge_at(wait::counted_now(), wait::counted_since()) }
    }

    fn enter_at(&mut self, now: u64) -> Entered {
        if now != 0 {
            let now = now.max(self.charged_at);
            self.waiting += 1;
            self.since += u128::from(now);
            return Entered(now);
        }
        Entered(0)
    }

    /// `began`: when the recording began. What was before belongs to another one.
    fn charge_at(&mut self, now: u64, began: u64) -> u64 {
        if now <= self.charged_at {
            return 0;
        }
        let up_to = u128::from(self.waiting) * u128::from(now);
        let most = u128::from(self.waiting) * u128::from(now.saturating_sub(began));
        let owed = up_to.saturating_sub(self.since).min(most);
        (self.charged_at, self.since) = (now, up_to);
        u64::try_from(owed).unwrap_or(u64::MAX)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    /// As Go's test of mutex profiles: the waiting time of all is charged, and no time twice.
    #[test]
    fn one_second_with_five_waiting_is_five_seconds() {
        let mut owed = Owed::default();
        let all: Vec<Entered> = (0..5).map(|_| owed.enter_at(1_000)).collect();
        assert_eq!(owed.charge_at(2_000, 0), 5_000);
        owed.leave(all[0]);
        // The first one has it for 10 now, with four waiting.
        assert_eq!(owed.charge_at(2_010, 0), 40);
        owed.leave(all[1]);
        let late = owed.enter_at(2_015);
        assert_eq!(owed.charge_at(2_020, 0), 3 * 10 + 5);
        all[2..].iter().chain([&late]).for_each(|entered| owed.leave(*entered));
        assert_eq!((owed.waiting, owed.since, owed.charge_at(9_000, 0)), (0, 0, 0));
    }

    #[test]
    fn time_before_the_recording_is_not_charged() {
        let mut owed = Owed::default();
        let (early, uncounted) = (owed.enter_at(100), owed.enter_at(0));
        assert_eq!(owed.charge_at(10_000, 9_000), 1_000);
        owed.leave(early);
        owed.leave(uncounted);
        assert_eq!((owed.waiting, owed.since), (0, 0));
    }

    #[test]
    fn clocks_of_two_processors_that_differ_do_no_harm() {
        let mut owed = Owed::default();
        let first = owed.enter_at(100);
        assert_eq!(owed.charge_at(200, 0), 100);
        let second = owed.enter_at(150);
        assert_eq!((owed.charge_at(180, 0), owed.charge_at(210, 0)), (0, 20));
        owed.leave(second);
        owed.leave(first);
        assert_eq!((owed.waiting, owed.since), (0, 0));
    }
}
