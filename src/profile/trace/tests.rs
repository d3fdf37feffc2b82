//! Traces of threads that really wait, without an engine.

use super::events::{Trace, TracedEnder, TracedThread, TracedWait};
use super::{Collector, Traced};
use crate::model::locks::MutexGuard;
use crate::profile::accounts::{Account, Ledger};
use crate::profile::options::Clock;
use crate::wait;
use crate::{Builder, Queue, Signal, Thread, Till, register, spawn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A count of waits that runs. One at a time: it is a process's.
struct Recorded {
    ledger: Ledger,
    collector: Arc<Collector>,
    _alone: MutexGuard<'static, ()>,
}

impl Recorded {
    fn begin() -> Recorded {
        let alone = wait::count_alone();
        let collector = Arc::new(Collector::new());
        Recorded { ledger: Ledger::start(collector.clone()), collector, _alone: alone }
    }

    fn end(self) -> (Traced, Vec<Account>) {
        let accounts = self.ledger.accounts();
        (Traced::new(self.ledger.collect().unwrap(), Clock::Cpu), accounts)
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn index(trace: &Trace, path: &str) -> usize {
    let paths = || trace.threads.iter().map(|thread| &*thread.path).collect::<Vec<_>>();
    trace.threads.iter().position(|thread| &*thread.path == path).unwrap_or_else(|| panic!("{path}: {:?}", paths()))
}

fn check(trace: &Trace, thread: &TracedThread) {
    assert!(trace.begin <= thread.begin && thread.begin <= thread.end && thread.end <= trace.end, "{thread:?}");
    let mut known_until = trace.begin;
    for wait in &thread.waits {
        assert!(known_until <= wait.begin && wait.begin <= wait.ended && wait.ended <= wait.runs_again, "{wait:?}");
        known_until = wait.runs_again;
    }
}

/// Two threads pass a value to and fro. Each wait is in the trace, and was ended by the other thread; the
/// sums equal the accounts, to the nanosecond.
#[test]
fn waits_of_a_storm_are_those_of_the_accounts() {
    const ROUNDS: usize = 5_000;
    // Now and then longer than the other thread spins.
    let pause = |number: usize| {
        if number.is_multiple_of(50) {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let recorded = Recorded::begin();
    // A path that no other test has: they run beside each other in one process.
    let _me = register("echoing");
    let (there, back, done) = (Queue::unbounded("there"), Queue::unbounded("back"), Signal::new("done"));
    let echo = spawn("echo", {
        let (there, back, done) = (there.clone(), back.clone(), done.clone());
        move |_| {
            for number in there.iter() {
                pause(number);
                back.add(number).unwrap();
            }
            done.wait_for_go();
        }
    });
    let first = spawn("first", {
        let (there, done) = (there.clone(), done.clone());
        move |_| {
            for number in 0..ROUNDS {
                pause(number);
                there.add(number).unwrap();
                assert_eq!(back.pop(), Some(number));
            }
            there.close();
            done.wait_for_go();
        }
    });
    // They live on: accounts of ended threads may be folded, together with other tests' threads.
    until("both are done", || {
        [&first, &echo].iter().all(|thread| thread.thread().waiting_for().is_some_and(|wait| wait.name() == "done"))
    });
    let (Traced { trace, missing }, accounts) = recorded.end();
    done.go();
    first.join().unwrap();
    echo.join().unwrap();
    let (parent, echo, first) =
        (index(&trace, "main/echoing"), index(&trace, "main/echoing/echo"), index(&trace, "main/echoing/first"));
    for (one, other, name) in [(echo, first, "there"), (first, echo, "back")] {
        let thread = &trace.threads[one];
        check(&trace, thread);
        assert_eq!((thread.born_by, thread.is_alive), (Some(parent), true));
        let account = accounts.iter().find(|account| account.path() == &*thread.path).unwrap();
        let total = account.waits().iter().find(|wait| wait.name() == name).unwrap();
        let waits: Vec<&TracedWait> = thread.waits.iter().filter(|wait| &*wait.what.name == name).collect();
        // A thread that falls asleep just when the other one wakes it finds a stamp of before its sleep.
        let by_other = waits.iter().filter(|wait| wait.ender == TracedEnder::Thread(other)).count();
        let unknown = waits.iter().filter(|wait| wait.ender == TracedEnder::Unknown).count();
        assert!(by_other + unknown == waits.len() && by_other > unknown, "{by_other} {unknown} {}", waits.len());
        let sum: u64 = waits.iter().map(|wait| wait.ended - wait.begin).sum();
        if thread.lost == 0 {
            assert_eq!(Duration::from_nanos(sum), total.total());
            assert!(waits.len() as u64 >= total.count(), "{} {}", waits.len(), total.count());
        }
        assert!(waits.len() as u64 + thread.lost >= total.count() && missing.lost >= thread.lost);
    }
}

#[test]
fn a_wait_that_goes_on_is_in_the_trace_up_to_now() {
    let recorded = Recorded::begin();
    let _me = register("going-on");
    let go = Signal::new("go");
    let waiter = spawn("waiter", {
        let go = go.clone();
        move |_| go.wait_for_go()
    });
    until("it sleeps", || waiter.thread().waits().present_sleep().is_some());
    let traced = Traced::new(recorded.ledger.collect().unwrap(), Clock::Wall);
    let thread = &traced.trace.threads[index(&traced.trace, "main/going-on/waiter")];
    let [wait] = &thread.waits[..] else { panic!("{thread:?}") };
    assert_eq!((&*wait.what.name, &wait.ender, wait.runs_again), ("go", &TracedEnder::Unknown, wait.ended));
    assert!(thread.is_alive && thread.end == traced.trace.end && traced.trace.is_by_wall);
    go.go();
    waiter.join().unwrap();
    let (Traced { trace, .. }, _) = recorded.end();
    let thread = &trace.threads[index(&trace, "main/going-on/waiter")];
    let [wait] = &thread.waits[..] else { panic!("{thread:?}") };
    assert_eq!(wait.ender, TracedEnder::Thread(index(&trace, "main/going-on")));
    assert!(!thread.is_alive);
}

/// The thread that adds is not in the tree: it has a name in the trace, and no place.
#[test]
fn a_thread_outside_of_the_tree_ends_a_wait_by_its_name() {
    let recorded = Recorded::begin();
    let _me = register("outside");
    let queue = Queue::unbounded("jobs");
    let has_slept = |trace: &Trace| {
        let waits = &trace.threads[index(trace, "main/outside")].waits;
        waits.iter().any(|wait| wait.ender == TracedEnder::Clock && wait.what.kind == "signal")
    };
    // A thread that gets its processor late finds that its Till has gone, and does not sleep.
    until("it has slept to a Till", || {
        Till::after(Duration::from_millis(20)).wait_for_go();
        has_slept(&Traced::new(recorded.ledger.collect().unwrap(), Clock::Cpu).trace)
    });
    let waiter = spawn("waiter", {
        let queue = queue.clone();
        move |_| queue.pop()
    });
    until("it sleeps", || waiter.thread().waits().present_sleep().is_some());
    std::thread::Builder::new().name("stranger".into()).spawn(move || queue.add(1).unwrap()).unwrap().join().unwrap();
    waiter.join().unwrap();
    let (Traced { trace, .. }, _) = recorded.end();
    let wait = &trace.threads[index(&trace, "main/outside/waiter")].waits[0];
    assert_eq!(wait.ender, TracedEnder::Named("other/stranger".into()));
    assert!(has_slept(&trace), "{trace:?}");
}

#[test]
fn spans_and_log_records_are_events_of_their_thread() {
    let recorded = Recorded::begin();
    let _me = register("busy");
    let worker = spawn("worker", |_| {
        let begin = wait::nanos(Instant::now());
        wait::note_log(log::Level::Warn as u8, ("src/worker.rs", 7), "slow");
        wait::note_span(begin, "parse");
    });
    worker.join().unwrap();
    let (Traced { trace, .. }, _) = recorded.end();
    let thread = &trace.threads[index(&trace, "main/busy/worker")];
    let ([span], [log]) = (&thread.spans[..], &thread.logs[..]) else { panic!("{thread:?}") };
    assert_eq!((&*span.name, log.level, &*log.place), ("parse", log::Level::Warn, "src/worker.rs:7"));
    assert_eq!(log.text.as_deref(), Some("slow"));
    assert!(thread.begin <= span.begin && span.begin <= log.at && log.at <= span.end && span.end <= thread.end);
    // No recording: nothing is kept, and nothing fails.
    wait::note_span(1, "parse");
}

/// Two queues, one of which is never used; and a child of a thread that did not spawn it.
#[test]
fn queues_have_depths_and_threads_their_spawners() {
    let recorded = Recorded::begin();
    let _me = register("spawning");
    let jobs = Queue::unbounded("depth of jobs");
    let _unused = Queue::<u8>::unbounded("depth of nothing");
    let parent = spawn("parent", Signal::wait_for_go);
    let child = Builder::new("child").parent(parent.thread()).spawn(Signal::wait_for_go).unwrap();
    jobs.extend(0..5).unwrap();
    let queues = |recorded: &Recorded| Traced::new(recorded.ledger.collect().unwrap(), Clock::Cpu).trace.queues;
    let of_jobs = |recorded: &Recorded| {
        let mut queues = queues(recorded);
        queues.retain(|queue| queue.name.starts_with("depth of"));
        queues.into_iter().map(|queue| (queue.name, queue.depths.last().map(|point| point.1))).collect::<Vec<_>>()
    };
    assert_eq!(of_jobs(&recorded), [("depth of jobs".into(), Some(5))]);
    drop(jobs.pop_all());
    // The last value within one round is kept.
    Till::after(Duration::from_millis(21)).wait_for_go();
    assert_eq!(of_jobs(&recorded), [("depth of jobs".into(), Some(0))]);
    child.stop();
    child.join().unwrap();
    parent.stop();
    parent.join().unwrap();
    let (Traced { trace, .. }, _) = recorded.end();
    let born_by = |path: &str| trace.threads[index(&trace, path)].born_by;
    let me = index(&trace, "main/spawning");
    assert_eq!((born_by("main/spawning/parent"), born_by("main/spawning/parent/child")), (Some(me), Some(me)));
}

/// Threads come and go, and some leak the guard that says that they have left the tree.
#[test]
fn threads_that_come_and_go_are_all_there() {
    let recorded = Recorded::begin();
    let _me = register("churn");
    let started = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for leaker in 0..4 {
            let started = &started;
            scope.spawn(move || {
                std::mem::forget(register(format!("leaker-{leaker}")));
                started.fetch_add(1, Ordering::Relaxed);
                Till::after(Duration::from_millis(1)).wait_for_go();
            });
        }
    });
    for n in 0..500 {
        let child = spawn(format!("child-{n}"), |_| Till::after(Duration::from_micros(10)).wait_for_go());
        if n % 2 == 0 {
            child.join().unwrap();
        } else {
            child.release();
        }
    }
    let ended = |trace: &Trace| {
        let children = trace.threads.iter().filter(|thread| thread.path.starts_with("main/churn/child-"));
        children.filter(|thread| !thread.is_alive).count()
    };
    let mut trace = Trace::default();
    let deadline = Instant::now() + Duration::from_secs(60);
    while ended(&trace) < 500 && Instant::now() < deadline {
        trace = Traced::new(recorded.ledger.collect().unwrap(), Clock::Cpu).trace;
        recorded.collector.drain_some();
    }
    assert_eq!(ended(&trace), 500);
    trace.threads.iter().for_each(|thread| check(&trace, thread));
    let leakers = trace.threads.iter().filter(|thread| thread.path.contains("leaker-"));
    assert_eq!((leakers.count(), started.into_inner()), (4, 4));
}

/// All live at once, and all wait once.
#[test]
fn ten_thousand_threads_have_rings() {
    const THREADS: usize = 10_000;
    let recorded = Recorded::begin();
    let _me = register("crowd");
    let (go, asleep) = (Signal::new("go"), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..THREADS)
        .map(|n| {
            let (go, asleep) = (go.clone(), asleep.clone());
            let body = move |_: &Signal| {
                asleep.fetch_add(1, Ordering::Relaxed);
                go.wait_for_go();
            };
            Builder::new(format!("one-{n}")).stack_size(128 << 10).spawn(body).unwrap()
        })
        .collect();
    let sleeps = |thread: &Thread| thread.waits().present_sleep().is_some();
    until("all have begun", || asleep.load(Ordering::Relaxed) == THREADS as u64);
    until("all sleep", || threads.iter().all(|thread| sleeps(thread.thread())));
    go.go();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let (Traced { trace, missing }, _) = recorded.end();
    let me = index(&trace, "main/crowd");
    let of_crowd: Vec<&TracedThread> = trace.threads.iter().filter(|thread| thread.born_by == Some(me)).collect();
    let lost: u64 = of_crowd.iter().map(|thread| thread.lost).sum();
    assert_eq!((of_crowd.len(), lost, missing.forgotten), (THREADS, 0, 0));
    for thread in of_crowd {
        let [wait] = &thread.waits[..] else { panic!("{thread:?}") };
        assert_eq!((&*wait.what.name, &wait.ender), ("go", &TracedEnder::Thread(me)));
    }
}
