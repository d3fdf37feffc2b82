//! Blame and the critical path, against the reference on random programs, and on made-up ones.

use super::course::{Activity, Courses};
use super::losses::{self, Loss};
use super::path;
use super::reference_tests::{Cell, Cells};
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
    TracedWait { begin, ended, over: ended, runs_again, what, ender, stack: None }
}

/// Adds the sleep with which a wait is over. `vain`: the sleeps of the same wait that ended in vain.
fn end_wait(thread: &mut TracedThread, vain: &mut Vec<usize>, last: TracedWait) {
    for index in vain.drain(..) {
        let earlier = &mut thread.waits[index];
        (earlier.ender, earlier.over) = (last.ender.clone(), last.over);
    }
    thread.waits.push(last);
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
    let mut vain: Vec<Vec<usize>> = vec![Vec::new(); 6];
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
                        end_wait(&mut trace.threads[index], &mut vain[index], wait(since, now, now, ender));
                        states[index] = State::Ready(now + 1 + random.below(3));
                    } else if in_a_hundred(random, 4) {
                        vain[index].push(trace.threads[index].waits.len());
                        trace.threads[index].waits.push(wait(since, now, now, TracedEnder::Unknown));
                        states[index] = State::Ready(now + random.below(3));
                    }
                }
                State::Ready(at) if now < at => {}
                State::Ready(at) => {
                    trace.threads[index].waits.last_mut().unwrap().runs_again = at;
                    states[index] = State::Runs;
                }
                // It was woken in vain.
                State::Runs if !vain[index].is_empty() && in_a_hundred(random, 70) => {
                    states[index] = State::Sleeps(now)
                }
                State::Runs if !vain[index].is_empty() => {}
                State::Runs => match random.below(10) {
                    0 | 1 => states[index] = State::Sleeps(now),
                    2..=4 => {
                        let other = random.below(count as u64) as usize;
                        if let State::Sleeps(since) = states[other] {
                            let woken = wait(since, now, now, TracedEnder::Thread(index));
                            end_wait(&mut trace.threads[other], &mut vain[other], woken);
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
            let sleep = wait(random.below(60), random.below(60), random.below(60), ender);
            thread.waits.push(TracedWait { over: random.below(60), ..sleep });
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

/// `main` waits, and a signal handler interrupts its sleep. Meanwhile a boss spawns a clerk, which
/// spawns the thread that ends the wait. Before these births the time is the spawners', also in the
/// first sleep, which was over before them.
#[test]
fn time_before_a_birth_is_the_spawners_also_in_an_interrupted_wait() {
    let mut trace = Trace { begin: 100, end: 200, is_by_wall: true, ..Trace::default() };
    let named = |index, begin, born_by| TracedThread { born_by, ..thread(index, begin, 200) };
    trace.threads = vec![named(0, 100, None), named(1, 100, None), named(2, 150, Some(1)), named(3, 160, Some(2))];
    let last = wait(126, 190, 191, TracedEnder::Thread(3));
    trace.threads[0].waits = vec![TracedWait { over: 190, ..wait(110, 125, 126, TracedEnder::Thread(3)) }, last];
    // It is woken once in vain, too.
    let last = wait(122, 140, 141, TracedEnder::Outside);
    trace.threads[1].waits = vec![TracedWait { over: 140, ..wait(105, 120, 121, TracedEnder::Outside) }, last];
    check(&trace, "births");
    let courses = Courses::new(&trace);
    let of_main = losses::losses(&courses).into_iter().filter(|(loss, _)| loss.of == 0);
    let mut found: Vec<_> = of_main.map(|(loss, nanos)| (loss.by, loss.activity.unwrap(), nanos)).collect();
    found.sort_unstable();
    // 125 to 126, `main` was awake.
    let boss = Activity::Waited(1);
    let expected = [
        (1, Activity::Runnable, 1 + 1),
        (1, Activity::Unsampled, 1 + 9),
        (1, boss, 10 + 3 + 14),
        (2, Activity::Unsampled, 10),
        (3, Activity::Unsampled, 30),
    ];
    assert_eq!(found, expected);
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
