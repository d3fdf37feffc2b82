//! Accounting by the wall clock: where a thread's time went from one look to the next.
//!
//! What a thread waited for in this crate it has counted itself, exactly, and each stretch of that
//! has its label. Samples only tell at which stack a wait with that label was. The rest of the time
//! has no label: it goes to the stacks that the thread was met at outside of its waits.
//!
//! Invariants
//! 1. A thread's time from `Watch::new` to the last look is in the account in charge, or pending in
//!    its `Watch`, each nanosecond once.
//! 2. Time that was counted under a label stays under that label. Time outside of all waits gets
//!    none.

use super::{Books, Ending, Meter, Place};
use crate::profile::engines::timer::ring::Record;
use crate::profile::engines::timer::wall_schedule::{Still, Tick};
use crate::wait::Shown;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What is known of an OS thread from one look to the next.
#[derive(Clone, Debug)]
pub(in super::super) struct Watch {
    /// The wall clock up to which its time is in the books, or pending.
    last: u64,
    /// The number of the tick at which its books were closed or it was looked at last: it has been
    /// skipped since.
    looked: u64,
    /// And at which it was looked at last. Books are closed in the middle of a tick too.
    ticked: u64,
    /// It was asked where it is, and has not answered.
    asked: bool,
    /// Pending time outside of all waits, up to the tick at which the thread was asked last. The next
    /// stack that it is met at outside of its waits gets it.
    due: u64,
    /// The same since then.
    rest: u64,
    /// Its waits by label, each with its pending time.
    waits: Vec<AtWait>,
    /// The index in `waits` of what it waited for at the last look.
    current: Option<usize>,
    met: Option<Met>,
    still: Still,
    /// It is the sampler's own thread, which looks from the same place each time: it is asked once.
    looks: bool,
}

#[derive(Clone, Debug)]
struct AtWait {
    label: Arc<str>,
    /// The number of the stack at which it was met last in a wait with that label.
    stack: Option<(u32, Ending)>,
    pending: u64,
}

/// Where a thread was met last.
#[derive(Clone, Debug)]
struct Met {
    place: Place,
    /// Its CPU clock then.
    clock: u64,
    shown: Shown,
}

/// What a look has found of a thread.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Seen {
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

impl Books {
    /// A look at the thread, which was skipped at so many ticks since the last look, the last of
    /// them at that time.
    pub(in super::super) fn looked_at(
        &mut self,
        meter: &Meter,
        watch: &mut Watch,
        (ticks, until): (u64, u64),
        seen: &Seen,
    ) {
        let has_left = watch.still == Still::Elsewhere && !watch.is_where_it_was(seen);
        if let Some(met) = watch.met.clone().filter(|_| has_left && ticks > 0 && !watch.asked) {
            // Up to the last of those ticks it was in a foreign call, and in no wait. The sampler
            // does not know where its CPU clock has gone on.
            let passed = watch.step(until);
            let unseen = seen.clock.saturating_sub(met.clock).min(passed);
            self.accounts[meter.owner()].unsampled += unseen;
            self.add(meter.owner(), met.place, ticks, passed - unseen);
            watch.looked += ticks;
        }
        let mut left = watch.step(seen.now);
        for (label, nanos) in &seen.waited {
            let part = left.min(*nanos);
            left -= part;
            watch.at(label).pending += part;
        }
        watch.rest += left;
        watch.current = seen.waiting.as_ref().map(|label| watch.index(label));
    }

    /// A tick at which the thread was [looked at](Self::looked_at). If it has moved, it is to be
    /// asked where it is; else its time is that place's.
    pub(in super::super) fn tick(&mut self, meter: &Meter, watch: &mut Watch, tick: Tick, seen: &Seen) -> Still {
        let ticks = tick.number.saturating_sub(watch.looked);
        (watch.looked, watch.ticked) = (tick.number, tick.number);
        if watch.is_where_it_was(seen) {
            self.stays(meter, watch, ticks);
            watch.still = match seen.waiting {
                _ if watch.looks => Still::Looks,
                Some(_) => Still::Waits,
                None => Still::Elsewhere,
            };
        } else {
            if let Some(met) = watch.met.as_ref().filter(|_| watch.still == Still::Waits) {
                self.add(meter.owner(), met.place.clone(), ticks.saturating_sub(1), 0);
            }
            (watch.still, watch.asked) = (Still::No, true);
            // Only this: time after the question belongs to the next answer. Else each stack would
            // get the time up to the first look after the thread has left it, as well as the time
            // since the last look before the thread came to it.
            watch.due += std::mem::take(&mut watch.rest);
        }
        watch.still
    }

    /// At that tick, which has passed, the thread was where it had been: its time up to then is
    /// that place's.
    pub(in super::super) fn stayed(&mut self, meter: &Meter, watch: &mut Watch, tick: Tick) {
        let is_there = |met: &Met| met.place.waiting.is_none();
        let Some(met) = watch.met.clone().filter(|met| !watch.asked && is_there(met)) else { return };
        let ticks = tick.number.saturating_sub(watch.looked);
        watch.looked += ticks;
        let weight = watch.step(tick.now);
        self.add(meter.owner(), met.place, ticks, weight);
    }

    /// The thread's answer. If it waits, by `waiting`, that is where its waits with this label are;
    /// else its time up to the question is that place's.
    pub(in super::super) fn met(
        &mut self,
        meter: &Meter,
        watch: &mut Watch,
        record: Record<'_>,
        waiting: Option<Arc<str>>,
    ) {
        let place = Place { stack: self.stacks.number(record.addresses), ending: record.ending, waiting };
        let weight = match &place.waiting {
            None => std::mem::take(&mut watch.due),
            Some(label) => {
                let wait = watch.at(label);
                wait.stack = Some((place.stack, place.ending));
                std::mem::take(&mut wait.pending)
            }
        };
        self.add(meter.owner(), place.clone(), 1, weight);
        self.settle_waits(meter, watch, false);
        watch.asked = false;
        watch.met = Some(Met { place, clock: record.clock, shown: record.shown });
    }

    /// The thread has not moved: what is pending is of where it was met.
    fn stays(&mut self, meter: &Meter, watch: &mut Watch, samples: u64) {
        let Some(Met { place, .. }) = watch.met.clone() else { return };
        let weight = match &place.waiting {
            None => watch.take_rest(),
            Some(label) => std::mem::take(&mut watch.at(label).pending),
        };
        self.add(meter.owner(), place, samples, weight);
        self.settle_waits(meter, watch, watch.looks);
    }

    /// Pending time in waits goes to the stacks that are known for them; `all`: where none is
    /// known, to none.
    fn settle_waits(&mut self, meter: &Meter, watch: &mut Watch, all: bool) {
        for wait in &mut watch.waits {
            if wait.pending == 0 || wait.stack.is_none() && !all {
                continue;
            }
            let (stack, ending) = wait.stack.unwrap_or_else(|| (self.stacks.number(&[]), Ending::Root));
            let place = Place { stack, ending, waiting: Some(wait.label.clone()) };
            self.add(meter.owner(), place, 0, std::mem::take(&mut wait.pending));
        }
    }

    /// Closes the account in charge at the wall clock `now`, after the thread was [looked
    /// at](Self::looked_at). `last`: the tick before.
    pub(in super::super) fn settle_wall(
        &mut self,
        meter: &mut Meter,
        watch: &mut Watch,
        (now, last): (u64, Tick),
        seen: &Seen,
    ) {
        let tail = watch.step(now);
        match watch.current {
            Some(index) => watch.waits[index].pending += tail,
            None => watch.rest += tail,
        }
        if watch.is_where_it_was(seen) {
            self.stays(meter, watch, last.number.saturating_sub(watch.looked) + 1);
        }
        watch.looked = watch.looked.max(last.number);
        self.settle_waits(meter, watch, true);
        let account = &mut self.accounts[meter.owner()];
        account.unsampled += watch.take_rest();
        meter.step(seen.clock);
        account.count(meter);
    }
}

impl Watch {
    /// Of a thread that is new after that tick.
    pub(in super::super) fn new(now: u64, tick: Tick) -> Watch {
        Watch {
            last: now,
            looked: tick.number,
            ticked: tick.number,
            asked: false,
            due: 0,
            rest: 0,
            waits: Vec::new(),
            current: None,
            met: None,
            still: Still::No,
            looks: false,
        }
    }

    /// It is that of the sampler's own thread.
    pub(in super::super) fn looks(&mut self) {
        self.looks = true;
    }

    /// The wall clock up to which its time is in the books, or pending.
    pub(in super::super) fn last(&self) -> u64 {
        self.last
    }

    /// What its CPU clock, which is at `clock`, will say as long as it is where it was met.
    pub(in super::super) fn still(&self, clock: u64) -> RangeInclusive<u64> {
        clock..=self.met.as_ref().map_or(clock, |met| met.clock + RETURN)
    }

    /// Whether it was looked at with that tick already.
    pub(in super::super) fn was_looked_at(&self, tick: Tick) -> bool {
        self.ticked == tick.number
    }

    /// The ticks at which it was skipped, of those up to `tick`, and when the last of them was;
    /// `is_new`: `tick` is the one at which it is looked at.
    pub(in super::super) fn skipped(&self, tick: Tick, is_new: bool) -> (u64, u64) {
        let until = if is_new { tick.before } else { tick.now };
        (tick.number.saturating_sub(self.looked + u64::from(is_new)), until)
    }

    fn is_where_it_was(&self, seen: &Seen) -> bool {
        let is_there = |met: &Met| seen.clock.saturating_sub(met.clock) <= RETURN && met.shown == seen.shown;
        !self.asked && self.met.as_ref().is_some_and(|met| self.looks || is_there(met))
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
            self.waits.push(AtWait { label: label.clone(), stack: None, pending: 0 });
            self.waits.len() - 1
        })
    }

    fn at(&mut self, label: &Arc<str>) -> &mut AtWait {
        let index = self.index(label);
        &mut self.waits[index]
    }
}

#[cfg(test)]
mod tests;
