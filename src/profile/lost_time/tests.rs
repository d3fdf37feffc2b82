//! Blame and the critical path, against a second implementation that goes nanosecond by nanosecond
//! and shares no code with the first one but the events.

use super::course::{Activity, Courses};
use super::losses::{self, Loss};
use super::path;
use crate::profile::trace::{StackNumber, Trace, TracedEnder, TracedSample, TracedThread, TracedWait, WaitName};
use crate::random::Random;
use std::collections::{BTreeMap, HashMap};

/// Returns `true` in `percent` of a hundred draws.
fn in_a_hundred(random: &mut Random, percent: u64) -> bool {
    random.below(100) < percent
}

fn thread(index: usize, begin: u64, end: u64) -> TracedThread {
    TracedThread {
        path: format!("main/{index}").into(),
        begin,
        end,
        is_alive: false,
        born_by: None,
        waits: Vec::new(),
        samples: Vec::new(),
        spans: Vec::new(),
        logs: Vec::new(),
        lost: 0,
    }
}

fn wait(begin: u64, ended: u64, runs_again: u64, ender: TracedEnder) -> TracedWait {
    let what = WaitName { kind: "queue", name: "jobs".into() };
    TracedWait { begin, ended, runs_again, what, ender, stack: None }
}

/// What threads do that run, sleep, wake each other and spawn each other, each at its turn.
fn program(random: &mut Random) -> Trace {
    enum State {
        Runs,
        Sleeps(u64),
        Ready(u64),
        Ended,
    }
    let (begin, length) = (100 + random.below(5), 20 + random.below(60));
    let mut trace = Trace { begin, end: begin + length, is_by_wall: in_a_hundred(random, 50), ..Trace::default() };
    let mut states = Vec::new();
    let mut clocks = Vec::new();
    for index in 0..1 + random.below(3) as usize {
        trace.threads.push(thread(index, begin, trace.end));
        states.push(State::Runs);
        clocks.push(0);
    }
    for now in begin..trace.end {
        for index in 0..states.len() {
            let count = states.len();
            match states[index] {
                State::Ended => {}
                State::Sleeps(since) => {
                    if in_a_hundred(random, 4) {
                        let ender = match random.below(4) {
                            0 => TracedEnder::Clock,
                            1 => TracedEnder::Outside,
                            2 => TracedEnder::Unknown,
                            _ => TracedEnder::Named("other/pool".into()),
                        };
                        trace.threads[index].waits.push(wait(since, now, now, ender));
                        states[index] = State::Ready(now + 1 + random.below(3));
                    }
                }
                State::Ready(at) if now < at => {}
                State::Ready(at) => {
                    trace.threads[index].waits.last_mut().unwrap().runs_again = at;
                    states[index] = State::Runs;
                }
                State::Runs => match random.below(10) {
                    0 | 1 => states[index] = State::Sleeps(now),
                    2..=4 => {
                        let other = random.below(count as u64) as usize;
                        if let State::Sleeps(since) = states[other] {
                            let woken = wait(since, now, now, TracedEnder::Thread(index));
                            trace.threads[other].waits.push(woken);
                            states[other] = State::Ready(now + random.below(4));
                        }
                    }
                    5 if count < 6 => {
                        let born = TracedThread { born_by: Some(index), ..thread(count, now, trace.end) };
                        trace.threads.push(born);
                        states.push(State::Runs);
                        clocks.push(0);
                    }
                    6 if in_a_hundred(random, 20) => {
                        trace.threads[index].end = now;
                        states[index] = State::Ended;
                    }
                    7 | 8 => {
                        let stack = in_a_hundred(random, 90).then(|| StackNumber(random.below(3) as u32));
                        let cpu = random.below(now - clocks[index] + 2);
                        trace.threads[index].samples.push(TracedSample { at: now, cpu, stack });
                        clocks[index] = now;
                    }
                    _ => {}
                },
            }
        }
    }
    for (thread, state) in trace.threads.iter_mut().zip(&states) {
        match *state {
            State::Sleeps(since) => thread.waits.push(wait(since, trace.end, trace.end, TracedEnder::Unknown)),
            State::Ready(_) => thread.waits.last_mut().unwrap().runs_again = trace.end,
            State::Runs | State::Ended => {}
        }
    }
    trace
}

/// Events that no program has: waits in a circle, by threads that sleep or do not live, in any order.
fn nonsense(random: &mut Random) -> Trace {
    let (begin, length) = (10, 1 + random.below(40));
    let mut trace = Trace { begin, end: begin + length, is_by_wall: true, ..Trace::default() };
    let count = 1 + random.below(4) as usize;
    for index in 0..count {
        let mut thread = thread(index, random.below(60), random.below(60));
        thread.born_by = in_a_hundred(random, 60).then(|| random.below(count as u64 + 1) as usize);
        for _ in 0..random.below(6) {
            let ender = TracedEnder::Thread(random.below(count as u64) as usize);
            thread.waits.push(wait(random.below(60), random.below(60), random.below(60), ender));
        }
        thread.waits.sort_by_key(|wait| wait.begin);
        for _ in 0..random.below(6) {
            let stack = Some(StackNumber(random.below(3) as u32));
            thread.samples.push(TracedSample { at: random.below(60), cpu: random.below(30), stack });
        }
        thread.samples.sort_by_key(|sample| sample.at);
        trace.threads.push(thread);
    }
    trace
}

/// What a thread does in one nanosecond.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Absent,
    Waits(usize),
    Runnable,
    Does(Activity),
}

/// The second implementation: a cell for each thread and nanosecond of the trace.
struct Cells<'a> {
    trace: &'a Trace,
    of: Vec<Vec<Cell>>,
    numbers: &'a HashMap<(usize, usize), u32>,
}

impl<'a> Cells<'a> {
    fn new(trace: &'a Trace, numbers: &'a HashMap<(usize, usize), u32>) -> Cells<'a> {
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

    fn losses(&self) -> BTreeMap<Loss, u64> {
        let mut losses = BTreeMap::new();
        for of in 0..self.of.len() {
            for at in self.trace.begin..self.trace.end {
                let Cell::Waits(wait) = self.cell(of, at) else { continue };
                let (by, activity) = match self.trace.threads[of].waits[wait].ender {
                    TracedEnder::Thread(by) => self.doer(by, at, self.end_of_wait(of, wait, at)),
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
                let end = self.end_of_wait(thread, wait, at);
                match self.trace.threads[thread].waits[wait].ender {
                    TracedEnder::Thread(by) if end < limit => self.doer(by, at, end),
                    _ => (thread, self.number(thread, wait)),
                }
            }
        }
    }

    /// The critical path, as the thread and activity of each nanosecond.
    fn path(&self, mut thread: usize, from: u64, till: u64) -> Vec<(usize, Activity)> {
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

/// The numbers of the waits as dead ends, for the second implementation.
fn numbers(courses: &Courses<'_>) -> HashMap<(usize, usize), u32> {
    let mut numbers = HashMap::new();
    for (thread, course) in courses.threads.iter().enumerate() {
        for wait in 0..courses.trace.threads[thread].waits.len() {
            let Activity::Waited(number) = course.dead_end(wait) else { unreachable!() };
            numbers.insert((thread, wait), number);
        }
    }
    numbers
}

fn check(trace: &Trace, what: &str) {
    let courses = Courses::new(trace);
    let numbers = numbers(&courses);
    let cells = Cells::new(trace, &numbers);
    let losses: BTreeMap<Loss, u64> = losses::losses(&courses).into_iter().collect();
    assert_eq!(losses, cells.losses(), "{what}: {trace:#?}");
    for (index, thread) in trace.threads.iter().enumerate() {
        let waited = cells.of[index].iter().filter(|cell| matches!(cell, Cell::Waits(_))).count() as u64;
        let lost: u64 = losses.iter().filter(|(loss, _)| loss.of == index).map(|(_, nanos)| nanos).sum();
        assert_eq!(lost, waited, "{what}: the losses of {} are its waits", thread.path);
        for from in [trace.begin, trace.begin + (trace.end - trace.begin) / 3] {
            let till = trace.end - (from - trace.begin) / 2;
            let steps = path::steps(&courses, index, from, till);
            let mut expected: BTreeMap<(usize, Activity), u64> = BTreeMap::new();
            let by_cell = cells.path(index, from, till);
            by_cell.iter().for_each(|cell| *expected.entry(*cell).or_default() += 1);
            let mut found: BTreeMap<(usize, Activity), u64> = BTreeMap::new();
            let mut at = from;
            for step in &steps {
                assert_eq!(step.from, at, "{what}: without a gap: {steps:#?} {trace:#?}");
                assert!(step.till > step.from, "{what}: {steps:#?}");
                let parts: u64 = step.parts.iter().map(|(_, nanos)| nanos).sum();
                assert_eq!(parts, step.till - step.from, "{what}: {step:?}");
                at = step.till;
                for (activity, nanos) in &step.parts {
                    *found.entry((step.thread, *activity)).or_default() += nanos;
                }
                let threads = by_cell[(step.from - from) as usize..(step.till - from) as usize].iter();
                assert!(threads.clone().all(|(thread, _)| *thread == step.thread), "{what}: {step:?} {trace:#?}");
            }
            assert_eq!(at, till, "{what}: the whole time");
            assert_eq!(found, expected, "{what}: from {from} to {till} by {index}: {steps:#?} {trace:#?}");
        }
    }
}

#[test]
fn small_programs_agree_with_a_nanosecond_by_nanosecond_reference() {
    for seed in 0..3_000 {
        check(&program(&mut Random(seed)), &format!("program {seed}"));
    }
}

#[test]
fn events_that_make_no_sense_neither_loop_nor_lose_time() {
    for seed in 0..3_000 {
        check(&nonsense(&mut Random(seed)), &format!("nonsense {seed}"));
    }
}

/// A reader parses while `main` and a watcher wait for it; then `main` saves, by the wall clock.
fn story() -> (Trace, crate::profile::traced_stacks::TracedStacks) {
    const MS: u64 = 1_000_000;
    let named = |kind, name: &str, begin, ended, runs_again, ender| TracedWait {
        what: WaitName { kind, name: name.into() },
        ..wait(begin * MS, ended * MS, runs_again * MS, ender)
    };
    let sample = |at, cpu, stack| TracedSample { at: at * MS, cpu: cpu * MS, stack: Some(StackNumber(stack)) };
    let mut main = TracedThread { path: "main".into(), ..thread(0, 0, 1_000 * MS) };
    main.waits = vec![named("queue", "results", 100, 700, 710, TracedEnder::Thread(1))];
    main.samples = vec![sample(100, 90, 0), sample(1_000, 40, 1)];
    let mut reader = TracedThread { path: "main/reader".into(), ..thread(1, 0, 1_000 * MS) };
    reader.waits = vec![
        named("till", "pause", 200, 300, 300, TracedEnder::Clock),
        named("queue", "jobs", 700, 1_000, 1_000, TracedEnder::Unknown),
    ];
    reader.samples = vec![sample(700, 540, 2)];
    let mut watcher = TracedThread { path: "main/watcher".into(), ..thread(2, 0, 1_000 * MS) };
    watcher.waits = vec![named("till", "watch", 0, 1_000, 1_000, TracedEnder::Clock)];
    let mut log = TracedThread { path: "main/selvedge/log-writer".into(), ..thread(3, 0, 1_000 * MS) };
    log.waits = vec![named("queue", "log", 0, 700, 700, TracedEnder::Thread(1))];
    let trace =
        Trace { end: 1_000 * MS, threads: vec![main, reader, watcher, log], is_by_wall: true, ..Trace::default() };
    let functions: [&[&str]; 3] = [
        &["indexer::walk", "indexer::main"],
        &["fdatasync", "indexer::save", "indexer::main"],
        &["u64::forward_unchecked", "core::str::next", "indexer::parse", "indexer::read"],
    ];
    (trace, crate::profile::traced_stacks::TracedStacks::of_functions(&functions, &[]))
}

#[test]
fn the_tables_say_which_thread_was_waited_for_and_what_it_did() {
    let (trace, named) = story();
    let blame = super::Blame::new(&trace, &named);
    let expected = "     lost  critical path  while other threads waited
   450 ms         54.0 %  main/reader in `indexer::parse`
   100 ms         10.0 %  main/reader in a wait for till \"pause\", ended by the clock
  50.0 ms          6.0 %  main/reader off the processor in `indexer::parse`
   600 ms  in all
main lost 600 ms to: main/reader in `indexer::parse` 450 ms, \
main/reader in a wait for till \"pause\", ended by the clock 100 ms, \
main/reader off the processor in `indexer::parse` 50.0 ms
main/watcher lost 1.00 s to: in a wait for till \"watch\", ended by the clock 1.00 s
main/reader lost 400 ms to: in a wait for queue \"jobs\", not ended, or by something unknown 300 ms, \
in a wait for till \"pause\", ended by the clock 100 ms";
    assert_eq!(blame.to_string(), expected);
    let path = super::critical_path(&trace, &named);
    let expected = "critical path of main: 1.00 s in 5 steps
     time    share   at least, if ½  what
   540 ms   54.0 %           730 ms  in `indexer::parse`  (main/reader 100 %)
   250 ms   25.0 %           875 ms  outside in `fdatasync` of `indexer::save`  (main 100 %)
   100 ms   10.0 %           950 ms  in a wait for till \"pause\", ended by the clock  (main/reader 100 %)
  60.0 ms    6.0 %           970 ms  off the processor in `indexer::parse`  (main/reader 100 %)
  40.0 ms    4.0 %           980 ms  in `indexer::save`  (main 100 %)
  10.0 ms    1.0 %           995 ms  runnable  (main 100 %)
at least, if ½: a bound. If that took half the time, the whole would still take at least so long.";
    assert_eq!(path.to_string(), expected);
}
