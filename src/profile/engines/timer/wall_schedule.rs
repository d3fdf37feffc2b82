//! The wall schedule: selects the threads that the sampler visits at each wall-clock tick. A
//! thousand waiting threads must not cost a thousand visits, nor a thousand lines of cold memory.
//! Knows kernel thread ids, CPU clocks and change flags; no stacks and no accounting.
//!
//! A thread that has moved since its last visit is visited at each tick. A thread that has not
//! moved is skipped: nothing of it is read until the change flag at its wait is raised. A skipped
//! thread that is in no wait of this crate has no such wait to change, so its CPU clock is read in
//! turn.
//!
//! Invariant: between two ticks, each added thread is in `moving` or in `skipped`. It leaves both
//! when it is not put back because it has ended. Its id may be added again before that, and is
//! there twice then. The change flag of a leaving thread is raised, so the next tick visits both,
//! and the second visit of a tick drops it.

use crate::wait;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// The number of CPU clocks that are read in turn at one tick, at 1.5 µs each. (async-profiler
/// signals eight threads.)
const CLOCKS_PER_TICK: usize = 16;

/// A tick of the wall clock, in nanoseconds since the recording began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tick {
    /// The first tick is 1.
    pub(super) number: u64,
    pub(super) now: u64,
    /// The time of the tick before.
    pub(super) before: u64,
}

/// What a visit has found a thread to do since its last sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has moved.
    Moved,
    /// It is in the same wait of this crate.
    Waiting,
    /// It has not moved, and is in no wait of this crate: it is blocked in other code, or waits for
    /// a processor.
    BlockedOutside,
    /// It is the sampler, which always visits from the same place.
    Sampler,
}

/// A thread to be visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// The kernel's id.
    pub(super) id: i32,
    /// The last tick at which its CPU clock said that it had not moved, while it was skipped.
    pub(super) unchanged_at: Option<Tick>,
}

#[derive(Default)]
pub(super) struct WallSchedule {
    tick: Tick,
    /// The kernel ids of the threads to visit at the next tick.
    moving: Vec<i32>,
    /// By the numbers of their change flags. `None`: free.
    skipped: Vec<Option<Skipped>>,
    /// The free places in `skipped`.
    free: Vec<usize>,
    /// The places in `skipped` of the threads blocked outside this crate, in the order in which
    /// their CPU clocks are read.
    outside: VecDeque<usize>,
    flags: wait::ChangeFlags,
}

/// A thread that is skipped until its change flag is raised.
struct Skipped {
    id: i32,
    is_outside: bool,
    /// The values of its CPU clock that say that it has not moved.
    clock: RangeInclusive<u64>,
    unchanged_at: Option<Tick>,
}

impl WallSchedule {
    pub(super) fn tick(&self) -> Tick {
        self.tick
    }

    /// The next tick visits the thread.
    pub(super) fn add(&mut self, id: i32) {
        self.moving.push(id);
    }

    /// The next tick visits the thread, which may be in `skipped` with a flag armed at a wait slot
    /// that is no longer its own.
    pub(super) fn reschedule(&mut self, id: i32) {
        for (number, place) in self.skipped.iter_mut().enumerate() {
            if place.take_if(|skipped| skipped.id == id).is_some() {
                self.free.push(number);
                self.outside.retain(|outside| *outside != number);
            }
        }
        self.add(id);
    }

    /// The next tick: puts the threads to visit into `visits`. `clock` reads a thread's CPU clock.
    pub(super) fn next(&mut self, now: u64, clock: impl Fn(i32) -> Option<u64>, visits: &mut Vec<Visit>) {
        self.tick = Tick { number: self.tick.number + 1, now, before: self.tick.now };
        visits.extend(self.moving.drain(..).map(|id| Visit { id, unchanged_at: None }));
        let (skipped, free, mut was_outside) = (&mut self.skipped, &mut self.free, false);
        self.flags.drain(|number| {
            // The flag of a free place may still be armed.
            if let Some(changed) = skipped[number].take() {
                was_outside |= changed.is_outside;
                visits.push(changed.visit());
                free.push(number);
            }
        });
        if was_outside {
            self.outside.retain(|number| skipped[*number].is_some());
        }
        for _ in 0..self.outside.len().min(CLOCKS_PER_TICK) {
            let Some(number) = self.outside.pop_front() else { return };
            let place = &mut skipped[number];
            let is_unchanged =
                |skipped: &&mut Skipped| clock(skipped.id).is_some_and(|clock| skipped.clock.contains(&clock));
            if let Some(unchanged) = place.as_mut().filter(is_unchanged) {
                unchanged.unchanged_at = Some(self.tick);
                self.outside.push_back(number);
            } else if let Some(changed) = place.take() {
                visits.push(changed.visit());
                free.push(number);
            }
        }
    }

    /// Skips a thread that was visited and has not moved, while its CPU clock is within `clock`.
    /// `arm` arms the change flag of that number at the thread's wait slot. It returns `false` if
    /// the wait has changed since the visit; then the next tick visits the thread.
    pub(super) fn skip(
        &mut self,
        id: i32,
        is_outside: bool,
        clock: RangeInclusive<u64>,
        arm: impl FnOnce(&mut wait::ChangeFlags, usize) -> bool,
    ) {
        let number = self.free.pop().unwrap_or(self.skipped.len());
        if number == self.skipped.len() {
            self.skipped.push(None);
        }
        if !arm(&mut self.flags, number) {
            self.free.push(number);
            return self.moving.push(id);
        }
        self.skipped[number] = Some(Skipped { id, is_outside, clock, unchanged_at: None });
        if is_outside {
            self.outside.push_back(number);
        }
    }
}

impl Skipped {
    fn visit(self) -> Visit {
        Visit { id: self.id, unchanged_at: self.unchanged_at }
    }
}

#[cfg(test)]
impl WallSchedule {
    /// How many entries of `skipped` have that thread.
    pub(super) fn times_skipped(&self, id: i32) -> usize {
        self.skipped.iter().flatten().filter(|skipped| skipped.id == id).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{Slot, become_thread, publish};
    use std::cell::RefCell;
    use std::sync::Arc;

    fn ids(visits: &mut Vec<Visit>) -> Vec<i32> {
        visits.drain(..).map(|visit| visit.id).collect()
    }

    fn skip(wall_schedule: &mut WallSchedule, id: i32, is_outside: bool, waits: &Slot) {
        let changes = waits.read_times(&mut Vec::new()).changes;
        wall_schedule.skip(id, is_outside, 100..=120, |flags, number| waits.arm(changes, flags, number));
    }

    #[test]
    fn a_skipped_thread_returns_when_its_wait_or_clock_changes() {
        let (mut wall_schedule, mut visits) = (WallSchedule::default(), Vec::new());
        let waits: Vec<Arc<Slot>> = (0..100).map(|_| Arc::default()).collect();
        let read = RefCell::new(vec![0; 100]);
        let clock = |id: i32| {
            read.borrow_mut()[id as usize] += 1;
            Some(110)
        };
        (0..100).for_each(|id| wall_schedule.add(id));
        wall_schedule.next(10, clock, &mut visits);
        assert_eq!(ids(&mut visits), (0..100).collect::<Vec<_>>());
        wall_schedule.add(0);
        (1..100).for_each(|id| skip(&mut wall_schedule, id, id < 90, &waits[id as usize]));
        for tick in 2..8 {
            wall_schedule.next(tick * 10, clock, &mut visits);
            assert_eq!(wall_schedule.tick(), Tick { number: tick, now: tick * 10, before: tick * 10 - 10 });
            assert_eq!(ids(&mut visits), [0]);
            wall_schedule.add(0);
        }
        {
            let read = read.borrow();
            assert!(read[1..90].iter().all(|&times| times == 1 || times == 2), "{read:?}");
            assert_eq!(read.iter().sum::<usize>(), 6 * CLOCKS_PER_TICK);
        }
        // A waiting thread, and a thread outside whose clock was read: it had not moved then.
        for id in [95, 7] {
            let _me = become_thread("main/moves".into(), waits[id].clone());
            drop(publish("queue", "q".into()));
        }
        wall_schedule.next(80, clock, &mut visits);
        visits.sort_by_key(|visit| visit.id);
        let seventh = Tick { number: 7, now: 70, before: 60 };
        // At the sixth tick the clocks of 81 to 89 are read, and then the clocks of the first seven
        // again.
        assert_eq!((visits[1].unchanged_at, visits[2].unchanged_at), (Some(seventh), None));
        assert_eq!(ids(&mut visits), [0, 7, 95]);
        // They get new flag numbers, and the flags of their last ones are not raised any more.
        skip(&mut wall_schedule, 7, false, &waits[7]);
        skip(&mut wall_schedule, 95, false, &waits[95]);
        wall_schedule.next(90, clock, &mut visits);
        assert!(visits.is_empty());
    }

    #[test]
    fn a_changed_or_missing_clock_ends_skipping() {
        let (mut wall_schedule, mut visits, waits) = (WallSchedule::default(), Vec::new(), Slot::default());
        (1..=4).for_each(|id| skip(&mut wall_schedule, id, true, &waits));
        wall_schedule.next(10, |_| Some(100), &mut visits);
        assert_eq!(visits, []);
        let clocks = |id: i32| [Some(120), Some(121), Some(99), None][id as usize - 1];
        wall_schedule.next(20, clocks, &mut visits);
        let unchanged_at = Some(Tick { number: 1, now: 10, before: 0 });
        assert_eq!(visits, [2, 3, 4].map(|id| Visit { id, unchanged_at }));
        visits.clear();
        wall_schedule.next(30, clocks, &mut visits);
        assert_eq!(visits, []);
    }

    #[test]
    fn a_freed_place_in_the_schedule_has_no_clock_turn() {
        let (mut wall_schedule, mut visits) = (WallSchedule::default(), Vec::new());
        let waits: Vec<Arc<Slot>> = (0..CLOCKS_PER_TICK + 2).map(|_| Arc::default()).collect();
        (0..=CLOCKS_PER_TICK).for_each(|id| skip(&mut wall_schedule, id as i32, true, &waits[id]));
        {
            // Its clock would be read at the second tick.
            let _me = become_thread("main/moves".into(), waits[CLOCKS_PER_TICK].clone());
            drop(publish("queue", "q".into()));
        }
        wall_schedule.next(10, |_| Some(110), &mut visits);
        assert_eq!(ids(&mut visits), [CLOCKS_PER_TICK as i32]);
        // Another thread gets its number, and waits: its CPU clock is not read.
        let other = CLOCKS_PER_TICK + 1;
        skip(&mut wall_schedule, other as i32, false, &waits[other]);
        let clock = |id: i32| {
            assert_ne!(id, other as i32, "the clock of a waiting thread was read");
            Some(110)
        };
        wall_schedule.next(20, clock, &mut visits);
        assert_eq!(visits, []);
    }

    #[test]
    fn a_rescheduled_thread_is_visited_at_the_next_tick() {
        let (mut wall_schedule, mut visits, waits) = (WallSchedule::default(), Vec::new(), Arc::<Slot>::default());
        let before = waits.read_times(&mut Vec::new()).changes;
        drop((become_thread("main/moves".into(), waits.clone()), publish("queue", "q".into())));
        wall_schedule.skip(7, false, 0..=9, |flags, number| waits.arm(before, flags, number));
        wall_schedule.next(10, |_| None, &mut visits);
        assert_eq!(ids(&mut visits), [7]);
        for is_outside in [false, true] {
            skip(&mut wall_schedule, 7, is_outside, &waits);
            wall_schedule.reschedule(7);
            wall_schedule.next(20, |_| unreachable!("no thread is outside"), &mut visits);
            assert_eq!(ids(&mut visits), [7]);
        }
    }
}
