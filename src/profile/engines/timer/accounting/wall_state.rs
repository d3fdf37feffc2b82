//! What accounting by the wall clock keeps about one OS thread between two visits. No accounts
//! here, so that a copy of it can be closed for a snapshot.
//!
//! Invariant: a thread's time from `WallState::new` to `last` is in the account in charge, or
//! pending here, each nanosecond once.

use crate::profile::engines::timer::wall_schedule::{Progress, Tick};
use crate::profile::raw::Ending;
use crate::wait::Shown;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::accounts::SampleKey;

/// The state of an OS thread between two visits of the sampler. Times are nanoseconds.
#[derive(Clone, Debug)]
pub(in super::super) struct WallState {
    /// The wall clock up to which the thread's time is accounted or pending.
    last: u64,
    /// The number of the last tick that is accounted: the thread has been skipped since.
    pub(super) last_tick: u64,
    /// The number of the last tick at which it was visited. An account may be closed between
    /// visits, which moves `last_tick` only.
    pub(super) visited_tick: u64,
    /// A sample was requested and has not come.
    pub(super) is_requested: bool,
    /// Pending time outside of waits, up to the last request. The next sample outside of waits gets
    /// it.
    pub(super) before_request: u64,
    /// Pending time outside of waits, since the last request.
    pub(super) since_request: u64,
    /// The thread's waits by label, each with its pending time.
    pub(super) waits: Vec<WaitTime>,
    /// The index in `waits` of its wait at the last visit.
    pub(super) current: Option<usize>,
    /// The time outside of waits that is accounted: no more of the time without a processor is.
    pub(super) accounted_outside: u64,
    pub(super) last_sample: Option<LastSample>,
    pub(super) progress: Progress,
    /// The thread is the sampler, which always visits from the same place: one sample is enough.
    pub(super) is_sampler: bool,
}

/// The waits of a thread with one label.
#[derive(Clone, Debug)]
pub(super) struct WaitTime {
    pub(super) label: Arc<str>,
    /// The last stack that was sampled in a wait with that label, by its number, and the
    /// number of the context there.
    pub(super) stack: Option<(u32, Ending, u64)>,
    pub(super) pending: u64,
}

/// The last sample of a thread.
#[derive(Clone, Debug)]
pub(super) struct LastSample {
    pub(super) key: SampleKey,
    /// The thread's CPU clock at the sample.
    pub(super) clock: u64,
    pub(super) shown: Shown,
    /// The sample before had the same stack, and the thread can hardly have moved meanwhile. One
    /// sample alone does not tell a blocked thread from a thread that is about to block elsewhere.
    pub(super) is_confirmed: bool,
    /// The thread's CPU clock when it was blocked again after the sample, outside of waits.
    pub(super) blocked_clock: Option<u64>,
}

/// A stack that a thread has not left up to some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Still {
    /// The number of the stack.
    pub(in super::super) stack: u32,
    pub(in super::super) ending: Ending,
    /// The wall clock.
    pub(in super::super) until: u64,
}

/// What a visit has read of a thread, before the samples in its ring.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct ThreadSnapshot {
    /// The wall clock.
    pub(in super::super) now: u64,
    /// The thread's CPU clock, read after `shown`.
    pub(in super::super) clock: u64,
    pub(in super::super) shown: Shown,
    /// The label of its present wait.
    pub(in super::super) waiting: Option<Arc<str>>,
    /// How long it has waited since the last visit, by label.
    pub(in super::super) waited: Vec<(Arc<str>, u64)>,
}

impl LastSample {
    /// `before`: the sample before.
    pub(super) fn new(key: SampleKey, clock: u64, shown: Shown, before: Option<&LastSample>) -> LastSample {
        let confirms =
            |before: &LastSample| before.key == key && before.shown == shown && clock <= before.clock + 2 * RETURN;
        let is_confirmed = before.is_some_and(confirms);
        LastSample { key, clock, shown, is_confirmed, blocked_clock: None }
    }

    /// The thread has not left the stack up to `until`.
    pub(super) fn still(&self, until: u64) -> Still {
        Still { stack: self.key.stack, ending: self.key.ending, until }
    }
}

/// The CPU time, in nanoseconds, that a thread uses to return from the signal handler to where it
/// was blocked, at most. A thread uses less on its way from one place to the next: so outside of the
/// waits of this crate, whose changes are counted, a second sample must confirm the first.
pub(super) const RETURN: u64 = 20_000;

impl WallState {
    /// For a thread that is new after that tick.
    pub(in super::super) fn new(now: u64, tick: Tick) -> WallState {
        WallState {
            last: now,
            last_tick: tick.number,
            visited_tick: tick.number,
            is_requested: false,
            before_request: 0,
            since_request: 0,
            waits: Vec::new(),
            current: None,
            accounted_outside: 0,
            last_sample: None,
            progress: Progress::Moved,
            is_sampler: false,
        }
    }

    /// The numbers of the stacks that time may be added to without a new sample.
    pub(in super::super) fn stacks(&self) -> impl Iterator<Item = u32> {
        let last = self.last_sample.iter().map(|sample| sample.key.stack);
        last.chain(self.waits.iter().filter_map(|wait| wait.stack).map(|(stack, ..)| stack))
    }

    /// Notes that the thread is the sampler.
    pub(in super::super) fn mark_as_sampler(&mut self) {
        self.is_sampler = true;
    }

    /// The wall clock up to which the thread's time is accounted or pending.
    pub(in super::super) fn last(&self) -> u64 {
        self.last
    }

    /// The values of the thread's CPU clock, now at `clock`, that say that it has not moved since
    /// its last sample.
    pub(in super::super) fn unchanged_clock(&self, clock: u64) -> RangeInclusive<u64> {
        let last = |sample: &LastSample| sample.blocked_clock.unwrap_or(sample.clock + RETURN);
        clock..=self.last_sample.as_ref().map_or(clock, last)
    }

    /// Returns `true` if the thread was visited at that tick already.
    pub(in super::super) fn was_visited_at(&self, tick: Tick) -> bool {
        self.visited_tick == tick.number
    }

    /// The number of ticks at which the thread was skipped, up to `tick`, and the time of the last
    /// of them. `is_visit`: it is visited at `tick`, which therefore does not count.
    pub(in super::super) fn skipped(&self, tick: Tick, is_visit: bool) -> (u64, u64) {
        let until = if is_visit { tick.before } else { tick.now };
        (tick.number.saturating_sub(self.last_tick + u64::from(is_visit)), until)
    }

    /// Returns `true` if the thread has not moved since its last sample, as far as its clock says.
    pub(super) fn is_unchanged(&self, snapshot: &ThreadSnapshot) -> bool {
        let is_same = |sample: &LastSample| {
            let is_same_clock = match sample.blocked_clock {
                Some(clock) => snapshot.clock == clock,
                None => snapshot.clock.saturating_sub(sample.clock) <= RETURN,
            };
            is_same_clock && sample.shown == snapshot.shown
        };
        !self.is_requested && self.last_sample.as_ref().is_some_and(|sample| self.is_sampler || is_same(sample))
    }

    /// Returns `true` if the thread has certainly not moved since its last sample. Otherwise another
    /// sample is needed.
    pub(super) fn is_certainly_unchanged(&mut self, snapshot: &ThreadSnapshot) -> bool {
        if !self.is_unchanged(snapshot) {
            return false;
        }
        match &mut self.last_sample {
            // Each change of its waits is seen.
            _ if self.is_sampler || snapshot.waiting.is_some() => true,
            Some(sample) if sample.is_confirmed => {
                sample.blocked_clock = Some(snapshot.clock);
                true
            }
            _ => false,
        }
    }

    /// Moves on to `now`, and returns the time since the last step.
    pub(super) fn step(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.last);
        self.last += elapsed;
        elapsed
    }

    /// Takes all pending time outside of waits.
    pub(super) fn take_outside_waits(&mut self) -> u64 {
        std::mem::take(&mut self.before_request) + std::mem::take(&mut self.since_request)
    }

    /// The index in `waits` of that label, made if need be.
    pub(super) fn index(&mut self, label: &Arc<str>) -> usize {
        self.waits.iter().position(|wait| wait.label == *label).unwrap_or_else(|| {
            self.waits.push(WaitTime { label: label.clone(), stack: None, pending: 0 });
            self.waits.len() - 1
        })
    }

    pub(super) fn wait_time(&mut self, label: &Arc<str>) -> &mut WaitTime {
        let index = self.index(label);
        &mut self.waits[index]
    }
}
