//! Which threads a round visits, and the wall schedule of a thread that comes and goes, without a sampler.

use super::State;
use crate::os::task::{self, Doing};
use crate::profile::engines::timer::accounting::{Accounting, ThreadClock};
use crate::profile::engines::timer::handler;
use crate::profile::engines::timer::ring::Record;
use crate::profile::engines::timer::triggers::{Rate, Source, Triggers};
use crate::profile::options::Clock;
use crate::profile::raw::{Ending, Stack};
use crate::profile::trace::{Collector, Traced, TracedThread};
use crate::thread::Thread;
use crate::wait::Shown;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

#[test]
fn a_reattached_thread_is_in_the_wall_schedule_once() {
    // An unregistered thread, which no other recording of this process samples, blocked outside
    // this crate.
    let (sender, thread) = mpsc::channel();
    let (go, end) = mpsc::channel::<()>();
    let blocked = std::thread::spawn(move || {
        sender.send(Thread::current()).unwrap();
        let _ = end.recv();
    });
    let thread = thread.recv().unwrap();
    let id = thread.cpu_clock().unwrap().thread();
    handler::install().unwrap();
    let triggers = Triggers::new(Duration::from_millis(1), Source::Wall);
    let mut state = State::new(Accounting::new(Duration::ZERO), triggers, Instant::now(), false, None);
    let mut visits = Vec::new();
    let mut tick = |state: &mut State| {
        state.select(&mut visits);
        visits.iter().for_each(|&id| state.visit(id));
    };
    for times in 0..5 {
        state.attach(&thread, false);
        let deadline = Instant::now() + Duration::from_secs(100);
        while {
            tick(&mut state);
            state.wall.schedule.times_skipped(id) == 0
        } {
            assert!(Instant::now() < deadline, "it is not skipped");
            std::thread::sleep(Duration::from_millis(1));
        }
        // On its way out of the handler it may still get a processor, and come back.
        let mut asleep = 0;
        while asleep < 10 {
            assert!(Instant::now() < deadline, "it does not fall asleep");
            std::thread::sleep(Duration::from_millis(1));
            tick(&mut state);
            let is_skipped = state.wall.schedule.times_skipped(id) == 1;
            let is_asleep = task::read(id).is_some_and(|task| task.doing == Doing::Sleeps);
            asleep = if is_skipped && is_asleep { asleep + 1 } else { 0 };
        }
        (0..5).for_each(|_| tick(&mut state));
        assert_eq!(state.wall.schedule.times_skipped(id), 1, "it has come back {times} times");
        state.detach(&thread);
    }
    tick(&mut state);
    assert_eq!(state.wall.schedule.times_skipped(id), 0, "it has left");
    state.flags.in_turn(1, |id| panic!("{id} has left, and keeps its number"));
    state.stop();
    drop(go);
    blocked.join().unwrap();
}

/// A thread that computes, and then is blocked outside of this crate, by the wall clock.
#[test]
fn samples_have_their_times_in_the_trace() {
    let (sender, thread) = mpsc::channel();
    let (go, end) = mpsc::channel::<()>();
    let is_over = Arc::new(AtomicBool::new(false));
    let theirs = is_over.clone();
    let worker = std::thread::spawn(move || {
        let me = crate::register("traced");
        sender.send(Thread::current()).unwrap();
        while !theirs.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        let _ = end.recv();
        drop(me);
    });
    let thread = thread.recv().unwrap();
    let id = thread.cpu_clock().unwrap().thread();
    handler::install().unwrap();
    let collector = Arc::new(Collector::new());
    let triggers = Triggers::new(Duration::from_millis(1), Source::Wall);
    let mut state =
        State::new(Accounting::new(Duration::ZERO), triggers, Instant::now(), false, Some(collector.clone()));
    collector.open(&thread);
    let first_clock = thread.cpu_time().unwrap();
    state.attach(&thread, false);
    let mut visits = Vec::new();
    let mut tick_until = |state: &mut State, condition: &dyn Fn(&State, &TracedThread) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            state.select(&mut visits);
            visits.iter().for_each(|&id| state.visit(id));
            std::thread::sleep(Duration::from_millis(1));
            let traced = Traced::new(collector.collect(), Clock::Wall);
            let found = traced.trace.threads.into_iter().next().unwrap();
            if condition(state, &found) {
                return found;
            }
            assert!(Instant::now() < deadline, "{found:?}");
        }
    };
    let cpu_of = |found: &TracedThread| Duration::from_nanos(found.samples.iter().map(|sample| sample.cpu).sum());
    tick_until(&mut state, &|_, found| found.samples.len() >= 5 && cpu_of(found) > Duration::from_millis(2));
    is_over.store(true, Ordering::Relaxed);
    // A thread that waits for a processor is skipped as well. So some rounds must find it asleep.
    let rounds = Cell::new(0);
    tick_until(&mut state, &|state, _| {
        let is_asleep = task::read(id).is_some_and(|task| task.doing == Doing::Sleeps);
        rounds.set(if is_asleep { rounds.get() + 1 } else { 0 });
        rounds.get() > 10 && state.wall.schedule.times_skipped(id) > 0
    });
    let before = tick_until(&mut state, &|_, _| true);
    state.stop();
    let after = tick_until(&mut state, &|_, _| true);
    drop(go);
    worker.join().unwrap();
    assert!(after.samples.is_sorted_by_key(|sample| sample.at));
    let [.., still, last] = &after.samples[..] else { panic!("{after:?}") };
    // It has not moved since its last sample, and its CPU clock was read at the end.
    assert_eq!((still.stack, still.cpu, last.stack), (before.samples.last().unwrap().stack, 0, None), "{after:?}");
    let cpu = cpu_of(&after);
    let all = thread.cpu_time().unwrap_or(Duration::MAX).saturating_sub(first_clock);
    assert!(cpu > Duration::from_millis(2) && cpu <= all + Duration::from_millis(1), "{cpu:?} of {all:?}");
}

/// By the CPU clock, of a thousand threads: the thread with a sample in this round, and each within some rounds.
#[test]
fn a_round_visits_threads_with_samples_and_some_others_in_turn() {
    let period = Duration::from_millis(10);
    let triggers = Triggers::new(period, Source::Cpu { rate: Rate::Below, tick: Duration::from_millis(4) });
    let mut state = State::new(Accounting::new(period), triggers, Instant::now(), false, None);
    let flags: Vec<_> = (1..=1000)
        .map(|id| {
            let number = state.flags.add(id);
            state.flags.flag(number)
        })
        .collect();
    let (mut visits, mut seen) = (Vec::new(), HashSet::new());
    for round in 0..32 {
        let with_sample = (round * 337) % 1000;
        flags[with_sample].raise();
        state.select(&mut visits);
        assert!(visits.contains(&(with_sample as i32 + 1)), "{with_sample} of {visits:?}");
        assert!(visits.len() <= 33, "{visits:?}");
        seen.extend(visits.iter().copied());
    }
    assert_eq!(seen.len(), 1000);
    state.stop();
}

#[test]
fn rounds_make_room_for_new_stacks_and_warn_once() {
    let mut accounting = Accounting::with_room_for(64);
    let mut thread_clock = ThreadClock::new(accounting.open("main".into(), None, 0), 0);
    let triggers = Triggers::new(Duration::from_millis(1), Source::Wall);
    let mut state = State::new(accounting, triggers, Instant::now(), false, None);
    let mut warnings = Vec::new();
    for n in 1..=1_000 {
        let (ending, shown) = (Ending::Root, Shown::default());
        let record = Record { clock: 5 * n, at: 0, ending, shown, context: 0, addresses: &[n, 7] };
        state.accounting.account_record(&mut thread_clock, record);
        state.end_round(Duration::from_millis(1));
        warnings.append(&mut state.take_warnings());
    }
    assert_eq!(warnings.iter().filter(|warning| warning.contains("more different stacks")).count(), 1, "{warnings:?}");
    let found = state.closed_copy().into_raw_profile();
    let is_newest = |stack: &Stack| matches!(stack, Stack::Sampled { addresses, .. } if addresses[0] == 1_000);
    assert!(found.samples.iter().any(|sample| is_newest(&sample.stack)));
    assert!(found.samples.len() <= 65, "{} sums", found.samples.len());
    let sum = found.samples.iter().fold((0, 0), |sum, sample| (sum.0 + sample.samples, sum.1 + sample.weight));
    assert_eq!(sum, (1_000, 5_000));
}

/// As a spawn blocks all signals for a moment.
#[test]
fn a_thread_that_unblocks_the_signal_is_no_obstacle() {
    let (sender, thread) = mpsc::channel();
    let (next, steps) = mpsc::channel();
    let (tell, done) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        sender.send(Thread::current()).unwrap();
        for how in steps {
            let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: the set is writable, and emptied before it is used.
            unsafe {
                libc::sigemptyset(set.as_mut_ptr());
                libc::sigaddset(set.as_mut_ptr(), libc::SIGPROF);
                libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut());
            }
            tell.send(()).unwrap();
        }
    });
    let thread = thread.recv().unwrap();
    let triggers = Triggers::new(Duration::from_millis(1), Source::Wall);
    let mut state = State::new(Accounting::new(Duration::ZERO), triggers, Instant::now(), false, None);
    state.attach(&thread, false);
    next.send(libc::SIG_BLOCK).unwrap();
    done.recv().unwrap();
    assert!(state.find_blocking(), "one look is not enough");
    assert_eq!((state.trouble(), state.take_warnings()), (None, Vec::new()));
    let deadline = Instant::now() + Duration::from_secs(100);
    while state.find_blocking() {
        assert!(Instant::now() < deadline, "it is not noted");
        std::thread::sleep(Duration::from_millis(1));
    }
    let trouble = state.trouble().unwrap();
    assert!(trouble.starts_with("threads that block SIGPROF were not sampled: "), "{trouble}");
    assert_eq!(state.take_warnings().len(), 1);
    next.send(libc::SIG_UNBLOCK).unwrap();
    done.recv().unwrap();
    assert!(!state.find_blocking());
    assert_eq!(state.trouble(), None);
    state.stop();
    drop(next);
    worker.join().unwrap();
}
