//! Accounting by the wall clock: where a thread's time went from one look to the next.
//!
//! What a thread waited for in this crate it has counted itself, exactly, and each stretch of that
//! has its label. Samples only tell at which stack a wait with that label was. The rest of the time
//! has no label: it goes to the stacks that the thread was met at outside of its waits.
//!
//! Invariants
//! 1. A thread's time from `WallState::new` to the last look is in the account in charge, or pending in
//!    its `WallState`, each nanosecond once.
//! 2. Time that was counted under a label stays under that label. Time outside of all waits gets
//!    none.

use super::{Accounting, Ending, SampleKey, ThreadClock};
use crate::profile::engines::timer::ring::Record;
use crate::profile::engines::timer::wall_schedule::{Progress, Tick};
use crate::wait::Shown;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What is known of an OS thread from one look to the next.
#[derive(Clone, Debug)]
pub(in super::super) struct WallState {
    /// The wall clock up to which its time is in the books, or pending.
    last: u64,
    /// The number of the tick at which its books were closed or it was looked at last: it has been
    /// skipped since.
    last_tick: u64,
    /// And at which it was looked at last. Accounting are closed in the middle of a tick too.
    visited_tick: u64,
    /// It was asked where it is, and has not answered.
    is_requested: bool,
    /// Pending time outside of all waits, up to the tick at which the thread was asked last. The next
    /// stack that it is met at outside of its waits gets it.
    due: u64,
    /// The same since then.
    rest: u64,
    /// Its waits by label, each with its pending time.
    waits: Vec<WaitTime>,
    /// The index in `waits` of what it waited for at the last look.
    current: Option<usize>,
    last_sample: Option<LastSample>,
    progress: Progress,
    /// It is the sampler's own thread, which looks from the same place each time: it is asked once.
    is_sampler: bool,
}

#[derive(Clone, Debug)]
struct WaitTime {
    label: Arc<str>,
    /// The number of the stack at which it was met last in a wait with that label.
    stack: Option<(u32, Ending)>,
    pending: u64,
}

/// Where a thread was met last.
#[derive(Clone, Debug)]
struct LastSample {
    place: SampleKey,
    /// Its CPU clock then.
    clock: u64,
    shown: Shown,
}

/// What a look has found of a thread.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct ThreadSnapshot {
    /// The wall clock.
    pub(in super::super) now: u64,
    /// The thread's CPU clock, read after what it waits for was.
    pub(in super::super) clock: u64,
    pub(in super::super) shown: Shown,
    /// The label of what it waits for.
    pub(in super::super) waiting: Option<Arc<str>>,
    /// How long it has waited since the last look, by label.
    pub(in super::super) waited: Vec<(Arc<str>, u64)>,
}

/// What a thread uses of its CPU clock to return from the signal's handler and go back to where it
/// waited, in nanoseconds: one whose clock has gone on by no more has not done anything since.
pub(super) const RETURN: u64 = 20_000;

impl Accounting {
    /// A look at the thread, which was skipped at so many ticks since the last look, the last of
    /// them at that time.
    pub(in super::super) fn account_snapshot(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        (ticks, until): (u64, u64),
        snapshot: &ThreadSnapshot,
    ) {
        let has_left = wall_state.progress == Progress::BlockedOutside && !wall_state.is_unchanged(snapshot);
        if let Some(last_sample) =
            wall_state.last_sample.clone().filter(|_| has_left && ticks > 0 && !wall_state.is_requested)
        {
            // Up to the last of those ticks it was in a foreign call, and in no wait. The sampler
            // does not know where its CPU clock has gone on.
            let passed = wall_state.step(until);
            let unseen = snapshot.clock.saturating_sub(last_sample.clock).min(passed);
            self.accounts[thread_clock.owner()].unsampled += unseen;
            self.add(thread_clock.owner(), last_sample.place, ticks, passed - unseen);
            wall_state.last_tick += ticks;
        }
        let mut left = wall_state.step(snapshot.now);
        for (label, nanos) in &snapshot.waited {
            let part = left.min(*nanos);
            left -= part;
            wall_state.at(label).pending += part;
        }
        wall_state.rest += left;
        wall_state.current = snapshot.waiting.as_ref().map(|label| wall_state.index(label));
    }

    /// A tick at which the thread was [looked at](Self::looked_at). If it has moved, it is to be
    /// asked where it is; else its time is that place's.
    pub(in super::super) fn tick(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        tick: Tick,
        snapshot: &ThreadSnapshot,
    ) -> Progress {
        let ticks = tick.number.saturating_sub(wall_state.last_tick);
        (wall_state.last_tick, wall_state.visited_tick) = (tick.number, tick.number);
        if wall_state.is_unchanged(snapshot) {
            self.account_since_sample(thread_clock, wall_state, ticks);
            wall_state.progress = match snapshot.waiting {
                _ if wall_state.is_sampler => Progress::Sampler,
                Some(_) => Progress::Waiting,
                None => Progress::BlockedOutside,
            };
        } else {
            if let Some(last_sample) =
                wall_state.last_sample.as_ref().filter(|_| wall_state.progress == Progress::Waiting)
            {
                self.add(thread_clock.owner(), last_sample.place.clone(), ticks.saturating_sub(1), 0);
            }
            (wall_state.progress, wall_state.is_requested) = (Progress::Moved, true);
            // Only this: time after the question belongs to the next answer. Else each stack would
            // get the time up to the first look after the thread has left it, as well as the time
            // since the last look before the thread came to it.
            wall_state.due += std::mem::take(&mut wall_state.rest);
        }
        wall_state.progress
    }

    /// At that tick, which has passed, the thread was where it had been: its time up to then is
    /// that place's.
    pub(in super::super) fn account_unchanged(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        tick: Tick,
    ) {
        let is_there = |last_sample: &LastSample| last_sample.place.waiting.is_none();
        let Some(last_sample) =
            wall_state.last_sample.clone().filter(|last_sample| !wall_state.is_requested && is_there(last_sample))
        else {
            return;
        };
        let ticks = tick.number.saturating_sub(wall_state.last_tick);
        wall_state.last_tick += ticks;
        let weight = wall_state.step(tick.now);
        self.add(thread_clock.owner(), last_sample.place, ticks, weight);
    }

    /// The thread's answer. If it waits, by `waiting`, that is where its waits with this label are;
    /// else its time up to the question is that place's.
    pub(in super::super) fn account_sample(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        record: Record<'_>,
        waiting: Option<Arc<str>>,
    ) {
        let place = SampleKey { stack: self.stacks.number(record.addresses), ending: record.ending, waiting };
        let weight = match &place.waiting {
            None => std::mem::take(&mut wall_state.due),
            Some(label) => {
                let wait = wall_state.at(label);
                wait.stack = Some((place.stack, place.ending));
                std::mem::take(&mut wait.pending)
            }
        };
        self.add(thread_clock.owner(), place.clone(), 1, weight);
        self.settle_waits(thread_clock, wall_state, false);
        wall_state.is_requested = false;
        wall_state.last_sample = Some(LastSample { place, clock: record.clock, shown: record.shown });
    }

    /// The thread has not moved: what is pending is of where it was met.
    fn account_since_sample(&mut self, thread_clock: &ThreadClock, wall_state: &mut WallState, samples: u64) {
        let Some(LastSample { place, .. }) = wall_state.last_sample.clone() else { return };
        let weight = match &place.waiting {
            None => wall_state.take_rest(),
            Some(label) => std::mem::take(&mut wall_state.at(label).pending),
        };
        self.add(thread_clock.owner(), place, samples, weight);
        self.settle_waits(thread_clock, wall_state, wall_state.is_sampler);
    }

    /// Pending time in waits goes to the stacks that are known for them; `all`: where none is
    /// known, to none.
    fn settle_waits(&mut self, thread_clock: &ThreadClock, wall_state: &mut WallState, all: bool) {
        for wait in &mut wall_state.waits {
            if wait.pending == 0 || wait.stack.is_none() && !all {
                continue;
            }
            let (stack, ending) = wait.stack.unwrap_or_else(|| (self.stacks.number(&[]), Ending::Root));
            let place = SampleKey { stack, ending, waiting: Some(wait.label.clone()) };
            self.add(thread_clock.owner(), place, 0, std::mem::take(&mut wait.pending));
        }
    }

    /// Closes the account in charge at the wall clock `now`, after the thread was [looked
    /// at](Self::looked_at). `last`: the tick before.
    pub(in super::super) fn settle_wall(
        &mut self,
        thread_clock: &mut ThreadClock,
        wall_state: &mut WallState,
        (now, last): (u64, Tick),
        snapshot: &ThreadSnapshot,
    ) {
        let tail = wall_state.step(now);
        match wall_state.current {
            Some(index) => wall_state.waits[index].pending += tail,
            None => wall_state.rest += tail,
        }
        if wall_state.is_unchanged(snapshot) {
            self.account_since_sample(thread_clock, wall_state, last.number.saturating_sub(wall_state.last_tick) + 1);
        }
        wall_state.last_tick = wall_state.last_tick.max(last.number);
        self.settle_waits(thread_clock, wall_state, true);
        let account = &mut self.accounts[thread_clock.owner()];
        account.unsampled += wall_state.take_rest();
        thread_clock.step(snapshot.clock);
        account.count(thread_clock);
    }
}

impl WallState {
    /// Of a thread that is new after that tick.
    pub(in super::super) fn new(now: u64, tick: Tick) -> WallState {
        WallState {
            last: now,
            last_tick: tick.number,
            visited_tick: tick.number,
            is_requested: false,
            due: 0,
            rest: 0,
            waits: Vec::new(),
            current: None,
            last_sample: None,
            progress: Progress::Moved,
            is_sampler: false,
        }
    }

    /// It is that of the sampler's own thread.
    pub(in super::super) fn mark_as_sampler(&mut self) {
        self.is_sampler = true;
    }

    /// The wall clock up to which its time is in the books, or pending.
    pub(in super::super) fn last(&self) -> u64 {
        self.last
    }

    /// What its CPU clock, which is at `clock`, will say as long as it is where it was met.
    pub(in super::super) fn unchanged_clock(&self, clock: u64) -> RangeInclusive<u64> {
        clock..=self.last_sample.as_ref().map_or(clock, |last_sample| last_sample.clock + RETURN)
    }

    /// Whether it was looked at with that tick already.
    pub(in super::super) fn was_ticked(&self, tick: Tick) -> bool {
        self.visited_tick == tick.number
    }

    /// The ticks at which it was skipped, of those up to `tick`, and when the last of them was;
    /// `is_new`: `tick` is the one at which it is looked at.
    pub(in super::super) fn skipped(&self, tick: Tick, is_new: bool) -> (u64, u64) {
        let until = if is_new { tick.before } else { tick.now };
        (tick.number.saturating_sub(self.last_tick + u64::from(is_new)), until)
    }

    fn is_unchanged(&self, snapshot: &ThreadSnapshot) -> bool {
        let is_there = |last_sample: &LastSample| {
            snapshot.clock.saturating_sub(last_sample.clock) <= RETURN && last_sample.shown == snapshot.shown
        };
        !self.is_requested
            && self.last_sample.as_ref().is_some_and(|last_sample| self.is_sampler || is_there(last_sample))
    }

    /// The time since the last step.
    fn step(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.last);
        self.last += elapsed;
        elapsed
    }

    fn take_rest(&mut self) -> u64 {
        std::mem::take(&mut self.due) + std::mem::take(&mut self.rest)
    }

    fn index(&mut self, label: &Arc<str>) -> usize {
        self.waits.iter().position(|wait| wait.label == *label).unwrap_or_else(|| {
            self.waits.push(WaitTime { label: label.clone(), stack: None, pending: 0 });
            self.waits.len() - 1
        })
    }

    fn at(&mut self, label: &Arc<str>) -> &mut WaitTime {
        let index = self.index(label);
        &mut self.waits[index]
    }
}

#[cfg(test)]
mod tests;
