//! Accounting by the wall clock, with made-up clocks and addresses.

use super::accounts::Accounting;
use super::cpu::ThreadClock;
use super::wall_state::{RETURN, ThreadSnapshot, WallState};
use crate::profile::engines::timer::ring::Record;
use crate::profile::engines::timer::wall_schedule::{Progress, Tick};
use crate::profile::raw::Ending;
use crate::profile::raw::{RawProfile, Stack};
use crate::wait::Shown;
use std::sync::Arc;
use std::time::Duration;

/// Samples, weight, leaf and label of each stack; leaf 0 for none.
fn weights(found: &RawProfile) -> Vec<(u64, u64, u64, Option<&str>)> {
    let mut weights: Vec<_> = found
        .samples
        .iter()
        .map(|sample| match &sample.stack {
            Stack::Sampled { addresses, waiting, .. } => {
                (sample.samples, sample.weight, addresses.first().copied().unwrap_or(0), waiting.as_deref())
            }
            Stack::Others { waiting, .. } => (sample.samples, sample.weight, 0, waiting.as_deref()),
            Stack::Unsampled => (0, sample.weight, 0, None),
        })
        .collect();
    weights.sort_unstable();
    weights
}

const MS: u64 = 1_000_000;

/// A tick of a wall clock at 100 Hz.
fn tick(number: u64) -> Tick {
    Tick { number, now: number * 10 * MS, before: (number - 1) * 10 * MS }
}

/// A made-up thread, with its account and its waits.
struct Thread {
    accounting: Accounting,
    thread_clock: ThreadClock,
    wall_state: WallState,
    /// The number of changes of its waits so far.
    changes: u64,
    waiting: Option<Arc<str>>,
    waited: Vec<(Arc<str>, u64)>,
    run_delay: u64,
}

impl Thread {
    fn new() -> Thread {
        let mut accounting = Accounting::default();
        let account = accounting.open("main/a".into(), None, 0);
        let (thread_clock, wall_state) = (ThreadClock::new(account, 0), WallState::new(0, Tick::default()));
        Thread { accounting, thread_clock, wall_state, changes: 1, waiting: None, waited: Vec::new(), run_delay: 0 }
    }

    fn shown(&self) -> Shown {
        Shown::from_word(self.changes)
    }

    /// Its wait changes; `None`: it does not wait.
    fn waits(&mut self, label: Option<&str>) {
        self.changes += 1;
        self.waiting = label.map(Arc::from);
    }

    fn has_waited(&mut self, label: &str, nanos: u64) {
        self.waited.push((label.into(), nanos));
    }

    fn snapshot(&mut self, now: u64, clock: u64) -> ThreadSnapshot {
        let waited = std::mem::take(&mut self.waited);
        ThreadSnapshot { now, clock, shown: self.shown(), waiting: self.waiting.clone(), waited }
    }

    fn tick(&mut self, tick: Tick, clock: u64) -> Progress {
        let snapshot = self.snapshot(tick.now, clock);
        let skipped = self.wall_state.skipped(tick, true);
        self.accounting.account_snapshot(&self.thread_clock, &mut self.wall_state, skipped, &snapshot);
        self.accounting.tick(&self.thread_clock, &mut self.wall_state, tick, &snapshot)
    }

    /// A tick as the sampler makes it: the sample that was requested at the tick before is read
    /// after the clocks.
    fn tick_with_sample(&mut self, tick: Tick, clock: u64, answer: (u64, u64)) -> Progress {
        let snapshot = self.snapshot(tick.now, clock);
        let skipped = self.wall_state.skipped(tick, true);
        self.accounting.account_snapshot(&self.thread_clock, &mut self.wall_state, skipped, &snapshot);
        self.sampled(answer.0, answer.1);
        self.accounting.tick(&self.thread_clock, &mut self.wall_state, tick, &snapshot)
    }

    fn sampled(&mut self, clock: u64, leaf: u64) {
        let record = Record { clock, at: 0, ending: Ending::Root, shown: self.shown(), context: 0, addresses: &[leaf] };
        self.accounting.account_sample(&self.thread_clock, &mut self.wall_state, record, self.waiting.clone());
    }

    fn close(&mut self, now: u64, last: Tick, clock: u64) {
        let snapshot = self.snapshot(now, clock);
        let skipped = self.wall_state.skipped(last, false);
        self.accounting.account_snapshot(&self.thread_clock, &mut self.wall_state, skipped, &snapshot);
        self.accounting.close_by_wall(&mut self.thread_clock, &mut self.wall_state, (now, last), &snapshot, &|| {
            Some(self.run_delay)
        });
    }

    /// A sample was requested at the first tick. It came at leaf 1, with the CPU clock at 100.
    fn sampled_at_first_tick() -> Thread {
        let mut thread = Thread::new();
        assert_eq!(thread.tick(tick(1), 0), Progress::Moved, "the sampler does not know where it is");
        thread.sampled(100, 1);
        thread
    }

    /// The same, and a second sample has confirmed that it is blocked there.
    fn blocked_at_first_tick() -> Thread {
        let mut thread = Thread::sampled_at_first_tick();
        thread.wall_state.last_sample.as_mut().unwrap().is_confirmed = true;
        thread
    }
}

#[test]
fn a_wait_has_its_label_from_beginning_to_end() {
    let mut thread = Thread::sampled_at_first_tick();
    thread.waits(Some("queue"));
    thread.has_waited("queue", 2 * MS);
    assert_eq!(thread.tick(tick(2), 300 + RETURN), Progress::Moved);
    thread.sampled(400 + RETURN, 2);
    thread.has_waited("queue", 10 * MS);
    assert_eq!(thread.tick(tick(3), 400 + 2 * RETURN), Progress::Waiting, "it has only returned to its wait");
    // Skipped until the wait ends. Then it uses hardly any CPU time, and sleeps outside this crate.
    thread.has_waited("queue", 403 * MS);
    thread.waits(None);
    assert_eq!(
        thread.tick(tick(44), 400 + 2 * RETURN),
        Progress::Moved,
        "its wait has changed, although its clock has not"
    );
    thread.sampled(500 + 2 * RETURN, 3);
    assert_eq!(thread.tick(tick(45), 500 + 2 * RETURN), Progress::Moved, "it may be on its way elsewhere");
    thread.sampled(500 + 2 * RETURN, 3);
    assert_eq!(thread.tick(tick(46), 500 + 2 * RETURN), Progress::BlockedOutside);
    thread.close(750 * MS, tick(74), 500 + 2 * RETURN);
    // 8 ms of the second tick were outside of the wait. It was sampled outside only after the wait.
    let expected = [(1, 10 * MS, 1, None), (32, 325 * MS, 3, None), (42, 415 * MS, 2, Some("queue"))];
    assert_eq!(weights(&thread.accounting.into_raw_profile()), expected);
}

#[test]
fn waits_of_a_never_sampled_thread_keep_labels() {
    let mut thread = Thread::new();
    thread.has_waited("queue", 5 * MS);
    thread.has_waited("lock", 2 * MS);
    thread.close(8 * MS, Tick::default(), 900 * RETURN);
    let expected = [(0, MS, 0, None), (0, 2 * MS, 0, Some("lock")), (0, 5 * MS, 0, Some("queue"))];
    assert_eq!(weights(&thread.accounting.into_raw_profile()), expected);
}

#[test]
fn time_without_a_processor_is_runnable() {
    const LABEL: &str = "[runnable]";
    // It had no processor for 498 ms, computed for 1 ms, was blocked for 1 ms, and has waited since.
    let run = |sampled: Option<u64>, clock_before: u64| {
        let mut thread = Thread::new();
        if clock_before > 0 {
            thread.thread_clock = ThreadClock::new(thread.thread_clock.owner(), clock_before);
        }
        thread.waits(Some("queue"));
        thread.has_waited("queue", 500 * MS);
        assert_eq!(thread.tick(tick(100), clock_before + MS), Progress::Moved);
        if let Some(leaf) = sampled {
            thread.sampled(clock_before + MS, leaf);
        }
        thread.has_waited("queue", 2_000 * MS);
        thread.run_delay = 498 * MS;
        thread.close(3_000 * MS, tick(299), clock_before + MS);
        thread.accounting.into_raw_profile()
    };
    let found = |raw: &RawProfile| -> Vec<_> {
        weights(raw).iter().map(|&(_, weight, leaf, label)| (weight, leaf, label.map(str::to_owned))).collect()
    };
    let label = |label: &str| Some(label.to_owned());
    let expected = [(2 * MS, 0, None), (498 * MS, 0, label(LABEL)), (2_500 * MS, 0, label("queue"))];
    assert_eq!(found(&run(None, 0)), expected, "no reply came");
    let expected = [(2 * MS, 0, None), (498 * MS, 0, label(LABEL)), (2_500 * MS, 2, label("queue"))];
    assert_eq!(found(&run(Some(2), 0)), expected, "the reply came in the wait");
    let expected = [(500 * MS, 0, None), (2_500 * MS, 0, label("queue"))];
    assert_eq!(found(&run(None, 7 * MS)), expected, "how long an older thread had none before is not known");
}

#[test]
fn time_without_a_processor_is_counted_once() {
    // The request of the first tick reaches it when it has had no processor for 500 ms. The sample
    // gets the 10 ms up to the request. Then it waits.
    let mut thread = Thread::new();
    assert_eq!(thread.tick(tick(1), 0), Progress::Moved);
    thread.sampled(MS / 2, 1);
    thread.has_waited("queue", 2_499 * MS);
    thread.run_delay = 500 * MS;
    thread.close(3_000 * MS, tick(299), MS);
    let found = thread.accounting.into_raw_profile();
    let expected = [
        (0, MS, 0, None),
        (0, 490 * MS, 0, Some("[runnable]")),
        (0, 2_499 * MS, 0, Some("queue")),
        (1, 10 * MS, 1, None),
    ];
    assert_eq!(weights(&found), expected);
}

#[test]
fn brief_waits_are_summed_at_their_sampled_stacks() {
    let mut thread = Thread::sampled_at_first_tick();
    for number in 2..=11 {
        thread.waits(Some("queue"));
        thread.has_waited("queue", 6 * MS);
        thread.has_waited("lock", 2 * MS);
        assert_eq!(thread.tick(tick(number), number * 50 * RETURN), Progress::Moved);
        if number % 2 == 0 {
            thread.waits(None);
        }
        thread.sampled(number * 50 * RETURN, if number % 2 == 0 { 1 } else { 2 });
    }
    thread.close(110 * MS, tick(11), 900 * RETURN);
    // It was never sampled in the lock. The time outside of all waits after the last sample there
    // is not known.
    let expected =
        [(0, 2 * MS, 0, None), (0, 20 * MS, 0, Some("lock")), (5, 60 * MS, 2, Some("queue")), (6, 28 * MS, 1, None)];
    assert_eq!(weights(&thread.accounting.into_raw_profile()), expected);
}

#[test]
fn a_late_reply_gets_the_time_until_it_comes() {
    let mut thread = Thread::sampled_at_first_tick();
    assert_eq!(thread.tick(tick(2), 5 * MS), Progress::Moved);
    assert_eq!(thread.tick(tick(3), 5 * MS), Progress::Moved, "no sample came");
    thread.sampled(9 * MS, 2);
    thread.close(31 * MS, tick(3), 9 * MS + RETURN + 1);
    let expected = [(0, MS, 0, None), (1, 10 * MS, 1, None), (1, 20 * MS, 2, None)];
    let found = thread.accounting.into_raw_profile();
    assert_eq!(weights(&found), expected);
    assert_eq!(found.lifetimes[0].cpu, Duration::from_nanos(9 * MS + RETURN + 1));
}

#[test]
fn a_wait_is_not_counted_beyond_its_closed_account() {
    let mut thread = Thread::sampled_at_first_tick();
    // The thread's own clock was read a bit later than the time at which the account ends.
    thread.has_waited("queue", 7 * MS);
    thread.close(15 * MS, tick(1), 900 * RETURN);
    let expected = [(0, 5 * MS, 0, Some("queue")), (1, 10 * MS, 1, None)];
    assert_eq!(weights(&thread.accounting.into_raw_profile()), expected);
}

#[test]
fn an_account_closed_within_a_tick_is_still_visited() {
    let mut thread = Thread::blocked_at_first_tick();
    // The second tick has begun when the thread is registered again, and it has not been visited.
    thread.close(20 * MS + 3, tick(2), 10);
    assert!(!thread.wall_state.was_visited_at(tick(2)), "otherwise no list would have it any more");
    assert_eq!(thread.tick(tick(2), 10), Progress::BlockedOutside);
    assert!(thread.wall_state.was_visited_at(tick(2)));
    thread.close(25 * MS, tick(2), 10);
    assert_eq!(thread.accounting.into_raw_profile().samples.iter().map(|sample| sample.weight).sum::<u64>(), 25 * MS);
}

#[test]
fn cpu_time_of_a_skipped_thread_is_unsampled() {
    let mut thread = Thread::blocked_at_first_tick();
    assert_eq!(thread.tick(tick(2), 100), Progress::BlockedOutside);
    assert_eq!(thread.tick(tick(9), 100), Progress::BlockedOutside);
    // Eleven ticks later it has run for 12 ms, at an unknown stack.
    assert_eq!(thread.tick(tick(20), 12 * MS + 100), Progress::Moved);
    thread.sampled(13 * MS, 2);
    // It is there at the end too: nothing more is unsampled.
    thread.close(205 * MS, tick(20), 13 * MS + RETURN);
    let expected = [(0, 12 * MS, 0, None), (2, 15 * MS, 2, None), (19, 178 * MS, 1, None)];
    assert_eq!(weights(&thread.accounting.into_raw_profile()), expected);
}

#[test]
fn an_unchanged_clock_accounts_time_without_a_visit() {
    let mut thread = Thread::blocked_at_first_tick();
    assert_eq!(thread.tick(tick(2), 200), Progress::BlockedOutside);
    assert_eq!(thread.wall_state.unchanged_clock(200), 200..=200);
    // Its clock was the same at the 18th tick, and it has run for 30 ms by the 20th: 10 ms of them
    // may belong to its old stack.
    thread.accounting.account_skipped_tick(&thread.thread_clock, &mut thread.wall_state, tick(18));
    assert_eq!(thread.tick(tick(20), 30 * MS), Progress::Moved);
    thread.close(205 * MS, tick(20), 30 * MS);
    // 10 while it had moved, 10 that wait for a sample, 5 since.
    assert_eq!(weights(&thread.accounting.into_raw_profile()), [(0, 25 * MS, 0, None), (19, 180 * MS, 1, None)]);
}

#[test]
fn the_sampler_is_sampled_once_and_its_waits_keep_labels() {
    let mut thread = Thread::new();
    thread.wall_state.mark_as_sampler();
    assert_eq!(thread.tick(tick(1), 0), Progress::Moved);
    thread.sampled(10, 1);
    thread.waits(Some("signal"));
    thread.waits(None);
    thread.has_waited("signal", 9 * MS);
    assert_eq!(thread.tick(tick(2), 10 + 5 * RETURN), Progress::Sampler);
    thread.has_waited("signal", 70 * MS);
    thread.close(95 * MS, tick(9), 90 * RETURN);
    let expected = [(0, 79 * MS, 0, Some("signal")), (10, 16 * MS, 1, None)];
    assert_eq!(weights(&thread.accounting.into_raw_profile()), expected);
}

#[test]
fn a_stack_gets_the_time_up_to_its_request() {
    let mut thread = Thread::new();
    assert_eq!(thread.tick(tick(1), MS), Progress::Moved);
    // It goes on at 1, and sleeps outside this crate, at 2, before the next tick.
    assert_eq!(thread.tick_with_sample(tick(2), 6 * MS, (MS + 100, 1)), Progress::Moved);
    assert_eq!(thread.tick_with_sample(tick(3), 6 * MS, (6 * MS, 2)), Progress::Moved);
    assert_eq!(thread.tick_with_sample(tick(4), 6 * MS, (6 * MS, 2)), Progress::BlockedOutside);
    // The last tick before it runs again, at 1, and the next one.
    thread.accounting.account_skipped_tick(&thread.thread_clock, &mut thread.wall_state, tick(5));
    assert_eq!(thread.tick(tick(6), 12 * MS), Progress::Moved);
    assert_eq!(thread.tick_with_sample(tick(7), 20 * MS, (12 * MS + 100, 1)), Progress::Moved);
    thread.close(70 * MS, tick(7), 20 * MS);
    let found = thread.accounting.into_raw_profile();
    // Up to 10 ms and from 50 to 60 ms at 1, from 10 to 50 ms at 2. The last request got no sample.
    let expected = [(0, 10 * MS, 0, None), (2, 20 * MS, 1, None), (4, 40 * MS, 2, None)];
    assert_eq!(weights(&found), expected);
}

/// From its sample at 1 it needs less CPU time to block at 2 than to return from the handler.
#[test]
fn a_thread_on_its_way_elsewhere_is_not_taken_for_blocked() {
    let mut thread = Thread::sampled_at_first_tick();
    let blocked = 100 + RETURN / 2;
    assert_eq!(thread.tick(tick(2), blocked), Progress::Moved);
    thread.sampled(blocked + 50, 2);
    assert_eq!(thread.tick(tick(3), blocked + 100), Progress::Moved, "one sample at 2");
    thread.sampled(blocked + 150, 2);
    assert_eq!(thread.tick(tick(4), blocked + 200), Progress::BlockedOutside);
    assert_eq!(thread.tick(tick(5), blocked + 200), Progress::BlockedOutside);
    // It wakes, and blocks at 3.
    assert_eq!(thread.tick(tick(6), blocked + 300), Progress::Moved);
    thread.sampled(blocked + 350, 3);
    thread.close(70 * MS, tick(6), blocked + 400);
    let expected = [(1, 10 * MS, 1, None), (2, 20 * MS, 3, None), (4, 40 * MS, 2, None)];
    assert_eq!(weights(&thread.accounting.into_raw_profile()), expected);
}

#[test]
fn a_fold_leaves_each_wait_its_label_and_each_thread_its_stack() {
    let run = |is_folded: bool| {
        let mut thread = Thread::sampled_at_first_tick();
        thread.waits(Some("queue"));
        thread.has_waited("queue", 4 * MS);
        thread.tick(tick(2), 300 + RETURN);
        thread.sampled(400 + RETURN, 2);
        thread.has_waited("queue", 5 * MS);
        thread.waits(Some("lock"));
        thread.tick(tick(3), 600 + 2 * RETURN);
        thread.sampled(700 + 2 * RETURN, 3);
        if is_folded {
            // Of the wait for the queue, the state has no stack any more.
            thread.wall_state.waits.retain(|wait| &*wait.label != "queue");
            thread.accounting.room.limits.stacks = 1;
            let in_use = thread.wall_state.stacks().collect();
            thread.accounting.fold_stacks(&in_use);
        }
        thread.has_waited("lock", 8 * MS);
        thread.close(40 * MS, tick(4), 700 + 2 * RETURN);
        thread.accounting.into_raw_profile()
    };
    let (whole, folded) = (run(false), run(true));
    let by_label = |found: &RawProfile| {
        let mut sums = std::collections::BTreeMap::new();
        for (samples, weight, _, label) in weights(found) {
            let sum: &mut (u64, u64) = sums.entry(label.map(str::to_owned)).or_default();
            *sum = (sum.0 + samples, sum.1 + weight);
        }
        sums
    };
    assert_eq!(by_label(&folded), by_label(&whole));
    let leaves = |found| -> Vec<(u64, Option<String>)> {
        let mut leaves: Vec<_> = weights(found).iter().map(|row| (row.2, row.3.map(str::to_owned))).collect();
        leaves.sort();
        leaves.dedup();
        leaves
    };
    let own = |label: &str| Some(label.to_owned());
    // 0: of the time without a sample.
    assert_eq!(leaves(&whole), [(0, None), (1, None), (2, own("queue")), (3, own("lock"))]);
    assert_eq!(leaves(&folded), [(0, None), (0, own("queue")), (3, own("lock"))]);
}
