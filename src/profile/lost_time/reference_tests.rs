//! Blame and the critical path again, nanosecond by nanosecond: what the first implementation is
//! compared with. They share no code but the events.

use super::course::Activity;
use super::losses::Loss;
use crate::profile::trace::{StackNumber, Trace, TracedEnder, TracedThread, TracedWait};
use std::collections::{BTreeMap, HashMap};

/// What a thread does in one nanosecond.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cell {
    Absent,
    Waits(usize),
    Runnable,
    Does(Activity),
}

/// The second implementation: a cell for each thread and nanosecond of the trace.
pub(super) struct Cells<'a> {
    trace: &'a Trace,
    pub(super) of: Vec<Vec<Cell>>,
    numbers: &'a HashMap<(usize, usize), u32>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(trace: &'a Trace, numbers: &'a HashMap<(usize, usize), u32>) -> Cells<'a> {
        let of = trace.threads.iter().map(|thread| Cells::of(trace, thread)).collect();
        Cells { trace, of, numbers }
    }

    fn of(trace: &Trace, thread: &TracedThread) -> Vec<Cell> {
        let times = || trace.begin..trace.end;
        let lives = |at| thread.begin <= at && at < thread.end;
        let placeholder = Cell::Does(Activity::Unsampled);
        let mut cells: Vec<Cell> = times().map(|at| if lives(at) { placeholder } else { Cell::Absent }).collect();
        let mut cell = |at: u64, to: Cell| {
            if times().contains(&at) && lives(at) && cells[(at - trace.begin) as usize] == placeholder {
                cells[(at - trace.begin) as usize] = to;
            }
        };
        for (index, wait) in thread.waits.iter().enumerate() {
            // An overlap belongs to the wait before.
            let waits = wait.begin..wait.ended;
            waits.for_each(|at| cell(at, Cell::Waits(index)));
            let next = thread.waits.get(index + 1).map_or(u64::MAX, |next| next.begin);
            (wait.ended.max(wait.begin)..wait.runs_again.min(next)).for_each(|at| cell(at, Cell::Runnable));
        }
        // Own time, split by the samples.
        let own = |cells: &[Cell]| -> Vec<usize> { (0..cells.len()).filter(|at| cells[*at] == placeholder).collect() };
        let birth = thread.begin.clamp(trace.begin, trace.end);
        let death = thread.end.clamp(birth, trace.end);
        let all = own(&cells);
        let (mut open, mut cpu) = (all.clone(), 0);
        let (mut ran, mut seen) = (BTreeMap::new(), Vec::new());
        for sample in &thread.samples {
            cpu += sample.cpu;
            // The nanosecond before the sample decides.
            let last = sample.at.clamp(birth, death).checked_sub(1);
            let Some(last) = last.filter(|last| *last >= trace.begin && lives(*last)).map(|last| last - trace.begin)
            else {
                continue;
            };
            if matches!(cells[last as usize], Cell::Waits(_) | Cell::Runnable) {
                continue;
            }
            let spoken_for: Vec<usize> = open.iter().copied().filter(|at| *at <= last as usize).collect();
            if spoken_for.is_empty() {
                continue;
            }
            // The number of own nanoseconds before the sample.
            let rank = all.partition_point(|at| *at <= last as usize);
            seen.extend(sample.stack.map(|stack| (rank, last as usize, stack)));
            open.retain(|at| *at > last as usize);
            let length = spoken_for.len() as u64;
            let (share, mut sum) = (cpu.min(length), 0);
            for at in spoken_for {
                sum += share;
                ran.insert(at, sum >= length);
                sum -= if sum >= length { length } else { 0 };
            }
            cpu = 0;
        }
        for (rank, at) in all.iter().enumerate() {
            let Some(ran) = ran.get(at) else { continue };
            // Without a wait between them.
            let together = |other: usize| (*at.min(&other)..=*at.max(&other)).all(|cell| all.contains(&cell));
            let near: Vec<_> = seen.iter().filter(|(_, last, _)| together(*last)).collect();
            let before_middle = |pair: &&[&(usize, usize, StackNumber)]| rank < (pair[0].0 + pair[1].0) / 2;
            let nearest = near.windows(2).find(before_middle).map(|pair| pair[0]).or(near.last().copied());
            let next = || seen.iter().find(|(_, last, _)| last > at).or(seen.last());
            let stack = nearest.or_else(next).map(|(_, _, stack)| *stack);
            cells[*at] = Cell::Does(match (*ran, stack) {
                (true, Some(stack)) => Activity::Ran(stack),
                (true, None) => Activity::Unsampled,
                (false, stack) => Activity::Outside(stack.filter(|_| trace.is_by_wall)),
            });
        }
        cells
    }

    fn cell(&self, thread: usize, at: u64) -> Cell {
        self.of[thread][(at - self.trace.begin) as usize]
    }

    /// The end of the wait that the thread is in at `at`, as far as it was recorded.
    fn end_of_wait(&self, thread: usize, wait: usize, at: u64) -> u64 {
        (at..self.trace.end).find(|at| self.cell(thread, *at) != Cell::Waits(wait)).unwrap_or(self.trace.end)
    }

    fn spawner(&self, thread: usize) -> Option<usize> {
        self.trace.threads[thread].born_by.filter(|spawner| *spawner < self.trace.threads.len())
    }

    fn birth(&self, thread: usize) -> u64 {
        self.trace.threads[thread].begin.clamp(self.trace.begin, self.trace.end)
    }

    fn death(&self, thread: usize) -> u64 {
        self.trace.threads[thread].end.clamp(self.birth(thread), self.trace.end)
    }

    fn number(&self, thread: usize, wait: usize) -> Activity {
        Activity::Waited(self.numbers[&(thread, wait)])
    }

    pub(super) fn losses(&self) -> BTreeMap<Loss, u64> {
        let mut losses = BTreeMap::new();
        for of in 0..self.of.len() {
            for at in self.trace.begin..self.trace.end {
                let Cell::Waits(wait) = self.cell(of, at) else { continue };
                let (by, activity) = match self.trace.threads[of].waits[wait].ender {
                    TracedEnder::Thread(by) => self.doer(by, at, self.trace.threads[of].waits[wait].over),
                    _ => (of, self.number(of, wait)),
                };
                *losses.entry(Loss { of, by, activity: Some(activity) }).or_default() += 1;
            }
        }
        losses
    }

    /// The thread that did something at `at`, asked of `thread`.
    fn doer(&self, thread: usize, at: u64, limit: u64) -> (usize, Activity) {
        match self.cell(thread, at) {
            Cell::Absent if at < self.birth(thread) && self.birth(thread) < limit => match self.spawner(thread) {
                Some(spawner) => self.doer(spawner, at, self.birth(thread)),
                None => (thread, Activity::Absent),
            },
            Cell::Absent => (thread, Activity::Absent),
            Cell::Runnable => (thread, Activity::Runnable),
            Cell::Does(activity) => (thread, activity),
            Cell::Waits(wait) => {
                let TracedWait { over, ref ender, .. } = self.trace.threads[thread].waits[wait];
                match *ender {
                    TracedEnder::Thread(by) if over < limit => self.doer(by, at, over),
                    _ => (thread, self.number(thread, wait)),
                }
            }
        }
    }

    /// The critical path, as the thread and activity of each nanosecond.
    pub(super) fn path(&self, mut thread: usize, from: u64, till: u64) -> Vec<(usize, Activity)> {
        let mut path = Vec::new();
        let mut here = Vec::new();
        let mut at = till;
        // A wait is left only where it was reached: at its end.
        let mut within = None;
        while at > from {
            here.push(thread);
            let free = |to: &usize| !here.contains(to);
            let before = if at > self.death(thread) { Cell::Absent } else { self.cell(thread, at - 1) };
            let (activity, next) = match before {
                Cell::Absent if at <= self.birth(thread) && within != Some(usize::MAX) => {
                    (Activity::Absent, self.spawner(thread).filter(free))
                }
                Cell::Absent => (Activity::Absent, None),
                Cell::Runnable => (Activity::Runnable, None),
                Cell::Does(activity) => (activity, None),
                Cell::Waits(wait) => {
                    let is_end = within != Some(wait) && self.end_of_wait(thread, wait, at - 1) == at;
                    let next = match self.trace.threads[thread].waits[wait].ender {
                        TracedEnder::Thread(by) if is_end => Some(by).filter(free),
                        _ => None,
                    };
                    (self.number(thread, wait), next)
                }
            };
            if let Some(next) = next {
                (thread, within) = (next, None);
                continue;
            }
            within = match before {
                Cell::Waits(wait) => Some(wait),
                // Before a birth without a spawner there is nothing but that.
                Cell::Absent if at <= self.birth(thread) => Some(usize::MAX),
                _ => None,
            };
            path.push((thread, activity));
            at -= 1;
            here.clear();
        }
        path.reverse();
        path
    }
}
