//! Accounting by the wall clock: where a thread's time went from one visit to the next.
//!
//! A thread counts the time of its waits in this crate itself, exactly, under the label of each
//! wait. A sample only gives the stack of a wait with that label. All other time has no label: it
//! goes to the stacks that were sampled outside of waits.
//!
//! Order of a visit: `account_snapshot`, then `account_sample` for each record in the ring, then
//! `tick`.
//!
//! Invariant: time counted under a label stays under that label. Time outside of all waits gets no
//! label of a wait.

use super::accounts::{Accounting, SampleKey};
use super::cpu::ThreadClock;
use super::wall_state::{LastSample, Still, ThreadSnapshot, WallState};
use crate::profile::engines::timer::ring::Record;
use crate::profile::engines::timer::stacks::EMPTY;
use crate::profile::engines::timer::wall_schedule::{Progress, Tick};
use crate::profile::raw::Ending;
use std::sync::Arc;

/// The remark for time in which a thread was ready to run and had no processor.
const RUNNABLE: &str = "[runnable]";

/// Below this, in nanoseconds, the kernel is not asked what the time was: that takes some
/// microseconds.
const WORTH_A_LOOK: u64 = 1_000_000;

impl Accounting {
    /// Attributes the time since the last visit. `ticks`: the number of ticks at which the thread
    /// was skipped since; `until`: the time of the last of them. Returns the stack that the time up to
    /// `until` went to, if the thread was blocked there outside of waits.
    pub(in super::super) fn account_snapshot(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        (ticks, until): (u64, u64),
        snapshot: &ThreadSnapshot,
    ) -> Option<Still> {
        let has_moved = wall_state.progress == Progress::BlockedOutside && !wall_state.is_unchanged(snapshot);
        let last_sample = wall_state.last_sample.clone();
        let last_sample = last_sample.filter(|_| has_moved && ticks > 0 && !wall_state.is_requested);
        let still = last_sample.as_ref().map(|sample| sample.still(until));
        if let Some(sample) = last_sample {
            // Up to the last skipped tick it was blocked outside this crate, in no wait. The
            // sampler does not know where it used CPU time meanwhile, so that part is
            // `[unsampled]`.
            let passed = wall_state.step(until);
            let unsampled = snapshot.clock.saturating_sub(sample.clock).min(passed);
            self.accounts[thread_clock.owner()].unsampled += unsampled;
            self.add(thread_clock.owner(), sample.key, ticks, passed - unsampled);
            wall_state.last_tick += ticks;
        }
        let mut outside_waits = wall_state.step(snapshot.now);
        for (label, nanos) in &snapshot.waited {
            let part = outside_waits.min(*nanos);
            outside_waits -= part;
            wall_state.wait_time(label).pending += part;
        }
        wall_state.since_request += outside_waits;
        wall_state.current = snapshot.waiting.as_ref().map(|label| wall_state.index(label));
        still
    }

    /// A tick at which the thread is visited. If it has not moved, its pending time goes to its
    /// last sample. If it has moved, the caller must request a sample.
    pub(in super::super) fn tick(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        tick: Tick,
        snapshot: &ThreadSnapshot,
    ) -> Progress {
        let ticks = tick.number.saturating_sub(wall_state.last_tick);
        (wall_state.last_tick, wall_state.visited_tick) = (tick.number, tick.number);
        if wall_state.is_certainly_unchanged(snapshot) {
            self.account_unchanged(thread_clock, wall_state, ticks);
            wall_state.progress = match snapshot.waiting {
                _ if wall_state.is_sampler => Progress::Sampler,
                Some(_) => Progress::Waiting,
                None => Progress::BlockedOutside,
            };
        } else {
            let waited = wall_state.last_sample.as_ref().filter(|_| wall_state.progress == Progress::Waiting);
            if let Some(sample) = waited {
                self.add(thread_clock.owner(), sample.key.clone(), ticks.saturating_sub(1), 0);
            }
            (wall_state.progress, wall_state.is_requested) = (Progress::Moved, true);
            // Only this: time after the request belongs to the next sample. Otherwise each stack
            // would get the time up to the first visit after the thread has left it, and also the
            // time from the last visit before the thread came to it.
            wall_state.before_request += std::mem::take(&mut wall_state.since_request);
        }
        wall_state.progress
    }

    /// A past tick at which the thread was skipped, and its CPU clock said that it had not moved:
    /// its time up to that tick goes to its last sample, which is returned.
    pub(in super::super) fn account_skipped_tick(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        tick: Tick,
    ) -> Option<Still> {
        let is_outside_waits = |sample: &LastSample| sample.key.waiting.is_none();
        let last_sample = wall_state.last_sample.clone();
        let last_sample = last_sample.filter(|sample| !wall_state.is_requested && is_outside_waits(sample));
        let sample = last_sample?;
        let still = sample.still(tick.now);
        let ticks = tick.number.saturating_sub(wall_state.last_tick);
        wall_state.last_tick += ticks;
        let weight = wall_state.step(tick.now);
        self.add(thread_clock.owner(), sample.key, ticks, weight);
        Some(still)
    }

    /// The sample that was requested. `waiting`: the label of the thread's wait at the sample. In a
    /// wait, the sample gets the pending time of that label; otherwise it gets the time up to the
    /// request. Returns the number of the stack.
    pub(in super::super) fn account_sample(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        record: Record<'_>,
        waiting: Option<Arc<str>>,
    ) -> u32 {
        let context = self.context(record.context);
        let key = SampleKey { stack: self.stack(record.addresses), ending: record.ending, waiting, context };
        let weight = match &key.waiting {
            None => {
                wall_state.accounted_outside += wall_state.before_request;
                std::mem::take(&mut wall_state.before_request)
            }
            Some(label) => {
                let wait = wall_state.wait_time(label);
                wait.stack = Some((key.stack, key.ending, key.context));
                std::mem::take(&mut wait.pending)
            }
        };
        self.add(thread_clock.owner(), key.clone(), 1, weight);
        self.account_waits(thread_clock, wall_state, false);
        wall_state.is_requested = false;
        let stack = key.stack;
        let last_sample = LastSample::new(key, record.clock, record.shown, wall_state.last_sample.as_ref());
        wall_state.last_sample = Some(last_sample);
        stack
    }

    /// The thread has not moved: its pending time goes to its last sample.
    fn account_unchanged(&mut self, thread_clock: &ThreadClock, wall_state: &mut WallState, samples: u64) {
        let Some(LastSample { key, .. }) = wall_state.last_sample.clone() else { return };
        let weight = match &key.waiting {
            None => wall_state.take_outside_waits(),
            Some(label) => std::mem::take(&mut wall_state.wait_time(label).pending),
        };
        self.add(thread_clock.owner(), key, samples, weight);
        self.account_waits(thread_clock, wall_state, wall_state.is_sampler);
    }

    /// Pending time in waits goes to the stacks that were sampled in them. `all`: where no stack
    /// was sampled, it goes to an empty stack; otherwise it stays pending.
    fn account_waits(&mut self, thread_clock: &ThreadClock, wall_state: &mut WallState, all: bool) {
        for wait in &mut wall_state.waits {
            if wait.pending == 0 || wait.stack.is_none() && !all {
                continue;
            }
            let (stack, ending, context) = wait.stack.unwrap_or((EMPTY, Ending::Root, 0));
            let key = SampleKey { stack, ending, waiting: Some(wait.label.clone()), context };
            self.add(thread_clock.owner(), key, 0, std::mem::take(&mut wait.pending));
        }
    }

    /// Closes the account in charge at the wall clock `now`, after the time up to the last visit
    /// was [accounted](Self::account_snapshot). `last`: the last tick. `run_delay`: how long the
    /// thread has been ready to run without a processor so far, if the kernel tells. Returns the stack
    /// that the thread has not left until now, if it is blocked there outside of waits.
    pub(in super::super) fn close_by_wall(
        &mut self,
        thread_clock: &mut ThreadClock,
        wall_state: &mut WallState,
        (now, last): (u64, Tick),
        snapshot: &ThreadSnapshot,
        run_delay: &dyn Fn() -> Option<u64>,
    ) -> Option<Still> {
        let tail = wall_state.step(now);
        match wall_state.current {
            Some(index) => wall_state.waits[index].pending += tail,
            None => wall_state.since_request += tail,
        }
        let is_unchanged = wall_state.is_unchanged(snapshot);
        if is_unchanged {
            self.account_unchanged(thread_clock, wall_state, last.number.saturating_sub(wall_state.last_tick) + 1);
        }
        wall_state.last_tick = wall_state.last_tick.max(last.number);
        let unsampled = self.close_unanswered(thread_clock, wall_state, snapshot, run_delay);
        self.account_waits(thread_clock, wall_state, true);
        let account = &mut self.accounts[thread_clock.owner()];
        account.unsampled += unsampled;
        thread_clock.step(snapshot.clock);
        account.count(thread_clock);
        let last_sample = wall_state.last_sample.as_ref().filter(|sample| is_unchanged && sample.key.waiting.is_none());
        last_sample.map(|sample| sample.still(now))
    }

    /// Closes the time outside of all waits that still awaits a sample. A new thread has mostly
    /// waited for a processor then: a thread that computes for a millisecond between a thousand
    /// others, for example, and waits in this crate when the next request reaches it. The kernel
    /// knows how long that was. What samples outside of waits do not have of it becomes `[runnable]`.
    /// Returns the rest, which is `[unsampled]`.
    fn close_unanswered(
        &mut self,
        thread_clock: &ThreadClock,
        wall_state: &mut WallState,
        snapshot: &ThreadSnapshot,
        run_delay: &dyn Fn() -> Option<u64>,
    ) -> u64 {
        let unanswered = wall_state.take_outside_waits();
        let without_cpu = unanswered.saturating_sub(snapshot.clock.saturating_sub(thread_clock.last()));
        if without_cpu < WORTH_A_LOOK || !thread_clock.is_of_new_thread() {
            return unanswered;
        }
        let delay = run_delay().unwrap_or(0).saturating_sub(wall_state.accounted_outside).min(without_cpu);
        wall_state.accounted_outside += delay;
        if delay > 0 {
            let waiting = Some(Arc::from(RUNNABLE));
            let key = SampleKey { stack: EMPTY, ending: Ending::Root, waiting, context: 0 };
            self.add(thread_clock.owner(), key, 0, delay);
        }
        unanswered - delay
    }
}
