//! Accounting by the wall clock, with clocks and addresses that are made up.

use super::*;
use crate::profile::engines::{Found, Stack};
use std::time::Duration;

/// Samples, weight, leaf and label of each stack; leaf 0 for none.
fn weights(found: &Found) -> Vec<(u64, u64, u64, Option<&str>)> {
    let mut weights: Vec<_> = found
        .samples
        .iter()
        .map(|sample| match &sample.stack {
            Stack::Of { addresses, waiting, .. } => {
                (sample.samples, sample.weight, addresses.first().copied().unwrap_or(0), waiting.as_deref())
            }
            Stack::Unsampled => (0, sample.weight, 0, None),
        })
        .collect();
    weights.sort_unstable();
    weights
}

const MS: u64 = 1_000_000;

/// Of a wall clock at 100 Hz.
fn tick(number: u64) -> Tick {
    Tick { number, now: number * 10 * MS, before: (number - 1) * 10 * MS }
}

/// A thread in its account, and what it waits for.
struct Thread {
    books: Books,
    meter: Meter,
    watch: Watch,
    /// Changes of its waits so far.
    changes: u64,
    waiting: Option<Arc<str>>,
    waited: Vec<(Arc<str>, u64)>,
}

impl Thread {
    fn new() -> Thread {
        let mut books = Books::default();
        let account = books.open("main/a".into(), None, 0);
        let (meter, watch) = (Meter::new(account, 0), Watch::new(0, Tick::default()));
        Thread { books, meter, watch, changes: 1, waiting: None, waited: Vec::new() }
    }

    fn shown(&self) -> Shown {
        Shown::from_word(self.changes)
    }

    /// It waits for something else, or, with `None`, for nothing.
    fn waits(&mut self, label: Option<&str>) {
        self.changes += 1;
        self.waiting = label.map(Arc::from);
    }

    fn has_waited(&mut self, label: &str, nanos: u64) {
        self.waited.push((label.into(), nanos));
    }

    fn seen(&mut self, now: u64, clock: u64) -> Seen {
        let waited = std::mem::take(&mut self.waited);
        Seen { now, clock, shown: self.shown(), waiting: self.waiting.clone(), waited }
    }

    fn tick(&mut self, tick: Tick, clock: u64) -> Still {
        let seen = self.seen(tick.now, clock);
        let skipped = self.watch.skipped(tick, true);
        self.books.looked_at(&self.meter, &mut self.watch, skipped, &seen);
        self.books.tick(&self.meter, &mut self.watch, tick, &seen)
    }

    /// A tick as the sampler makes it: the answer to the question of the tick before is read after
    /// the clocks were.
    fn tick_with_answer(&mut self, tick: Tick, clock: u64, answer: (u64, u64)) -> Still {
        let seen = self.seen(tick.now, clock);
        let skipped = self.watch.skipped(tick, true);
        self.books.looked_at(&self.meter, &mut self.watch, skipped, &seen);
        self.answers(answer.0, answer.1);
        self.books.tick(&self.meter, &mut self.watch, tick, &seen)
    }

    fn answers(&mut self, clock: u64, leaf: u64) {
        let record = Record { clock, ending: Ending::Root, shown: self.shown(), addresses: &[leaf] };
        self.books.met(&self.meter, &mut self.watch, record, self.waiting.clone());
    }

    fn settle(&mut self, now: u64, last: Tick, clock: u64) {
        let seen = self.seen(now, clock);
        let skipped = self.watch.skipped(last, false);
        self.books.looked_at(&self.meter, &mut self.watch, skipped, &seen);
        self.books.settle_wall(&mut self.meter, &mut self.watch, (now, last), &seen);
    }

    /// Asked at the first tick, and met at 1 with its CPU clock at 100.
    fn met_at_first_tick() -> Thread {
        let mut thread = Thread::new();
        assert_eq!(thread.tick(tick(1), 0), Still::No, "the sampler does not know where it is");
        thread.answers(100, 1);
        thread
    }
}

#[test]
fn a_wait_has_its_label_from_beginning_to_end() {
    let mut thread = Thread::met_at_first_tick();
    thread.waits(Some("queue"));
    thread.has_waited("queue", 2 * MS);
    assert_eq!(thread.tick(tick(2), 300 + RETURN), Still::No);
    thread.answers(400 + RETURN, 2);
    thread.has_waited("queue", 10 * MS);
    assert_eq!(thread.tick(tick(3), 400 + 2 * RETURN), Still::Waits, "it has gone back, no more");
    // Skipped until the wait ends, after which it has used hardly any CPU time and sleeps
    // elsewhere.
    thread.has_waited("queue", 403 * MS);
    thread.waits(None);
    assert_eq!(thread.tick(tick(44), 400 + 2 * RETURN), Still::No, "it is not where it was, whatever its clock says");
    thread.answers(500 + 2 * RETURN, 3);
    assert_eq!(thread.tick(tick(45), 500 + 2 * RETURN), Still::Elsewhere);
    thread.settle(750 * MS, tick(74), 500 + 2 * RETURN);
    // 8 ms of the second tick were outside of the wait. It was met outside of it only after it.
    let expected = [(1, 10 * MS, 1, None), (32, 325 * MS, 3, None), (42, 415 * MS, 2, Some("queue"))];
    assert_eq!(weights(&thread.books.found()), expected);
}

#[test]
fn waits_of_a_thread_that_was_never_met_have_their_labels() {
    let mut thread = Thread::new();
    thread.has_waited("queue", 5 * MS);
    thread.has_waited("lock", 2 * MS);
    thread.settle(8 * MS, Tick::default(), 900 * RETURN);
    let expected = [(0, MS, 0, None), (0, 2 * MS, 0, Some("lock")), (0, 5 * MS, 0, Some("queue"))];
    assert_eq!(weights(&thread.books.found()), expected);
}

#[test]
fn brief_waits_are_summed_up_at_the_stacks_they_were_met_at() {
    let mut thread = Thread::met_at_first_tick();
    for number in 2..=11 {
        thread.waits(Some("queue"));
        thread.has_waited("queue", 6 * MS);
        thread.has_waited("lock", 2 * MS);
        assert_eq!(thread.tick(tick(number), number * 50 * RETURN), Still::No);
        if number % 2 == 0 {
            thread.waits(None);
        }
        thread.answers(number * 50 * RETURN, if number % 2 == 0 { 1 } else { 2 });
    }
    thread.settle(110 * MS, tick(11), 900 * RETURN);
    // It was never met in the lock, and what was outside of all waits after the last answer there
    // is not known.
    let expected =
        [(0, 2 * MS, 0, None), (0, 20 * MS, 0, Some("lock")), (5, 60 * MS, 2, Some("queue")), (6, 28 * MS, 1, None)];
    assert_eq!(weights(&thread.books.found()), expected);
}

#[test]
fn an_answer_that_is_due_takes_the_time_until_it_comes() {
    let mut thread = Thread::met_at_first_tick();
    assert_eq!(thread.tick(tick(2), 5 * MS), Still::No);
    assert_eq!(thread.tick(tick(3), 5 * MS), Still::No, "no answer");
    thread.answers(9 * MS, 2);
    thread.settle(31 * MS, tick(3), 9 * MS + RETURN + 1);
    let expected = [(0, MS, 0, None), (1, 10 * MS, 1, None), (1, 20 * MS, 2, None)];
    let found = thread.books.found();
    assert_eq!(weights(&found), expected);
    assert_eq!(found.lives[0].cpu, Duration::from_nanos(9 * MS + RETURN + 1));
}

#[test]
fn a_wait_that_ends_while_the_account_is_closed_is_not_counted_beyond_it() {
    let mut thread = Thread::met_at_first_tick();
    // Its own clock was read a bit later than the time at which the account ends.
    thread.has_waited("queue", 7 * MS);
    thread.settle(15 * MS, tick(1), 900 * RETURN);
    let expected = [(0, 5 * MS, 0, Some("queue")), (1, 10 * MS, 1, None)];
    assert_eq!(weights(&thread.books.found()), expected);
}

#[test]
fn one_whose_account_was_closed_in_the_middle_of_a_tick_is_still_looked_at() {
    let mut thread = Thread::met_at_first_tick();
    // The second tick has begun when the thread is registered again, and it has not been looked at.
    thread.settle(20 * MS + 3, tick(2), 10);
    assert!(!thread.watch.was_looked_at(tick(2)), "it would be in no list any more");
    assert_eq!(thread.tick(tick(2), 10), Still::Elsewhere);
    assert!(thread.watch.was_looked_at(tick(2)));
    thread.settle(25 * MS, tick(2), 10);
    assert_eq!(thread.books.found().samples.iter().map(|sample| sample.weight).sum::<u64>(), 25 * MS);
}

#[test]
fn what_one_in_a_foreign_call_has_run_between_its_turns_is_unsampled() {
    let mut thread = Thread::met_at_first_tick();
    assert_eq!(thread.tick(tick(2), 100), Still::Elsewhere);
    assert_eq!(thread.tick(tick(9), 100), Still::Elsewhere);
    // Eleven ticks later it has moved for 12 ms; where is not known.
    assert_eq!(thread.tick(tick(20), 12 * MS + 100), Still::No);
    thread.answers(13 * MS, 2);
    // It is there at the end too: nothing more is unsampled.
    thread.settle(205 * MS, tick(20), 13 * MS + RETURN);
    let expected = [(0, 12 * MS, 0, None), (2, 15 * MS, 2, None), (19, 178 * MS, 1, None)];
    assert_eq!(weights(&thread.books.found()), expected);
}

#[test]
fn what_only_the_clock_has_told_is_in_the_account_before_the_thread_is_looked_at() {
    let mut thread = Thread::met_at_first_tick();
    assert_eq!(thread.tick(tick(2), 200), Still::Elsewhere);
    assert_eq!(thread.watch.still(200), 200..=100 + RETURN);
    // Its clock was the same at the eighteenth, and it has moved for 30 ms by the twentieth: 10 of
    // them may have been its old place's.
    thread.books.stayed(&thread.meter, &mut thread.watch, tick(18));
    assert_eq!(thread.tick(tick(20), 30 * MS), Still::No);
    thread.settle(205 * MS, tick(20), 30 * MS);
    // 10 while it had moved, 10 that wait for an answer, 5 since.
    assert_eq!(weights(&thread.books.found()), [(0, 25 * MS, 0, None), (19, 180 * MS, 1, None)]);
}

#[test]
fn the_samplers_own_thread_is_asked_once_and_its_waits_have_their_label() {
    let mut thread = Thread::new();
    thread.watch.looks();
    assert_eq!(thread.tick(tick(1), 0), Still::No);
    thread.answers(10, 1);
    thread.waits(Some("signal"));
    thread.waits(None);
    thread.has_waited("signal", 9 * MS);
    assert_eq!(thread.tick(tick(2), 10 + 5 * RETURN), Still::Looks);
    thread.has_waited("signal", 70 * MS);
    thread.settle(95 * MS, tick(9), 90 * RETURN);
    let expected = [(0, 79 * MS, 0, Some("signal")), (10, 16 * MS, 1, None)];
    assert_eq!(weights(&thread.books.found()), expected);
}

#[test]
fn a_stack_gets_the_time_up_to_its_question() {
    let mut thread = Thread::new();
    assert_eq!(thread.tick(tick(1), MS), Still::No);
    // It works on at 1, and sleeps elsewhere, at 2, before the next tick.
    assert_eq!(thread.tick_with_answer(tick(2), 6 * MS, (MS + 100, 1)), Still::No);
    assert_eq!(thread.tick_with_answer(tick(3), 6 * MS, (6 * MS, 2)), Still::Elsewhere);
    // The last tick before it works again, at 1, and the next one.
    thread.books.stayed(&thread.meter, &mut thread.watch, tick(4));
    assert_eq!(thread.tick(tick(5), 12 * MS), Still::No);
    assert_eq!(thread.tick_with_answer(tick(6), 20 * MS, (12 * MS + 100, 1)), Still::No);
    thread.settle(60 * MS, tick(6), 20 * MS);
    let found = thread.books.found();
    // To 10 ms and from 40 to 50 at 1, from 10 to 40 at 2. The end has not been answered.
    let expected = [(0, 10 * MS, 0, None), (2, 20 * MS, 1, None), (3, 30 * MS, 2, None)];
    assert_eq!(weights(&found), expected);
}
