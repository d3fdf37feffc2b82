//! How long a thread sleeps in its blocking calls: what one slot counts while a recording asks for
//! it. Knows neither the slot nor its waits.
//!
//! A sleep begins when the thread is about to block, and ends when the thread that ends the wait
//! stamps it. From there until the thread runs it is runnable, which the kernel counts. A thread
//! that is woken in vain sleeps again in the same wait. Then both sleeps belong to the thread that
//! ends the wait at last. Spinning is no sleep: a thread that spins uses its CPU clock.
//!
//! The kernel ends a sleep later than at its deadline, by up to the thread's timer slack (50 µs). Its
//! timer expires at the end of the slack, unless another interrupt comes within it. Until then the
//! thread sleeps, and is not runnable.

use super::ender::{Ender, nanos};
use super::stack_sums::TakenStack;
use crate::os::task;
use crate::record::SleepEvent;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The sleep of a thread that is not counted yet. Only its thread writes it, but for the begin
/// of a recording. Relaxed: the reader of another thread holds the slot's lock, and may find a
/// sleep that has just begun or ended.
///
/// | `since` | `until` | means |
/// |---------|---------|-------|
/// | 0       | any     | no sleep |
/// | time    | 0       | the thread sleeps since then |
/// | time    | time    | the sleep is over, and will be counted when the wait ends or the thread sleeps again |
///
/// `by` and `runs_again` belong to a sleep that is over.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    /// A stamp of before this time is an old one: the wait was not published yet, or the thread has run
    /// since. `since` cannot tell. The thread that ends the wait may stamp it after the sleeper's last
    /// look, and before the sleeper has read the clock.
    stamps_from: AtomicU64,
    since: AtomicU64,
    until: AtomicU64,
    by: AtomicU64,
    runs_again: AtomicU64,
}

/// What is counted of one wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slept {
    pub(super) nanos: u64,
    /// The thread that ended the last sleep.
    pub(super) by: u64,
    /// There was a sleep.
    pub(super) is_any: bool,
    /// `None`: it gets no stack.
    pub(super) taken: Option<TakenStack>,
}

impl Sleep {
    /// The thread has published a wait, which nothing has ended before `now`.
    pub(super) fn expect_from(&self, now: u64) {
        self.stamps_from.store(now, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, now: u64) {
        self.until.store(0, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    pub(super) fn is_any(&self) -> bool {
        self.since.load(Ordering::Relaxed) != 0
    }

    pub(super) fn end(&self, ender: Ender) {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return;
        }
        let now = nanos(Instant::now());
        let (by, until) = match ender.at {
            0 => (ender.by, now),
            at if at < self.stamps_from.load(Ordering::Relaxed) => (Ender::UNKNOWN.by, now),
            // The thread did not have to sleep.
            at if at < since => (ender.by, now),
            at if ender.is_clock() => (ender.by, now.min(at.saturating_add(task::timer_slack())).max(at)),
            at => (ender.by, at),
        };
        self.by.store(by, Ordering::Relaxed);
        self.runs_again.store(now.max(until), Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
    }

    /// The thread has woken. What ended its sleep is not known, unless it has ended already.
    pub(super) fn end_if_open(&self) {
        if self.until.load(Ordering::Relaxed) == 0 {
            self.end(Ender::UNKNOWN);
        }
    }

    /// The sleep up to now, if there is one. It is counted then.
    pub(super) fn take(&self) -> Option<SleepEvent> {
        let slept = self.read();
        if let Some(slept) = &slept {
            self.expect_from(slept.runs_again);
        }
        self.since.store(0, Ordering::Relaxed);
        slept
    }

    /// The same, and the sleep goes on.
    pub(super) fn read(&self) -> Option<SleepEvent> {
        let (begin, until) = (self.since.load(Ordering::Relaxed), self.until.load(Ordering::Relaxed));
        match (begin, until) {
            (0, _) => None,
            (_, 0) => {
                let now = nanos(Instant::now()).max(begin);
                Some(SleepEvent { begin, ended: now, runs_again: now, by: Ender::UNKNOWN.by, ..SleepEvent::default() })
            }
            (_, ended) => {
                let (by, runs_again) = (self.by.load(Ordering::Relaxed), self.runs_again.load(Ordering::Relaxed));
                Some(SleepEvent { begin, ended: ended.max(begin), runs_again, by, ..SleepEvent::default() })
            }
        }
    }
}

impl Slept {
    pub(super) fn add(&mut self, sleep: &SleepEvent, taken: Option<TakenStack>) {
        let nanos = self.nanos + (sleep.ended - sleep.begin);
        *self = Slept { nanos, by: sleep.by, is_any: true, taken: self.taken };
        self.add_stack(taken);
    }

    /// The stack of its last sleep.
    pub(super) fn add_stack(&mut self, taken: Option<TakenStack>) {
        match (&mut self.taken, taken) {
            (Some(before), Some(later)) => before.add(later),
            (None, later) => self.taken = later,
            (Some(_), None) => {}
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stamp_of_between_the_last_look_and_the_sleep_is_no_old_one() {
        let sleep = Sleep::default();
        let by_after = |at| {
            sleep.end(Ender { by: 7, at });
            sleep.take().unwrap().by
        };
        sleep.expect_from(nanos(Instant::now()));
        let stamped = nanos(Instant::now());
        sleep.begin(nanos(Instant::now()));
        assert_eq!(by_after(stamped), 7);
        // The end may be told twice.
        sleep.begin(nanos(Instant::now()));
        let later = nanos(Instant::now());
        sleep.end(Ender { by: 7, at: later });
        assert_eq!(by_after(later), 7);
        // It has woken the thread once. What ends the next sleep in the same wait is not known.
        sleep.begin(nanos(Instant::now()));
        assert_eq!(by_after(later), Ender::UNKNOWN.by);
        sleep.expect_from(nanos(Instant::now()) + 1);
        sleep.begin(nanos(Instant::now()));
        assert_eq!(by_after(stamped), Ender::UNKNOWN.by);
    }

    #[test]
    fn a_sleep_that_goes_on_has_nothing_of_the_sleep_before() {
        let sleep = Sleep::default();
        sleep.begin(nanos(Instant::now()));
        sleep.end(Ender { by: 7, at: 0 });
        assert_eq!(sleep.take().unwrap().by, 7);
        sleep.begin(nanos(Instant::now()));
        let later = nanos(Instant::now());
        let slept = sleep.read().unwrap();
        assert!(slept.by == Ender::UNKNOWN.by && slept.ended >= later, "{slept:?}");
        sleep.end_if_open();
        assert!(sleep.take().unwrap().ended >= slept.ended, "it ends now");
    }

    #[test]
    fn a_sleep_to_a_deadline_ends_with_the_timer_slack() {
        let slack = task::timer_slack();
        let begin = nanos(Instant::now());
        let deadline = Instant::now();
        let ended = |at| {
            let sleep = Sleep::default();
            sleep.begin(begin);
            sleep.end(Ender::clock(Some(at)));
            let slept = sleep.read().unwrap();
            assert!(slept.runs_again >= slept.ended);
            slept.ended
        };
        // The thread runs before the slack is over, and long after that.
        let early = ended(deadline);
        assert!(nanos(deadline) <= early && early <= nanos(Instant::now()), "{early}");
        while deadline.elapsed() < Duration::from_nanos(slack) + Duration::from_millis(1) {}
        assert_eq!(ended(deadline), nanos(deadline) + slack);
        // A thread that something else has woken just before its deadline.
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(ended(later), nanos(later));
    }
}
