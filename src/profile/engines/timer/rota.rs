//! Whom the sampler looks at with each tick of the wall clock. A thousand threads that wait must not cost a thousand looks: one
//! that is still in the wait that it has published is passed over; those that are blocked elsewhere, as far as their CPU
//! clocks tell, take turns; all others are looked at each time.
//!
//! Invariant: each thread that was added is in one of the three lists between two ticks, until it is not put back since it has
//! ended. Its id may be given to another thread before that, and is there twice then: the second look of a tick drops it.

use crate::wait;
use std::collections::VecDeque;
use std::sync::Arc;

/// Of those that take turns, how many have theirs at one tick: two microseconds each. (async-profiler looks at eight threads.)
const TURNS: usize = 16;

/// A tick, and when the one before it was.
#[derive(Clone, Copy, Debug, Default)]
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
    /// In a wait that it has published, under this number.
    Waits(u64),
    /// In a foreign call, or without a processor.
    Elsewhere,
}

#[derive(Default)]
pub(super) struct Rota {
    tick: Tick,
    /// Kernel thread ids, here and below.
    moving: Vec<i32>,
    elsewhere: VecDeque<i32>,
    waiting: Vec<(i32, u64, Arc<wait::Slot>)>,
}

impl Rota {
    pub(super) fn tick(&self) -> Tick {
        self.tick
    }

    pub(super) fn add(&mut self, id: i32) {
        self.moving.push(id);
    }

    /// The next tick: moves those who are to be looked at into `threads`.
    pub(super) fn next(&mut self, now: u64, threads: &mut Vec<i32>) {
        self.tick = Tick { number: self.tick.number + 1, now, before: self.tick.now };
        threads.append(&mut self.moving);
        threads.extend(self.elsewhere.drain(..self.elsewhere.len().min(TURNS)));
        self.waiting.retain(|(id, publication, waits)| {
            let waits_still = waits.changes() == *publication;
            if !waits_still {
                threads.push(*id);
            }
            waits_still
        });
    }

    /// One that was looked at, and how it was found.
    pub(super) fn put(&mut self, id: i32, still: Still, waits: &Arc<wait::Slot>) {
        match still {
            Still::No => self.moving.push(id),
            Still::Elsewhere => self.elsewhere.push_back(id),
            Still::Waits(publication) => self.waiting.push((id, publication, waits.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{become_thread, publish};

    #[test]
    fn who_moves_is_looked_at_each_time_and_who_is_elsewhere_in_turn_and_who_waits_when_that_has_ended() {
        let mut rota = Rota::default();
        let (waits, idle) = (Arc::<wait::Slot>::default(), Arc::default());
        (0..100).for_each(|id| rota.add(id));
        let mut threads = Vec::new();
        rota.next(10, &mut threads);
        assert_eq!(threads, (0..100).collect::<Vec<_>>());
        let me = become_thread("main/waits".into(), waits.clone());
        let published = publish("queue", "q".into());
        for id in threads.drain(..) {
            let still = match id {
                0 => Still::No,
                1..90 => Still::Elsewhere,
                _ => Still::Waits(waits.changes()),
            };
            rota.put(id, still, if id < 90 { &idle } else { &waits });
        }
        let mut seen = [0; 100];
        for tick in 2..8 {
            rota.next(tick * 10, &mut threads);
            assert_eq!((rota.tick().number, rota.tick().now, rota.tick().before), (tick, tick * 10, tick * 10 - 10));
            for id in threads.drain(..) {
                seen[id as usize] += 1;
                rota.put(id, if id == 0 { Still::No } else { Still::Elsewhere }, &idle);
            }
        }
        assert!(seen[0] == 6 && seen[1..90].iter().all(|&times| times == 1 || times == 2), "{seen:?}");
        assert_eq!(seen[1..].iter().sum::<usize>(), 6 * TURNS);
        drop((published, me));
        rota.next(50, &mut threads);
        assert!((90..100).all(|id| threads.contains(&id)) && threads.len() == 1 + TURNS + 10);
    }
}
