//! Each thread has an account that adds up: short threads, deep stacks, kernel time, snapshots, two
//! names, wall time.
//!
//! A sleep of the recording thread is the length of the recording. A result that is not there yet
//! is retried with a longer one, up to a deadline.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::*;
use crate::random::Random;
use crate::split::three_parts;
use selvedge::profile::{self, Engine, Options};
use selvedge::{JoinHandle, Semaphore, Signal};
use std::hint::black_box;
use std::iter::Sum;
use std::time::{Duration, Instant};

#[test]
fn short_threads_get_their_share_of_samples() {
    let _alone = alone();
    let mut random = Random(7);
    retried(Duration::from_millis(500), |_| short_threads(&mut random));
}

fn short_threads(random: &mut Random) -> Result<(), String> {
    const LIVES: usize = 1000;
    const BATCH: usize = 40;
    let recording = begin();
    let (mut used, mut taken) = (Duration::ZERO, Duration::ZERO);
    for batch in 0..LIVES / BATCH {
        let spawn = |n| {
            // Its start has no phase to the tick, which samples.
            let pause = Duration::from_micros(random.below(8_000));
            selvedge::spawn(format!("short-{batch}-{n}"), move |_| {
                std::thread::sleep(pause);
                (burn_seen(Duration::from_micros(500)).taken, clock())
            })
        };
        let threads: Vec<_> = (0..BATCH).map(spawn).collect();
        for thread in threads {
            let (its_taken, its_clock) = thread.join().unwrap();
            taken += its_taken;
            used += its_clock;
        }
    }
    let profile = recording.finish();
    check_totals(&profile);
    let short: Vec<_> = profile.threads().iter().filter(|thread| thread.path().contains("/short-")).collect();
    assert_eq!(short.len(), LIVES, "each of them has an account");
    let cpu: Duration = short.iter().map(|thread| thread.cpu_time()).sum();
    assert!(near(cpu, used, 0.001, Duration::from_micros(700) * LIVES as u32), "{cpu:?} of {used:?}");
    let samples: u64 = short.iter().map(|thread| thread.samples()).sum();
    // The time that the host has taken from a thread comes with one sample.
    let due = (cpu - taken).as_secs_f64() / profile.period().as_secs_f64();
    let found = format!("{samples} samples of {LIVES} short threads, due {due:.1}, clock {cpu:?} of {used:?}");
    eprintln!("{found}");
    if (samples as f64 - due).abs() < 6.0 * due.sqrt() { Ok(()) } else { Err(found) }
}

/// When many threads start, the attachment of most is deferred. A thread that stays, has two names,
/// or lives at a snapshot has an account all the same.
#[test]
fn each_of_many_short_threads_is_accounted() {
    let _alone = alone();
    retried(Duration::from_millis(50), many_short_threads);
}

/// Some of the threads burn for that long.
fn many_short_threads(long: Duration) -> Result<(), String> {
    const LIVES: usize = 8000;
    let recording = begin();
    let (mut stay, mut waiting, mut known) = (Vec::new(), Vec::new(), 0);
    // A few of a million threads end with a CPU clock of zero on a virtual machine: the kernel does not count time
    // that the host has taken. A program in C has such threads as well.
    let mut without_time = 0;
    for life in 0..LIVES {
        let used = selvedge::spawn(format!("brief-{life}"), |_| clock()).join().unwrap();
        without_time += usize::from(used.is_zero());
        if life % 500 == 250 {
            let has_two_names = life % 1000 == 250;
            stay.push(selvedge::spawn(format!("stays-{life}"), move |_| {
                if has_two_names { burn_registered(long) } else { (burn(long), Bracket::default()).1 }
            }));
        }
        if life % 4000 == 3999 {
            let started = Semaphore::new("started", 0);
            for n in 0..10 {
                let started = started.clone();
                waiting.push(selvedge::spawn(format!("waits-{life}-{n}"), move |please_stop| {
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
    let brackets: Vec<Bracket> = stay.into_iter().map(|thread| thread.join().unwrap()).collect();
    waiting.iter().for_each(JoinHandle::stop);
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
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
    assert_eq!((members("/inner"), members("/stays-")), (LIVES / 1000, LIVES / 500 + LIVES / 1000));
    brackets.into_iter().sum::<Bracket>().check(inner.iter().map(|thread| thread.cpu_time()).sum());
    let outer = stay.iter().filter(|thread| thread.cpu_time() > long / 2);
    // Five are due.
    let unseen = outer.filter(|thread| thread.samples() == 0).count();
    if unseen <= 2 { Ok(()) } else { Err(format!("{unseen} of {} were never met", LIVES / 500)) }
}

/// The bounds of an account, or of a sum of accounts, by the clocks of the threads. A turn of `burn`
/// can take as long as the host keeps the processor for itself.
#[derive(Default)]
struct Bracket {
    least: Duration,
    most: Duration,
    threads: u32,
}

impl Bracket {
    #[track_caller]
    fn check(&self, account: Duration) {
        let tick = Duration::from_micros(1) * self.threads;
        let Bracket { least, most, .. } = *self;
        assert!((least - tick..=most + tick).contains(&account), "{least:?} to {most:?}: {account:?}");
    }
}

impl Sum for Bracket {
    fn sum<I: Iterator<Item = Bracket>>(all: I) -> Bracket {
        all.fold(Bracket::default(), |sum, next| Bracket {
            least: sum.least + next.least,
            most: sum.most + next.most,
            threads: sum.threads + next.threads,
        })
    }
}

/// Burns under the name `inner`, and brackets that account.
fn burn_registered(length: Duration) -> Bracket {
    let before = clock();
    let inner = selvedge::register("inner");
    let begins = clock();
    burn(length);
    let ends = clock();
    drop(inner);
    Bracket { least: ends - begins, most: clock() - before, threads: 1 }
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
    let _alone = alone();
    engines().into_iter().for_each(|engine| retried(Duration::from_millis(300), |third| kernel_time(engine, third)));
}

/// Works in three ways, a third of the time each. Returns the times, by the thread's own clock.
fn kernel_time_of(third: Duration) -> [Duration; 3] {
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
    let (from, mut to) = (vec![7; 1 << 20], vec![0; 1 << 20]);
    let time = |work: &mut dyn FnMut()| {
        let began = clock();
        while clock() - began < third {
            work();
        }
        clock() - began
    };
    [
        time(&mut || {
            copy(&from, &mut to);
            black_box(&to);
        }),
        time(&mut || drop(black_box(std::fs::read("/proc/self/maps").unwrap()))),
        time(&mut ask_the_time),
    ]
}

fn kernel_time(engine: Engine, third: Duration) -> Result<(), String> {
    let recording = begin_by(engine);
    let times = selvedge::spawn("system", move |_| kernel_time_of(third)).join().unwrap();
    let profile = recording.finish();
    let text = folded(&profile);
    check_totals(&profile);
    let of_thread = account(&profile, "/system");
    if of_thread.samples() <= 40 {
        return Err(format!("{of_thread:?}"));
    }
    for (kind, time) in ["::copy", "::read", "::ask_the_time"].into_iter().zip(times) {
        // A share of the sampled time: a busy machine samples late.
        let seen = weight(&text, kind) as f64 / of_thread.sampled_time().as_nanos() as f64;
        let truth = time.as_secs_f64() / times.iter().sum::<Duration>().as_secs_f64();
        let tolerance = six_sigma(truth, of_thread.samples());
        assert!((seen - truth).abs() < tolerance, "{kind}: {seen}, not {truth}:\n{text}");
    }
    assert_eq!(of_thread.broken(), 0, "{text}");
    for (stack, _) in lines(&text).filter(|(stack, _)| stack.contains(";system;") && !stack.contains("[unsampled]")) {
        let is_whole = stack.starts_with("main;test;system;profiles::totals::kernel_time");
        assert!(is_whole || stack.contains("[runtime]"), "{stack}");
    }
    Ok(())
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
    let (used, ended) = join_with_clock(worker);
    let profile = recording.finish();
    check_totals(&profile);
    let thread = account(&profile, "/worker");
    assert!(ends_there(thread.cpu_time(), used, ended, 1), "{used:?} to {ended:?}: {thread:?}");
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
        let bracket = burn_registered(Duration::from_millis(200));
        burn(Duration::from_millis(100));
        (bracket, clock())
    });
    let ((bracket, used), ended) = join_with_clock(thread);
    let profile = recording.finish();
    check_totals(&profile);
    let (outer, inner) = (account(&profile, "/outer"), account(&profile, "/outer/inner"));
    bracket.check(inner.cpu_time());
    let sum = outer.cpu_time() + inner.cpu_time();
    assert!(ends_there(sum, used, ended, 1), "{used:?} to {ended:?}, {outer:?}, {inner:?}");
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
