//! The wall clock: a thread's look at its waits, and what the sampler does with it at each tick.
//!
//! Invariants
//! 1. A handler reads the waits that its slot names. They are those in `SampledThread::waits`, or they wait
//!    in `retired_waits` for a grace that began after the slot named others.
//! 2. At each look the thread's counted waits are read before its ring is. So a record whose wait
//!    is not among those that were read is of a wait that began after the reading, whose label is
//!    still there.

use super::{SampledThread, State, nanos};
use crate::profile::engines::timer::accounting::ThreadSnapshot;
use crate::profile::engines::timer::wall_schedule::Progress;
use crate::thread::Thread;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

impl State {
    /// By the wall clock, the thread's waits are counted from now on, and shown to its handler.
    /// `thread` publishes them: the one in charge, which was another one before.
    pub(super) fn show_waits(&mut self, id: i32, thread: &Thread) {
        let (began, waits) = (self.began, thread.waits());
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if sampled.wall_state.is_some() {
            waits.begin_times(thread.started_at().max(began));
            // SAFETY: it is in `sampled.waits` until the slot was taken from the entry (invariant 1 of
            // `State`), or until this is called again, which keeps it for a grace.
            unsafe { sampled.slot.set_wait_slot(Arc::as_ptr(&waits)) };
        }
        let before = std::mem::replace(&mut sampled.waits, waits);
        if sampled.wall_state.is_some() && !Arc::ptr_eq(&before, &sampled.waits) {
            before.end_times();
            self.retired_waits.push((before, sampled.entry.grace()));
        }
        self.free_retired_waits();
    }

    pub(super) fn free_retired_waits(&mut self) {
        self.retired_waits.retain(|(_, grace)| !grace.is_over());
    }

    /// Moves what the thread has counted and what its handler has written into the books, by the
    /// wall clock, up to `until` at the latest. `at_tick`: it is looked at with this tick. Returns
    /// what was found, and the number of changes of its waits up to then; `None` for the first if
    /// its CPU clock cannot be read, or is another thread's.
    pub(super) fn snapshot_by_wall(
        &mut self,
        id: i32,
        clock: Option<u64>,
        until: Option<u64>,
        at_tick: bool,
    ) -> (Option<ThreadSnapshot>, u64) {
        let (tick, began) = (self.wall_schedule.tick(), self.began);
        let Some(sampled) = self.sampled.get_mut(&id) else { return (None, 0) };
        let SampledThread { slot, waits, wall_state: Some(wall_state), thread_clock, clock: cpu_clock, .. } = sampled
        else {
            return (None, 0);
        };
        let (accounting, mut waited) = (&mut self.accounting, std::mem::take(&mut self.waited));
        let reading = waits.read_times(&mut waited);
        // After the waits were read: if it has not moved, it has been in this wait since it was
        // met.
        let clock = clock.or_else(|| nanos(*cpu_clock)).filter(|&clock| clock >= thread_clock.last());
        let at = reading.at.saturating_duration_since(began).as_nanos() as u64;
        let mut snapshot = ThreadSnapshot {
            now: until.map_or(at, |until| until.min(at)),
            clock: clock.unwrap_or(0),
            shown: reading.shown,
            ..ThreadSnapshot::default()
        };
        // Frames of labels, by their indexes.
        let mut labels = Vec::with_capacity(waited.len());
        for one in waited.drain(..) {
            let label = accounting.frame(&one.label);
            snapshot.waited.push((label.clone(), one.nanos));
            labels.push((one.index, label));
        }
        let known = |index: usize| labels.iter().find(|(known, _)| *known == index).map(|(_, label)| label.clone());
        snapshot.waiting = snapshot.shown.index().and_then(known);
        accounting.account_snapshot(thread_clock, wall_state, wall_state.skipped(tick, at_tick), &snapshot);
        slot.read(&mut self.buffer, |record| {
            let label = |index| known(index).or_else(|| waits.label(index).map(|label| accounting.frame(&label)));
            let waiting = record.shown.index().and_then(label);
            accounting.account_sample(thread_clock, wall_state, record, waiting);
        });
        self.waited = waited;
        (clock.map(|_| snapshot), reading.changes)
    }

    /// A tick of the wall clock for that thread.
    pub(super) fn tick(&mut self, id: i32) {
        let tick = self.wall_schedule.tick();
        let was_ticked =
            |sampled: &SampledThread| sampled.wall_state.as_ref().is_some_and(|wall_state| wall_state.was_ticked(tick));
        if self.sampled.get(&id).is_none_or(was_ticked) {
            // It is in the wall_schedule twice: for another thread that had the id before.
            return;
        }
        self.count_lost(id);
        let (snapshot, changes) = self.snapshot_by_wall(id, None, None, true);
        let Some(snapshot) = snapshot else {
            self.end_if_gone(id);
            if self.sampled.contains_key(&id) {
                self.wall_schedule.add(id);
            }
            return;
        };
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        let is_unregistered = sampled.is_unregistered();
        let Some(wall_state) = &mut sampled.wall_state else { return };
        if self.sampler == Some(id) {
            wall_state.mark_as_sampler();
        }
        match self.accounting.tick(&sampled.thread_clock, wall_state, tick, &snapshot) {
            Progress::Moved => {
                self.wall_schedule.add(id);
                self.obstacles.send(id);
            }
            // Nothing that it does would be seen from elsewhere.
            Progress::Sampler => {}
            progress => {
                let (is_outside, waits) = (progress == Progress::BlockedOutside, &sampled.waits);
                let arm = |flags: &mut _, number| waits.arm(changes, flags, number);
                // A unregistered thread may be asked again where it is, and answer without having moved: it is
                // to be looked at in its turn.
                let clock = if is_unregistered {
                    RangeInclusive::new(1, 0)
                } else {
                    wall_state.unchanged_clock(snapshot.clock)
                };
                self.wall_schedule.skip(id, is_outside, clock, arm);
            }
        }
    }

    /// A time of the recording's clock.
    pub(super) fn wall(&self, time: Instant) -> u64 {
        self.time(time).max(0) as u64
    }
}
