//! The sampler's visits by the wall clock: reads a thread's waits, and requests a sample of a
//! thread that has moved.
//!
//! Invariants
//! 1. A handler reads the wait slot that its slot names. That is the one in `SampledThread::waits`,
//!    or it is in `retired_waits` for a grace that began after the slot named another one.
//! 2. A visit reads the thread's counted waits before its ring. So a record whose wait is not among
//!    the waits that were read belongs to a wait that began after the reading, whose label is still
//!    there.

use super::data::{BySignal, SampledThread, State, cpu_nanos};
use crate::os::CpuClock;
use crate::profile::engines::timer::accounting::ThreadSnapshot;
use crate::profile::engines::timer::wall_schedule::{Progress, Visit};
use crate::thread::Thread;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

impl State {
    /// Puts into `threads` the threads that may have moved. Accounts the skipped ticks of the
    /// others.
    pub(super) fn select_by_wall(&mut self, threads: &mut Vec<i32>) {
        let now = self.now();
        self.wall.schedule.next(now, |id| cpu_nanos(CpuClock::of_thread(id)), &mut self.wall.visits);
        for Visit { id, unchanged_at } in self.wall.visits.drain(..) {
            threads.push(id);
            if let Some((tick, sampled)) = unchanged_at.zip(self.sampled.get_mut(&id))
                && let Some(wall_state) = &mut sampled.wall_state
            {
                let still = self.accounting.account_skipped_tick(&sampled.thread_clock, wall_state, tick);
                if let Some((tracing, still)) = self.tracing.as_mut().zip(still) {
                    tracing.still(still);
                    tracing.hand_over(sampled.handles.last());
                }
            }
        }
    }

    /// Lets the thread's handler read its context; by the wall clock also its waits, which are counted
    /// from now on. `thread` publishes them: the handle in charge, which may have been another one before.
    pub(super) fn show_waits(&mut self, id: i32, thread: &Thread) {
        let (began, waits) = (self.began, thread.waits());
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        waits.number_context();
        if sampled.wall_state.is_some() {
            waits.begin_times(thread.started_at().max(began), began);
        }
        let is_replaced = match &sampled.by_signal {
            // SAFETY: the wait slot lives in `sampled.waits` until the slot was cleared from the
            // entry (invariant 1 of this room), or until this function is called again, which keeps
            // it for a grace.
            Some(by_signal) => unsafe { by_signal.slot.set_wait_slot(Arc::as_ptr(&waits)) },
            None => {
                waits.begin_contexts();
                false
            }
        };
        let before = std::mem::replace(&mut sampled.waits, waits);
        if !Arc::ptr_eq(&before, &sampled.waits) {
            before.end_contexts();
            if sampled.wall_state.is_some() {
                before.end_times(began);
            }
            if let Some(by_signal) = sampled.by_signal.as_ref().filter(|_| is_replaced) {
                self.wall.retired_waits.push((before, by_signal.entry.grace()));
            }
        }
        self.wall.free_retired_waits();
    }

    /// Accounts the waits that the thread has counted and the samples in its ring. `until`: the
    /// wall clock at its end, if it has ended. `is_visit`: it is visited at the present tick.
    /// Returns the snapshot, and the number of changes of its waits up to it. The snapshot is
    /// `None` if the CPU clock cannot be read, or is another thread's.
    pub(super) fn snapshot_by_wall(
        &mut self,
        id: i32,
        clock: Option<u64>,
        until: Option<u64>,
        is_visit: bool,
    ) -> (Option<ThreadSnapshot>, u64) {
        let (tick, began) = (self.wall.schedule.tick(), self.began);
        let Some(sampled) = self.sampled.get_mut(&id) else { return (None, 0) };
        let SampledThread { by_signal, waits, wall_state, thread_clock, traced_clock, clock: cpu_clock, .. } = sampled;
        let Some((wall_state, BySignal { slot, .. })) = wall_state.as_mut().zip(by_signal.as_ref()) else {
            return (None, 0);
        };
        let (accounting, tracing) = (&mut self.accounting, &mut self.tracing);
        let mut waited = std::mem::take(&mut self.wall.waited);
        let reading = waits.read_times(&mut waited);
        // After the waits were read: if the clock has not moved since the last sample, the thread
        // has been in this wait since.
        let clock = clock.or_else(|| cpu_nanos(*cpu_clock)).filter(|&clock| clock >= thread_clock.last());
        let at = reading.at.saturating_duration_since(began).as_nanos() as u64;
        let mut snapshot = ThreadSnapshot {
            now: until.map_or(at, |until| until.min(at)),
            clock: clock.unwrap_or(0),
            shown: reading.shown,
            ..ThreadSnapshot::default()
        };
        // The frames of labels, by the labels' indexes.
        let mut labels = Vec::with_capacity(waited.len());
        for wait in waited.drain(..) {
            let label = accounting.wait_frames(&wait.label);
            snapshot.waited.push((label.clone(), wait.nanos));
            labels.push((wait.index, label));
        }
        let known = |index: usize| labels.iter().find(|(known, _)| *known == index).map(|(_, label)| label.clone());
        snapshot.waiting = snapshot.shown.index().and_then(known);
        let skipped = wall_state.skipped(tick, is_visit);
        let still = accounting.account_snapshot(thread_clock, wall_state, skipped, &snapshot);
        if let Some((tracing, still)) = tracing.as_mut().zip(still) {
            tracing.still(still);
        }
        slot.read(&mut self.address_buffer, |record| {
            let label = |index| known(index).or_else(|| waits.label(index).map(|label| accounting.wait_frames(&label)));
            let waiting = record.shown.index().and_then(label);
            let stack = accounting.account_sample(thread_clock, wall_state, record, waiting);
            if let Some(tracing) = tracing {
                tracing.sample(&record, stack, traced_clock);
            }
        });
        if let Some(tracing) = tracing {
            tracing.hand_over(sampled.handles.last());
        }
        self.wall.waited = waited;
        (clock.map(|_| snapshot), reading.changes)
    }

    /// Visits the thread at the present tick: requests a sample if it has moved, and skips it until
    /// it moves otherwise.
    pub(super) fn tick(&mut self, id: i32) {
        let tick = self.wall.schedule.tick();
        let was_visited =
            |sampled: &SampledThread| sampled.wall_state.as_ref().is_some_and(|state| state.was_visited_at(tick));
        if self.sampled.get(&id).is_none_or(was_visited) {
            // The schedule has the id twice: once for another thread that had it before.
            return;
        }
        self.account_lost(id);
        let (snapshot, changes) = self.snapshot_by_wall(id, None, None, true);
        let Some(snapshot) = snapshot else {
            self.end_if_gone(id);
            if self.sampled.contains_key(&id) {
                self.wall.schedule.add(id);
            }
            return;
        };
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        let is_unregistered = sampled.is_unregistered();
        let Some(wall_state) = &mut sampled.wall_state else { return };
        if self.sampler_id == Some(id) {
            wall_state.mark_as_sampler();
        }
        match self.accounting.tick(&sampled.thread_clock, wall_state, tick, &snapshot) {
            Progress::Moved => {
                self.wall.schedule.add(id);
                self.obstacles.send(id);
            }
            // Its account is brought up to date when it is closed.
            Progress::Sampler => {}
            progress => {
                let (is_outside, waits) = (progress == Progress::BlockedOutside, &sampled.waits);
                let arm = |flags: &mut _, number| waits.arm(changes, flags, number);
                // An unregistered thread may be sent a second signal when its stack was found, and
                // write a record without having moved. So it is visited whenever its clock is read:
                // no value of the clock is in this empty range.
                let clock = if is_unregistered {
                    RangeInclusive::new(1, 0)
                } else {
                    wall_state.unchanged_clock(snapshot.clock)
                };
                self.wall.schedule.skip(id, is_outside, clock, arm);
            }
        }
    }

    /// `time` by the recording's clock; 0 before it began.
    pub(super) fn wall_nanos(&self, time: Instant) -> u64 {
        self.nanos_since_start(time).max(0) as u64
    }
}
