//! How many values each queue had, as the sampler saw it from time to time, in bounded memory.
//!
//! Invariants
//! 1. A queue has at most one point in each stretch of `step` nanoseconds: the last one there.
//! 2. There are at most [`MOST_POINTS`] points and [`MOST_QUEUES`] queues after each call. When there
//!    are more points, `step` doubles. So a recording of a week has as many as one of minutes.

use crate::queue::Depth;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Points of all queues together: 2 MiB.
const MOST_POINTS: usize = if cfg!(test) { 64 } else { 1 << 17 };

/// Queues that are told apart. Beyond that a queue that is gone makes room for a new one.
const MOST_QUEUES: usize = if cfg!(test) { 4 } else { 256 };

/// The depths of all queues.
#[derive(Clone, Debug)]
pub(super) struct Depths {
    /// By id, which is by age.
    queues: BTreeMap<u64, Series>,
    points: usize,
    step: u64,
}

/// The depths of one queue.
#[derive(Clone, Debug)]
struct Series {
    name: Arc<str>,
    /// A time and the depth from then on, where it differs from the one before. The oldest first.
    points: Vec<(u64, u64)>,
    is_gone: bool,
}

impl Depths {
    /// `step`: nanoseconds between two points of a queue, at least.
    pub(super) fn new(step: u64) -> Depths {
        Depths { queues: BTreeMap::new(), points: 0, step }
    }

    /// Returns `true` if the queue has a name here.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.queues.contains_key(&id)
    }

    /// The queues as they are at that time. A known queue that is not among them is gone.
    pub(super) fn add(&mut self, at: u64, depths: &[Depth]) {
        let step = self.step;
        for (id, series) in &mut self.queues {
            if !series.is_gone && depths.binary_search_by_key(id, |depth| depth.id).is_err() {
                series.is_gone = true;
                self.points += series.add(at, 0, step);
            }
        }
        for depth in depths {
            if !self.queues.contains_key(&depth.id) {
                let Some(name) = depth.name.clone().filter(|_| self.has_room()) else { continue };
                self.queues.insert(depth.id, Series { name, points: Vec::new(), is_gone: false });
            }
            if let Some(series) = self.queues.get_mut(&depth.id) {
                self.points += series.add(at, depth.len, step);
            }
        }
        while self.points > MOST_POINTS {
            self.step *= 2;
            self.queues.values_mut().for_each(|series| series.thin(self.step));
            self.points = self.queues.values().map(|series| series.points.len()).sum();
        }
    }

    /// Makes room for one more queue, if need be.
    fn has_room(&mut self) -> bool {
        if self.queues.len() >= MOST_QUEUES {
            let gone = self.queues.iter().find(|(_, series)| series.is_gone).map(|(id, _)| *id);
            let forgotten = gone.and_then(|id| self.queues.remove(&id));
            self.points -= forgotten.map_or(0, |series| series.points.len());
        }
        self.queues.len() < MOST_QUEUES
    }

    /// Each queue that ever had a value: its name, and its points.
    pub(super) fn each(self) -> impl Iterator<Item = (Arc<str>, Vec<(u64, u64)>)> {
        let used = self.queues.into_values().filter(|series| series.points.iter().any(|(_, depth)| *depth > 0));
        used.map(|series| (series.name, series.points))
    }
}

impl Series {
    /// Returns the number of points that are added.
    fn add(&mut self, at: u64, depth: u64, step: u64) -> usize {
        match self.points.last_mut() {
            Some((_, last)) if *last == depth => 0,
            Some((last, known)) if *last / step == at / step => {
                (*last, *known) = (at, depth);
                0
            }
            _ => {
                self.points.push((at, depth));
                1
            }
        }
    }

    fn thin(&mut self, step: u64) {
        let points = std::mem::take(&mut self.points);
        for (at, depth) in points {
            self.add(at, depth, step);
        }
        // What is kept of a long recording is little at first.
        self.points.shrink_to(2 * self.points.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(id: u64, len: u64) -> Depth {
        Depth { id, name: Some(format!("queue-{id}").into()), len }
    }

    #[test]
    fn a_depth_is_kept_where_it_changes() {
        let mut depths = Depths::new(10);
        depths.add(100, &[depth(1, 0), depth(2, 3)]);
        depths.add(120, &[depth(1, 0), depth(2, 3)]);
        depths.add(140, &[depth(1, 0), depth(2, 5)]);
        // In one step: the last one.
        depths.add(145, &[depth(1, 0), depth(2, 4)]);
        depths.add(160, &[depth(1, 0)]);
        let all: Vec<_> = depths.each().collect();
        assert_eq!(all, [("queue-2".into(), vec![(100, 3), (145, 4), (160, 0)])]);
    }

    #[test]
    fn a_week_of_changes_takes_no_more_memory_than_minutes() {
        let mut depths = Depths::new(20);
        for round in 0..100_000u64 {
            depths.add(20 * round, &[depth(1, round % 7), depth(2, round / 50_000)]);
            assert!(depths.points <= MOST_POINTS);
        }
        assert_eq!(depths.points, depths.queues.values().map(|series| series.points.len()).sum::<usize>());
        let all: Vec<_> = depths.each().collect();
        let (_, first) = &all[0];
        assert!(first.len() > MOST_POINTS / 4, "{}", first.len());
        // Rare changes are kept, and the last depth is the right one.
        assert_eq!(all[1].1.last().map(|point| point.1), Some(1));
        assert_eq!(first.last().map(|point| point.1), Some(99_999 % 7));
    }

    #[test]
    fn queues_that_are_gone_make_room() {
        let mut depths = Depths::new(10);
        for id in 1..1_000u64 {
            depths.add(20 * id, &[depth(0, 1), depth(id, 2)]);
            assert!(depths.queues.len() <= MOST_QUEUES && depths.knows(0) && depths.knows(id));
        }
        // All live: a further one is not told apart.
        depths.add(30_000, &(0..10).map(|id| depth(id + 5_000, 1)).collect::<Vec<_>>());
        assert!(depths.queues.len() <= MOST_QUEUES);
        assert_eq!(depths.points, depths.queues.values().map(|series| series.points.len()).sum::<usize>());
    }
}
