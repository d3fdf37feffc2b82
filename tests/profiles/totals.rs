//! Each thread has an account that adds up: short threads, deep stacks, kernel time, snapshots, two
//! names, wall time.
//!
//! A sleep of the recording thread is the length of the recording. A result that is not there yet
//! is retried with a longer one, up to a deadline.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::*;
use crate::split::three_parts;
use selvedge::profile::{self, Engine, Options, ThreadProfile};
use selvedge::{Semaphore, Signal};
use std::hint::black_box;
use std::time::{Duration, Instant};

#[test]
fn short_threads_get_their_share_of_samples() {
    let _alone = alone();
    const LIVES: usize = 1000;
    let recording = begin();
    let mut used = Duration::ZERO;
    for batch in 0..LIVES / 10 {
        let spawn =
            |n| selvedge::spawn(format!("short-{batch}-{n}"), |_| (burn(Duration::from_micros(500)), clock()).1);
        let threads: Vec<_> = (0..10).map(spawn).collect();
        used += threads.into_iter().map(|thread| thread.join().unwrap()).sum::<Duration>();
    }
    let profile = recording.finish();
    check_totals(&profile);
    let short: Vec<_> = profile.threads().iter().filter(|thread| thread.path().contains("/short-")).collect();
    assert_eq!(short.len(), LIVES, "each of them has an account");
    let cpu: Duration = short.iter().map(|thread| thread.cpu_time()).sum();
    assert!(near(cpu, used, 0.001, Duration::from_micros(700) * LIVES as u32), "{cpu:?} of {used:?}");
    let samples: u64 = short.iter().map(|thread| thread.samples()).sum();
    let due = cpu.as_secs_f64() / profile.period().as_secs_f64();
    eprintln!("{samples} samples of {LIVES} short threads, due {due:.1}, clock {cpu:?} of {used:?}");
    assert!((samples as f64 - due).abs() < 6.0 * due.sqrt(), "{samples} samples, {due} due");
}

/// When many threads start, the attachment of most is deferred. A thread that stays, has two names,
/// or lives at a snapshot has an account all the same.
#[test]
fn each_of_many_short_threads_is_accounted() {
    let _alone = alone();
    const LIVES: usize = 8000;
    const LONG: Duration = Duration::from_millis(50);
    let recording = begin();
    let (mut stay, mut known) = (Vec::new(), 0);
    // A few of a million threads end with a CPU clock of zero on a virtual machine: the kernel does not count time
    // that the host has taken. A program in C has such threads as well.
    let mut without_time = 0;
    for life in 0..LIVES {
        let used = selvedge::spawn(format!("brief-{life}"), |_| clock()).join().unwrap();
        without_time += usize::from(used.is_zero());
        if life % 500 == 250 {
            let has_two_names = life % 1000 == 250;
            stay.push(selvedge::spawn(format!("stays-{life}"), move |_| {
                let _inner = has_two_names.then(|| selvedge::register("inner"));
                burn(LONG);
            }));
        }
        if life % 4000 == 3999 {
            let started = Semaphore::new("started", 0);
            for n in 0..10 {
                let started = started.clone();
                stay.push(selvedge::spawn(format!("waits-{life}-{n}"), move |please_stop| {
                    started.add_permits(1);
                    please_stop.wait_for_go();
                }));
            }
            (0..10).for_each(|_| started.acquire().forget());
            let snapshot = recording.snapshot();
            check_totals(&snapshot);
            known += snapshot.threads().iter().filter(|thread| thread.path().contains("/waits-")).count();
        }
    }
    for thread in stay {
        if thread.thread().name().starts_with("waits-") {
            thread.stop();
        }
        thread.join().unwrap();
    }
    let profile = recording.finish();
    check_totals(&profile);
    let of = |name: &str| profile.threads().iter().filter(|thread| thread.path().contains(name)).collect::<Vec<_>>();
    // Past some thousands of ended threads, threads whose names differ only in a number share one
    // entry.
    let members = |name: &str| of(name).iter().map(|thread| thread.members()).sum::<u64>() as usize;
    assert_eq!((known, members("/waits-"), members("/brief-")), (30, 20, LIVES), "in the snapshots, and in the end");
    let zeros = of("/brief-").iter().filter(|thread| thread.cpu_time().is_zero()).count();
    assert!(zeros <= without_time, "{zeros} accounts without time, {without_time} clocks");
    let (inner, stay) = (of("/inner"), of("/stays-"));
    let members_of = |thread: &ThreadProfile| thread.members() as u32;
    assert_eq!((members("/inner"), members("/stays-")), (LIVES / 1000, LIVES / 500 + LIVES / 1000));
    assert!(inner.iter().all(|thread| near(thread.cpu_time() / members_of(thread), LONG, 0.01, AROUND)), "{inner:?}");
    let outer = stay.iter().filter(|thread| thread.cpu_time() > LONG / 2);
    // Five are due.
    let unseen = outer.filter(|thread| thread.samples() == 0).count();
    assert!(unseen <= 2, "{unseen} of {} were never met", LIVES / 500);
}

#[test]
fn deep_recursion_keeps_exactly_so_many_frames() {
    let _alone = alone();
    let recording = begin();
    let deep = selvedge::spawn("deep", |_| dive(500, Duration::from_millis(200)));
    let flat = selvedge::spawn("flat", |_| dive(20, Duration::from_millis(200)));
    deep.join().unwrap();
    flat.join().unwrap();
    let profile = recording.finish();
    let text = folded(&profile);
    check_totals(&profile);
    let of = |name: &str| -> Vec<String> {
        let stacks = lines(&text).filter(|(stack, _)| stack.contains("::dive"));
        stacks.filter_map(|(stack, _)| stack.strip_prefix(&format!("main;test;{name};")).map(String::from)).collect()
    };
    let (deep, flat) = (of("deep"), of("flat"));
    assert!(!deep.is_empty() && !flat.is_empty(), "{text}");
    for stack in deep.iter().filter(|stack| stack.contains("::burn")) {
        assert!(stack.starts_with("[truncated];profiles::measure::dive;"), "{stack}");
        assert!((150..=200).contains(&stack.matches("::dive").count()), "{stack}");
    }
    for stack in flat.iter().filter(|stack| stack.contains("::burn")) {
        assert_eq!(stack.matches("::dive").count(), 21, "{stack}");
        assert!(stack.starts_with("profiles::totals::deep_recursion"), "from its first function on: {stack}");
    }
    assert!(account(&profile, "/deep").truncated() > 0 && account(&profile, "/flat").truncated() == 0);
    assert_eq!(account(&profile, "/flat").broken(), 0, "{text}");
}

/// In libc, in the kernel below it, and in the vdso.
#[test]
fn kernel_time_has_whole_stacks() {
    #[inline(never)]
    fn copy(from: &[u8], to: &mut [u8]) {
        to.copy_from_slice(black_box(from));
    }
    /// `Instant::now` itself may be a jump, without a frame of its own.
    #[inline(never)]
    fn ask_the_time() {
        for _ in 0..10_000 {
            black_box(Instant::now());
        }
    }
    let _alone = alone();
    engines().into_iter().for_each(kernel_time);

    fn kernel_time(engine: Engine) {
        let recording = begin_by(engine);
        let thread = selvedge::spawn("system", |_| {
            let (from, mut to) = (vec![7; 1 << 20], vec![0; 1 << 20]);
            // A third of the time each, by its own clock.
            let third = |work: &mut dyn FnMut()| {
                let began = clock();
                while clock() - began < Duration::from_millis(300) {
                    work();
                }
            };
            third(&mut || {
                copy(&from, &mut to);
                black_box(&to);
            });
            third(&mut || drop(black_box(std::fs::read("/proc/self/maps").unwrap())));
            third(&mut ask_the_time);
        });
        thread.join().unwrap();
        let profile = recording.finish();
        let text = folded(&profile);
        check_totals(&profile);
        let of_thread = account(&profile, "/system");
        assert!(of_thread.samples() > 40, "{of_thread:?}");
        for kind in ["::copy", "::read", "::ask_the_time"] {
            // Of what was sampled: a busy machine samples late.
            let seen = weight(&text, kind) as f64 / of_thread.sampled_time().as_nanos() as f64;
            let tolerance = six_sigma(1.0 / 3.0, of_thread.samples());
            assert!((seen - 1.0 / 3.0).abs() < tolerance, "{kind}: {seen}, not a third:\n{text}");
        }
        assert_eq!(of_thread.broken(), 0, "{text}");
        for (stack, _) in lines(&text).filter(|(stack, _)| stack.contains(";system;") && !stack.contains("[unsampled]"))
        {
            assert!(
                stack.starts_with("main;test;system;profiles::totals::kernel_time") || stack.contains("[runtime]"),
                "{stack}"
            );
        }
    }
}

#[test]
fn a_snapshot_has_totals_and_sampling_continues() {
    let _alone = alone();
    engines().into_iter().for_each(snapshots);
}

fn snapshots(engine: Engine) {
    let recording = begin_by(engine);
    let worker = selvedge::spawn("worker", |please_stop: &Signal| {
        while !please_stop.is_go() {
            three_parts();
        }
        clock()
    });
    let mut last = Duration::ZERO;
    let deadline = Instant::now() + Duration::from_secs(60);
    while last < Duration::from_millis(300) {
        assert!(Instant::now() < deadline);
        let profile = recording.snapshot();
        check_totals(&profile);
        let now = profile.threads().iter().find(|thread| thread.path().ends_with("/worker"));
        let now = now.map_or(Duration::ZERO, |thread| thread.cpu_time());
        assert!(now >= last);
        last = now;
    }
    worker.stop();
    let used = worker.join().unwrap();
    let profile = recording.finish();
    check_totals(&profile);
    let thread = account(&profile, "/worker");
    assert!(near(thread.cpu_time(), used, 0.001, AROUND), "{used:?} {thread:?}");
    // One for each period, give or take the last.
    let due = thread.cpu_time().as_nanos() / profile.period().as_nanos();
    assert!(u128::from(thread.samples() + thread.lost()) + 2 >= due, "{due} due: {thread:?}");
}

#[test]
fn a_twice_registered_thread_has_two_accounts() {
    let _alone = alone();
    engines().into_iter().for_each(twice_registered);
}

fn twice_registered(engine: Engine) {
    let recording = begin_by(engine);
    let thread = selvedge::spawn("outer", |_| {
        burn(Duration::from_millis(100));
        let inner = selvedge::register("inner");
        burn(Duration::from_millis(200));
        drop(inner);
        burn(Duration::from_millis(100));
        clock()
    });
    let used = thread.join().unwrap();
    let profile = recording.finish();
    check_totals(&profile);
    let (outer, inner) = (account(&profile, "/outer"), account(&profile, "/outer/inner"));
    assert!(near(outer.cpu_time(), Duration::from_millis(200), 0.05, AROUND), "{outer:?}");
    assert!(near(inner.cpu_time(), Duration::from_millis(200), 0.05, AROUND), "{inner:?}");
    assert!(near(outer.cpu_time() + inner.cpu_time(), used, 0.001, AROUND), "{used:?}");
    assert!(weight(&folded(&profile), "main;test;outer;inner;profiles::") > 0);
}

/// By the wall clock: each thread has its whole life, and what it waits for is the leaf.
#[test]
fn wall_time_splits_into_work_and_waits() {
    let _alone = alone();
    let queue: selvedge::Queue<u32> = selvedge::Queue::bounded("paths", 1);
    let (mut length, deadline) = (Duration::from_secs(1), Instant::now() + Duration::from_secs(90));
    loop {
        let recording = profile::start(Options::new().clock(profile::Clock::Wall).frequency(500)).unwrap();
        let from = queue.clone();
        let waiter = selvedge::spawn("waiter", move |please_stop: &Signal| from.pop_till(please_stop).is_ok());
        // Half of the time awake, half asleep, each long enough that a tick falls into it.
        let worker = selvedge::spawn("worker", |please_stop: &Signal| {
            let (mut awake, mut asleep) = (Duration::ZERO, Duration::ZERO);
            let mut began = Instant::now();
            while !please_stop.is_go() {
                while began.elapsed() < Duration::from_millis(40) {
                    three_parts();
                }
                let between = Instant::now();
                std::thread::sleep(Duration::from_millis(40));
                awake += between - began;
                began = Instant::now();
                asleep += began - between;
            }
            awake.as_secs_f64() / (awake + asleep).as_secs_f64()
        });
        std::thread::sleep(length);
        waiter.stop();
        worker.stop();
        assert!(!waiter.join().unwrap());
        let truth = worker.join().unwrap();
        let profile = recording.finish();
        let text = folded(&profile);
        assert_eq!((profile.clock(), profile.engine()), (profile::Clock::Wall, Engine::Timer));
        let (waiter, worker) = (account(&profile, "/waiter"), account(&profile, "/worker"));
        for thread in [waiter, worker] {
            let sum = thread.sampled_time() + thread.unsampled_time();
            assert!(near(sum, thread.wall_time(), 0.0, Duration::from_micros(1)), "{thread:?}");
        }
        let awake: u64 = lines(&text)
            .filter(|(line, _)| line.contains(";worker;") && line.contains("three_parts"))
            .map(|(_, w)| w)
            .sum();
        let seen = awake as f64 / worker.wall_time().as_nanos() as f64;
        let waited = weight(&text, r#"[waiting for queue "paths"]"#) as f64 / waiter.wall_time().as_nanos() as f64;
        eprintln!("{length:?}: awake {truth:.4}, seen {seen:.4}; waited {waited:.4}; {} samples", worker.samples());
        // A change from one to the other is seen with the next tick, and answered when the thread
        // gets a processor. Where the sampler itself gets one for less than four ticks of five,
        // less is promised.
        let on_time = worker.samples() as f64 > 0.8 * 500.0 * length.as_secs_f64();
        let tolerance = if on_time { 0.01 } else { 0.1 };
        if (seen - truth).abs() < tolerance && waited > 1.0 - tolerance {
            return;
        }
        assert!(Instant::now() < deadline, "{truth} seen as {seen}, waited {waited}:\n{text}");
        length = (length * 2).min(Duration::from_secs(8));
    }
}
