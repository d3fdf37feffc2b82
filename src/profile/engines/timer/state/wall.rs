//! The wall clock: a thread's look at its waits, and what the sampler does with it at each tick.
//!
//! Invariants
//! 1. A handler reads the waits that its slot names. They are those in `Held::waits`, or they wait
//!    in `left_waits` for a grace that began after the slot named others.
//! 2. At each look the thread's counted waits are read before its ring is. So a record whose wait
//!    is not among those that were read is of a wait that began after the reading, whose label is
//!    still there.

use super::{Held, State, nanos};
use crate::profile::engines::timer::books::Seen;
use crate::profile::engines::timer::wall_schedule::Still;
use crate::thread::Thread;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

impl State {
    /// By the wall clock, the thread's waits are counted from now on, and shown to its handler.
    /// `thread` publishes them: the one in charge, which was another one before.
    pub(super) fn watch_waits(&mut self, id: i32, thread: &Thread) {
        let (began, waits) = (self.began, thread.waits());
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.watch.is_some() {
            waits.begin_times(thread.started_at().max(began));
            // SAFETY: it is in `held.waits` until the slot was taken from the entry (invariant 1 of
            // `State`), or until this is called again, which keeps it for a grace.
            unsafe { held.slot.watch_waits(Arc::as_ptr(&waits)) };
        }
        let before = std::mem::replace(&mut held.waits, waits);
        if held.watch.is_some() && !Arc::ptr_eq(&before, &held.waits) {
            before.end_times();
            self.left_waits.push((before, held.entry.grace()));
        }
        self.free_left_waits();
    }

    pub(super) fn free_left_waits(&mut self) {
        self.left_waits.retain(|(_, grace)| !grace.is_over());
    }

    /// Moves what the thread has counted and what its handler has written into the books, by the
    /// wall clock, up to `until` at the latest. `at_tick`: it is looked at with this tick. Returns
    /// what was found, and the number of changes of its waits up to then; `None` for the first if
    /// its CPU clock cannot be read, or is another thread's.
    pub(super) fn look_by_wall(
        &mut self,
        id: i32,
        clock: Option<u64>,
        until: Option<u64>,
        at_tick: bool,
    ) -> (Option<Seen>, u64) {
        let (tick, began) = (self.wall_schedule.tick(), self.began);
        let Some(held) = self.held.get_mut(&id) else { return (None, 0) };
        let Held { slot, waits, watch: Some(watch), meter, clock: thread_clock, .. } = held else { return (None, 0) };
        let (books, mut waited) = (&mut self.books, std::mem::take(&mut self.waited));
        let reading = waits.read_times(&mut waited);
        // After the waits were read: if it has not moved, it has been in this wait since it was
        // met.
        let clock = clock.or_else(|| nanos(*thread_clock)).filter(|&clock| clock >= meter.last());
        let at = reading.at.saturating_duration_since(began).as_nanos() as u64;
        let mut seen = Seen {
            now: until.map_or(at, |until| until.min(at)),
            clock: clock.unwrap_or(0),
            shown: reading.shown,
            ..Seen::default()
        };
        // Frames of labels, by their indexes.
        let mut labels = Vec::with_capacity(waited.len());
        for one in waited.drain(..) {
            let label = books.frame(&one.label);
            seen.waited.push((label.clone(), one.nanos));
            labels.push((one.index, label));
        }
        let known = |index: usize| labels.iter().find(|(known, _)| *known == index).map(|(_, label)| label.clone());
        seen.waiting = seen.shown.index().and_then(known);
        books.looked_at(meter, watch, watch.skipped(tick, at_tick), &seen);
        slot.read(&mut self.buffer, |record| {
            let label = |index| known(index).or_else(|| waits.label(index).map(|label| books.frame(&label)));
            let waiting = record.shown.index().and_then(label);
            books.met(meter, watch, record, waiting);
        });
        self.waited = waited;
        (clock.map(|_| seen), reading.changes)
    }

    /// A tick of the wall clock for that thread.
    pub(super) fn tick(&mut self, id: i32) {
        let tick = self.wall_schedule.tick();
        let was_looked_at = |held: &Held| held.watch.as_ref().is_some_and(|watch| watch.was_looked_at(tick));
        if self.held.get(&id).is_none_or(was_looked_at) {
            // It is in the wall_schedule twice: for another thread that had the id before.
            return;
        }
        self.count_lost(id);
        let (seen, changes) = self.look_by_wall(id, None, None, true);
        let Some(seen) = seen else {
            self.forget_if_gone(id);
            if self.held.contains_key(&id) {
                self.wall_schedule.add(id);
            }
            return;
        };
        let Some(held) = self.held.get_mut(&id) else { return };
        let is_unregistered = held.is_unregistered();
        let Some(watch) = &mut held.watch else { return };
        if self.sampler == Some(id) {
            watch.looks();
        }
        match self.books.tick(&held.meter, watch, tick, &seen) {
            Still::No => {
                self.wall_schedule.add(id);
                self.refused.send(id);
            }
            // Nothing that it does would be seen from elsewhere.
            Still::Looks => {}
            still => {
                let (is_elsewhere, waits) = (still == Still::Elsewhere, &held.waits);
                let arm = |flags: &mut _, number| waits.arm(changes, flags, number);
                // A unregistered thread may be asked again where it is, and answer without having moved: it is
                // to be looked at in its turn.
                let clock = if is_unregistered { RangeInclusive::new(1, 0) } else { watch.still(seen.clock) };
                self.wall_schedule.skip(id, is_elsewhere, clock, arm);
            }
        }
    }

    /// A time of the recording's clock.
    pub(super) fn wall(&self, time: Instant) -> u64 {
        self.time(time).max(0) as u64
    }
}
