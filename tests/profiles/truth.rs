//! The profile of each engine is true: weights add up to each thread's CPU clock, a known split
//! comes out as it is, sleeping stacks weigh nothing, short lives are seen, deep and strange stacks
//! are what they are.
//!
//! Tolerances are what sampling itself does to the figure (six standard deviations), or the promise
//! where a run is long enough for that to be less; a run that is too short is repeated, twice as
//! long. None is made again because it failed.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::*;
use crate::random::Random;
use crate::split::{one_part, three_parts};
use selvedge::Signal;
use selvedge::profile::{self, Engine, Options, ThreadProfile};
use std::time::{Duration, Instant};

/// Alternating faster than is sampled: each sample is a draw.
#[test]
fn a_known_split_is_measured_in_full() {
    let _alone = alone();
    split(Engine::Timer, 100);
}

/// Above the kernel's tick, by perf events where they are permitted; elsewhere at the tick.
#[test]
fn a_known_split_is_measured_at_higher_rates() {
    let _alone = alone();
    for engine in engines() {
        split(engine, 1000);
    }
}

fn split(engine: Engine, frequency: u32) {
    // Long enough for the tolerance below, in most runs.
    let mut length = Duration::from_millis(if frequency < 1000 { 4000 } else { 500 });
    loop {
        let recording = profile::start(Options::new().engine(engine).frequency(frequency)).unwrap();
        let worker = selvedge::spawn("worker", move |_| {
            let began = clock();
            let (mut three, mut one) = (Duration::ZERO, Duration::ZERO);
            let mut random = Random(u64::from(frequency));
            while clock() - began < length {
                let before = clock();
                three_parts();
                let between = clock();
                one_part();
                three += between - before;
                one += clock() - between;
                // Of no fixed length, as in `awake`.
                burn(Duration::from_micros(random.below(200)));
            }
            (clock(), three + one, three.as_secs_f64() / (three + one).as_secs_f64())
        });
        let ((used, both, truth), ended) = join_with_clock(worker);
        let profile = recording.finish();
        let text = folded(&profile);
        assert_eq!(profile.engine(), engine);
        check_totals(&profile);
        let thread = account(&profile, "/worker");
        assert!(ends_there(thread.cpu_time(), used, ended, 1), "{used:?} to {ended:?}: {thread:?}");
        assert_eq!((thread.broken(), thread.truncated()), (0, 0), "{thread:?}\n{text}");
        let (three, one) = (weight(&text, "three_parts"), weight(&text, "one_part"));
        let seen = three as f64 / (three + one) as f64;
        let drawn = thread.samples() as f64 * both.as_secs_f64() / used.as_secs_f64();
        let tolerance = six_sigma(truth, (drawn as u64).max(1));
        eprintln!(
            "{engine} {length:?}: {} samples, {truth:.4} seen {seen:.4} ± {tolerance:.4} {thread:?}",
            thread.samples()
        );
        assert!((seen - truth).abs() < tolerance, "{truth} seen as {seen} by {} samples:\n{text}", thread.samples());
        if tolerance < 0.15 {
            return;
        }
        length *= 2;
    }
}

/// Within two points by ten seconds at 100 Hz: what a thread does for longer than a period is not
/// drawn but measured.
#[test]
fn phases_come_out_as_promised() {
    let _alone = alone();
    retried(Duration::from_secs(10), |length| phases(Engine::Timer, 100, length, 0.02));
}

/// Within one point at 1000 Hz; at the tick, where that cannot be had.
#[test]
fn phases_are_measured_at_a_higher_rate() {
    let _alone = alone();
    for engine in engines() {
        retried(Duration::from_secs(2), |length| phases(engine, 1000, length, 0.01));
    }
}

/// Objects if many samples were lost: the sampler had no processor for too long. A wrong split is a
/// failure.
fn phases(engine: Engine, frequency: u32, length: Duration, tolerance: f64) -> Result<(), String> {
    #[inline(never)]
    fn first(until: Duration) {
        while clock() < until {
            three_parts();
        }
    }
    #[inline(never)]
    fn second(until: Duration) {
        while clock() < until {
            one_part();
        }
    }
    let recording = profile::start(Options::new().engine(engine).frequency(frequency)).unwrap();
    let worker = selvedge::spawn("worker", move |_| {
        let (mut firsts, mut seconds) = (Duration::ZERO, Duration::ZERO);
        let mut now = clock();
        while now < length {
            first(now + Duration::from_millis(300));
            let between = clock();
            second(between + Duration::from_millis(100));
            firsts += between - now;
            now = clock();
            seconds += now - between;
        }
        firsts.as_secs_f64() / (firsts + seconds).as_secs_f64()
    });
    let truth = worker.join().unwrap();
    let profile = recording.finish();
    let text = folded(&profile);
    check_totals(&profile);
    let (first, second) = (weight(&text, "::first"), weight(&text, "::second"));
    let seen = first as f64 / (first + second) as f64;
    let worker = account(&profile, "/worker");
    eprintln!("{engine} {truth:.4} seen as {seen:.4}: {worker:?}");
    if worker.lost() * 50 > periods(worker.cpu_time(), profile.period()) {
        return Err(format!("too many samples are lost: {worker:?}"));
    }
    assert!((seen - truth).abs() < tolerance, "{truth} seen as {seen}:\n{text}");
    Ok(())
}

#[test]
fn a_mostly_sleeping_thread_is_measured_among_others() {
    let _alone = alone();
    let length = Duration::from_millis(400);
    retried(length, |length| mostly_sleeping(Engine::Timer, 100, length));
    if rings_are_permitted() {
        retried(length, |length| mostly_sleeping(Engine::Ring, 1000, length));
    }
}

/// Burns a part of each tick, and sleeps when the tick comes. Returns the time that the host has taken.
fn sleep_at_each_tick(please_stop: &Signal) -> Duration {
    let (ticks, mut taken) = (ticks(), Duration::ZERO);
    while !please_stop.is_go() {
        sleep_past_the_tick(ticks);
        taken += burn_seen(Duration::from_nanos(ticks.1 as u64).mul_f64(0.3)).taken;
    }
    taken
}

fn mostly_sleeping(engine: Engine, frequency: u32, length: Duration) -> Result<(), String> {
    // Alive before the recording is: listed, not announced.
    let early = selvedge::spawn("early", |please_stop: &Signal| {
        while !please_stop.is_go() {
            three_parts();
        }
        clock()
    });
    while early.thread().cpu_time().is_none_or(|time| time < Duration::from_millis(50)) {
        std::thread::yield_now();
    }
    let before = early.thread().cpu_time().unwrap();
    let recording = profile::start(Options::new().engine(engine).frequency(frequency)).unwrap();
    let after = early.thread().cpu_time().unwrap();
    // Asleep at each tick: a timer never finds it running.
    let sleeper = selvedge::spawn("sleeper", |please_stop: &Signal| (sleep_at_each_tick(please_stop), clock()));
    let deadline = Instant::now() + Duration::from_secs(60) + length * 20;
    while sleeper.thread().cpu_time().is_none_or(|time| time < length) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    early.stop();
    sleeper.stop();
    let (early, early_ended) = join_with_clock(early);
    let ((taken, sleeper), sleeper_ended) = join_with_clock(sleeper);
    let profile = recording.finish();
    let text = folded(&profile);
    check_totals(&profile);
    let (of_early, of_sleeper) = (account(&profile, "/early"), account(&profile, "/sleeper"));
    let (least, most, slack) = (early - after, early_ended - before, early / 1000 + AROUND);
    let is_right = of_early.cpu_time() + slack >= least && of_early.cpu_time() <= most + slack;
    assert!(is_right, "{least:?} to {most:?}: {of_early:?}");
    let is_right = ends_there(of_sleeper.cpu_time(), sleeper, sleeper_ended, 1);
    assert!(is_right, "{sleeper:?} to {sleeper_ended:?}: {of_sleeper:?}");
    // 40 are due, by the ring ten times as many. It gets a perf clock after the first few, where
    // there are any; what its timer has missed is counted.
    let due = periods(of_sleeper.cpu_time(), profile.period());
    assert!(of_sleeper.samples() + of_sleeper.lost() >= due && due >= 38, "{due} due: {of_sleeper:?}");
    for (stack, _) in lines(&text).filter(|(stack, _)| stack.contains(";early;")) {
        assert!(!stack.contains("::burn") && stack.starts_with("main;test;early;"), "{text}");
    }
    // The time that the host has taken from the thread comes with few samples.
    let had = periods(of_sleeper.cpu_time() - taken, profile.period());
    let least = if engine == Engine::Ring || perf_clocks_are_permitted() { had * 3 / 4 } else { 1 };
    if of_sleeper.samples() >= least {
        Ok(())
    } else {
        Err(format!("{least} of {due}, {taken:?} taken: {of_sleeper:?}"))
    }
}

/// Less than one percent of the CPU time on a stack that sleeps, beyond what the call uses itself.
#[test]
fn what_was_used_awake_is_not_found_asleep() {
    let _alone = alone();
    engines().into_iter().for_each(awake);
}

fn awake(engine: Engine) {
    // Long enough for the tolerance below, in most runs.
    let mut length = Duration::from_secs(5);
    loop {
        let recording = profile::start(Options::new().engine(engine).frequency(1000)).unwrap();
        let sleepers: Vec<_> = (0..4)
            .map(|n| {
                selvedge::spawn(format!("sleeper-{n}"), move |_| {
                    let (mut in_call, end) = (Duration::ZERO, Instant::now() + length);
                    // Of no fixed length: a cycle that goes into some periods exactly is always
                    // sampled in the same places.
                    let mut random = Random(n);
                    while Instant::now() < end {
                        burn(Duration::from_micros(1000 + random.below(2000)));
                        let before = clock();
                        std::thread::sleep(Duration::from_millis(3));
                        in_call += clock() - before;
                    }
                    in_call
                })
            })
            .collect();
        let in_call: Duration = sleepers.into_iter().map(|sleeper| sleeper.join().unwrap()).sum();
        let profile = recording.finish();
        let text = folded(&profile);
        check_totals(&profile);
        let of_sleepers = |thread: &&ThreadProfile| thread.path().contains("/sleeper-");
        let (cpu, samples) =
            profile.threads().iter().filter(of_sleepers).fold((Duration::ZERO, 0), |(cpu, samples), thread| {
                (cpu + thread.cpu_time(), samples + thread.samples())
            });
        let truth = in_call.as_secs_f64() / cpu.as_secs_f64();
        let seen = weight(&text, "::sleep") as f64 / cpu.as_nanos() as f64;
        let tolerance = six_sigma(truth, samples.max(1));
        eprintln!("{samples} samples: {truth:.4} of the CPU time within the call, seen {seen:.4} ± {tolerance:.4}");
        assert!(seen - truth < tolerance.max(0.01), "{truth} seen as {seen}:\n{text}");
        if tolerance < 0.01 || length > Duration::from_secs(8) {
            return;
        }
        length *= 2;
    }
}
