//! Selects the threads that the sampler visits at each wall-clock tick. A thousand waiting threads
//! must not cost a thousand looks, nor a thousand lines of cold memory. A blocked thread is skipped
//! until its wait changes: nothing of it is read until its change flag is raised. Skipped threads
//! that are blocked in foreign calls also take turns: their CPU clocks are read. All other threads
//! are visited at each tick.
//!
//! Invariant: between two ticks, each added thread is in `moving` or in `still`. It leaves both
//! when it is not put back because it has ended. Its id may be added again before that, and is
//! there twice then. The change flag of a leaving thread is raised, so the next tick visits both, and the
//! second visit of a tick drops it.

use crate::wait;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// The number of CPU clocks that are read in turn at one tick, at 1.5 µs each. (async-profiler
/// looks at eight threads.)
const TURNS: usize = 16;

/// A tick, and when the one before it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) number: u64,
    pub(super) now: u64,
    pub(super) before: u64,
}

/// How a thread was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Still {
    /// It has moved since it was met.
    No,
    /// In a wait that it has published.
    Waits,
    /// In a foreign call, or without a processor.
    Elsewhere,
    /// It is the sampler itself, which looks from the same place each time.
    Looks,
}

/// A thread to be visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// The kernel's id.
    pub(super) id: i32,
    /// The tick at which it was last found where it had been, without being looked at any closer.
    pub(super) still: Option<Tick>,
}

#[derive(Default)]
pub(super) struct WallSchedule {
    tick: Tick,
    /// Kernel thread ids.
    moving: Vec<i32>,
    /// By the numbers of their flags. `None`: free.
    still: Vec<Option<Skipped>>,
    free: Vec<usize>,
    /// The threads in `still` that are elsewhere, in the order of their turns.
    elsewhere: VecDeque<usize>,
    flags: wait::ChangeFlags,
}

/// A thread that is skipped until its change flag is raised.
struct Skipped {
    id: i32,
    is_elsewhere: bool,
    /// What its CPU clock says as long as it is where it was.
    clock: RangeInclusive<u64>,
    still: Option<Tick>,
}

impl WallSchedule {
    pub(super) fn tick(&self) -> Tick {
        self.tick
    }

    /// The next tick visits it.
    pub(super) fn add(&mut self, id: i32) {
        self.moving.push(id);
    }

    /// The same for a thread that may be in `still`, with its flag armed at waits that are not its own
    /// any more.
    pub(super) fn call_back(&mut self, id: i32) {
        for (number, place) in self.still.iter_mut().enumerate() {
            if place.take_if(|skipped| skipped.id == id).is_some() {
                self.free.push(number);
                self.elsewhere.retain(|elsewhere| *elsewhere != number);
            }
        }
        self.add(id);
    }

    /// The next tick: puts the threads to visit into `visits`. `clock` reads a thread's CPU clock.
    pub(super) fn next(&mut self, now: u64, clock: impl Fn(i32) -> Option<u64>, visits: &mut Vec<Visit>) {
        self.tick = Tick { number: self.tick.number + 1, now, before: self.tick.now };
        visits.extend(self.moving.drain(..).map(|id| Visit { id, still: None }));
        let (still, free, mut was_elsewhere) = (&mut self.still, &mut self.free, false);
        self.flags.drain(|number| {
            // The flag of a free place may still be armed.
            if let Some(skipped) = still[number].take() {
                was_elsewhere |= skipped.is_elsewhere;
                visits.push(skipped.visit());
                free.push(number);
            }
        });
        if was_elsewhere {
            self.elsewhere.retain(|number| still[*number].is_some());
        }
        for _ in 0..self.elsewhere.len().min(TURNS) {
            let Some(number) = self.elsewhere.pop_front() else { return };
            let place = &mut still[number];
            let is_still =
                |skipped: &&mut Skipped| clock(skipped.id).is_some_and(|clock| skipped.clock.contains(&clock));
            if let Some(skipped) = place.as_mut().filter(is_still) {
                skipped.still = Some(self.tick);
                self.elsewhere.push_back(number);
            } else if let Some(skipped) = place.take() {
                visits.push(skipped.visit());
                free.push(number);
            }
        }
    }

    /// Skips a thread that was visited and has not moved, as long as its CPU clock is within
    /// `clock`. `arm` arms the flag of that number at its waits. If that fails, the waits have changed
    /// meanwhile.
    pub(super) fn skip(
        &mut self,
        id: i32,
        is_elsewhere: bool,
        clock: RangeInclusive<u64>,
        arm: impl FnOnce(&mut wait::ChangeFlags, usize) -> bool,
    ) {
        let number = self.free.pop().unwrap_or(self.still.len());
        if number == self.still.len() {
            self.still.push(None);
        }
        if !arm(&mut self.flags, number) {
            self.free.push(number);
            return self.moving.push(id);
        }
        self.still[number] = Some(Skipped { id, is_elsewhere, clock, still: None });
        if is_elsewhere {
            self.elsewhere.push_back(number);
        }
    }
}

impl Skipped {
    fn visit(self) -> Visit {
        Visit { id: self.id, still: self.still }
    }
}

#[cfg(test)]
impl WallSchedule {
    /// How often that thread is skipped over.
    pub(super) fn passes_over(&self, id: i32) -> usize {
        self.still.iter().flatten().filter(|skipped| skipped.id == id).count()
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

    fn skip(wall_schedule: &mut WallSchedule, id: i32, is_elsewhere: bool, waits: &Slot) {
        let changes = waits.read_times(&mut Vec::new()).changes;
        wall_schedule.skip(id, is_elsewhere, 100..=120, |flags, number| waits.arm(changes, flags, number));
    }

    #[test]
    fn unchanged_threads_are_visited_after_a_change_or_when_their_clock_moves() {
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
            assert_eq!(read.iter().sum::<usize>(), 6 * TURNS);
        }
        // One that waits, and one elsewhere that had its turn: it was still there then.
        for id in [95, 7] {
            let _me = become_thread("main/moves".into(), waits[id].clone());
            drop(publish("queue", "q".into()));
        }
        wall_schedule.next(80, clock, &mut visits);
        visits.sort_by_key(|visit| visit.id);
        let seventh = Tick { number: 7, now: 70, before: 60 };
        // The sixth turn comes to those from 81 to 89, and then to the first seven again.
        assert_eq!((visits[1].still, visits[2].still), (Some(seventh), None));
        assert_eq!(ids(&mut visits), [0, 7, 95]);
        // Their numbers are others' now, and those that they were looked at last with ring no more.
        skip(&mut wall_schedule, 7, false, &waits[7]);
        skip(&mut wall_schedule, 95, false, &waits[95]);
        wall_schedule.next(90, clock, &mut visits);
        assert!(visits.is_empty());
    }

    #[test]
    fn a_clock_that_has_gone_on_or_back_or_is_gone_has_its_thread_looked_at() {
        let (mut wall_schedule, mut visits, waits) = (WallSchedule::default(), Vec::new(), Slot::default());
        (1..=4).for_each(|id| skip(&mut wall_schedule, id, true, &waits));
        wall_schedule.next(10, |_| Some(100), &mut visits);
        assert_eq!(visits, []);
        let clocks = |id: i32| [Some(120), Some(121), Some(99), None][id as usize - 1];
        wall_schedule.next(20, clocks, &mut visits);
        let still = Some(Tick { number: 1, now: 10, before: 0 });
        assert_eq!(visits, [2, 3, 4].map(|id| Visit { id, still }));
        visits.clear();
        wall_schedule.next(30, clocks, &mut visits);
        assert_eq!(visits, []);
    }

    #[test]
    fn a_thread_that_moved_leaves_its_turn_to_none() {
        let (mut wall_schedule, mut visits) = (WallSchedule::default(), Vec::new());
        let waits: Vec<Arc<Slot>> = (0..TURNS + 2).map(|_| Arc::default()).collect();
        (0..=TURNS).for_each(|id| skip(&mut wall_schedule, id as i32, true, &waits[id]));
        {
            // Its turn would come with the second tick.
            let _me = become_thread("main/moves".into(), waits[TURNS].clone());
            drop(publish("queue", "q".into()));
        }
        wall_schedule.next(10, |_| Some(110), &mut visits);
        assert_eq!(ids(&mut visits), [TURNS as i32]);
        // Another thread gets its number, and waits: that CPU clock is not asked.
        let other = TURNS + 1;
        skip(&mut wall_schedule, other as i32, false, &waits[other]);
        let clock = |id: i32| {
            assert_ne!(id, other as i32, "a thread that waits has no turn");
            Some(110)
        };
        wall_schedule.next(20, clock, &mut visits);
        assert_eq!(visits, []);
    }

    #[test]
    fn who_has_changed_meanwhile_or_is_called_back_is_looked_at_with_the_next_tick() {
        let (mut wall_schedule, mut visits, waits) = (WallSchedule::default(), Vec::new(), Arc::<Slot>::default());
        let before = waits.read_times(&mut Vec::new()).changes;
        drop((become_thread("main/moves".into(), waits.clone()), publish("queue", "q".into())));
        wall_schedule.skip(7, false, 0..=9, |flags, number| waits.arm(before, flags, number));
        wall_schedule.next(10, |_| None, &mut visits);
        assert_eq!(ids(&mut visits), [7]);
        for is_elsewhere in [false, true] {
            skip(&mut wall_schedule, 7, is_elsewhere, &waits);
            wall_schedule.call_back(7);
            wall_schedule.next(20, |_| unreachable!("nobody is elsewhere"), &mut visits);
            assert_eq!(ids(&mut visits), [7]);
        }
    }
}
