//! The timer engine's profile is true: weights add up to each thread's CPU clock, a known split
//! comes out as it is, sleeping stacks weigh nothing, short lives are seen, deep and strange stacks
//! are what they are.
//!
//! Tolerances are what sampling itself does to the figure (six standard deviations), or the promise
//! where a run is long enough for that to be less; a run that is too short is repeated, twice as
//! long. None is made again because it failed.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::random::Random;
use crate::split::{one_part, spin, three_parts};
use parking_lot::MutexGuard;
use selvedge::profile::{self, Engine, Options, Profile, ThreadProfile};
use selvedge::{Registered, Semaphore, Signal};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// In the tree as `main/test`, and alone.
fn alone() -> (Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

fn begin() -> profile::Recording {
    profile::start(Options::new().engine(Engine::Timer)).unwrap()
}

/// The calling thread's CPU clock.
fn clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The kernel's tick: when one of them was, by CLOCK_MONOTONIC in nanoseconds, and how long they
/// are apart.
fn ticks() -> (i64, i64) {
    let nanos = |clock: libc::clockid_t,
                 ask: unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is writable.
        assert_eq!(unsafe { ask(clock, &mut time) }, 0);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    // The coarse clock goes on with each tick; a look that took long has missed when.
    let coarse = || nanos(libc::CLOCK_MONOTONIC_COARSE, libc::clock_gettime);
    let fine = || nanos(libc::CLOCK_MONOTONIC, libc::clock_gettime);
    loop {
        let (last, before) = (coarse(), fine());
        if coarse() != last && fine() - before < 20_000 {
            return (before, nanos(libc::CLOCK_MONOTONIC_COARSE, libc::clock_getres));
        }
    }
}

/// Until a tenth of a tick after the next one.
fn sleep_past_the_tick((one, apart): (i64, i64)) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable, then a whole time to sleep until.
    unsafe {
        assert_eq!(libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now), 0);
        let nanos = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        let next = one + ((nanos - one) / apart + 1) * apart + apart / 10;
        now = libc::timespec { tv_sec: next / 1_000_000_000, tv_nsec: next % 1_000_000_000 };
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &now, std::ptr::null_mut());
    }
}

#[inline(never)]
fn dive(depth: usize, length: Duration) -> u64 {
    if depth == 0 { burn(length) } else { black_box(dive(depth - 1, length)) + 1 }
}

#[inline(never)]
fn burn(length: Duration) -> u64 {
    let end = clock() + length;
    let mut x = 0;
    while clock() < end {
        x ^= spin(10_000);
    }
    x
}

fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Each line's stack and weight.
fn lines(folded: &str) -> impl Iterator<Item = (&str, u64)> {
    folded.lines().map(|line| {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        (stack, weight.parse().unwrap())
    })
}

fn weight(folded: &str, part: &str) -> u64 {
    lines(folded).filter(|(stack, _)| stack.contains(part)).map(|(_, weight)| weight).sum()
}

fn account<'a>(profile: &'a Profile, end: &str) -> &'a ThreadProfile {
    profile.threads().iter().find(|thread| thread.path().ends_with(end)).unwrap()
}

/// Whether this process may have perf events: by a recording at a rate that only they can give.
fn perf_clocks_are_permitted() -> bool {
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(2000)).unwrap();
    recording.finish().period() < Duration::from_millis(1)
}

fn near(a: Duration, b: Duration, share: f64, slack: Duration) -> bool {
    a.abs_diff(b) <= b.mul_f64(share) + slack
}

/// Six standard deviations of a share that is measured with so many samples.
fn six_sigma(share: f64, samples: u64) -> f64 {
    6.0 * (share * (1.0 - share) / samples as f64).sqrt()
}

/// What the account of each thread must say, however many samples came.
fn check_books(profile: &Profile) {
    let folded = folded(profile);
    let mut sum = Duration::ZERO;
    for thread in profile.threads() {
        assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time(), "{thread:?}");
        sum += thread.cpu_time();
    }
    assert_eq!(sum.as_nanos() as u64, lines(&folded).map(|(_, weight)| weight).sum::<u64>());
}

/// Ending a thread costs it some time after its function.
const AROUND: Duration = Duration::from_micros(700);

/// Alternating faster than is sampled: each sample is a draw.
#[test]
fn a_known_split_is_measured_in_full() {
    let _alone = alone();
    split(100);
}

/// Above the kernel's tick, by perf events where they are permitted; elsewhere at the tick.
#[test]
fn a_known_split_is_measured_at_higher_rates() {
    let _alone = alone();
    split(1000);
}

fn split(frequency: u32) {
    let mut length = Duration::from_millis(500);
    loop {
        let recording = profile::start(Options::new().engine(Engine::Timer).frequency(frequency)).unwrap();
        let worker = selvedge::spawn("worker", move |_| {
            let began = clock();
            let (mut three, mut one) = (Duration::ZERO, Duration::ZERO);
            while clock() - began < length {
                let before = clock();
                three_parts();
                let between = clock();
                one_part();
                three += between - before;
                one += clock() - between;
            }
            (clock(), three.as_secs_f64() / (three + one).as_secs_f64())
        });
        let (used, truth) = worker.join().unwrap();
        let profile = recording.finish();
        let text = folded(&profile);
        check_books(&profile);
        let thread = account(&profile, "/worker");
        assert!(near(thread.cpu_time(), used, 0.001, AROUND), "{used:?} {thread:?}");
        assert_eq!((thread.broken(), thread.truncated()), (0, 0), "{thread:?}\n{text}");
        let (three, one) = (weight(&text, "three_parts"), weight(&text, "one_part"));
        let seen = three as f64 / (three + one) as f64;
        let tolerance = six_sigma(truth, thread.samples().max(1));
        eprintln!("{length:?}: {} samples, {truth:.4} seen {seen:.4} ± {tolerance:.4} {thread:?}", thread.samples());
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
    phases(100, Duration::from_secs(10), 0.02);
}

/// Within one point at 1000 Hz; at the tick, where that cannot be had.
#[test]
fn phases_are_measured_at_a_higher_rate() {
    let _alone = alone();
    phases(1000, Duration::from_secs(2), 0.01);
}

fn phases(frequency: u32, length: Duration, tolerance: f64) {
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
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(frequency)).unwrap();
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
    check_books(&profile);
    let (first, second) = (weight(&text, "::first"), weight(&text, "::second"));
    let seen = first as f64 / (first + second) as f64;
    eprintln!("{truth:.4} seen as {seen:.4}: {:?}", account(&profile, "/worker"));
    assert!((seen - truth).abs() < tolerance, "{truth} seen as {seen}:\n{text}");
}

#[test]
fn a_mostly_sleeping_thread_is_measured_among_others() {
    let _alone = alone();
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
    let recording = begin();
    // Asleep at each tick: a timer never finds it running.
    let sleeper = selvedge::spawn("sleeper", |please_stop: &Signal| {
        let ticks = ticks();
        while !please_stop.is_go() {
            sleep_past_the_tick(ticks);
            burn(Duration::from_nanos(ticks.1 as u64).mul_f64(0.3));
        }
        clock()
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while sleeper.thread().cpu_time().is_none_or(|time| time < Duration::from_millis(400)) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    early.stop();
    sleeper.stop();
    let (early, sleeper) = (early.join().unwrap() - before, sleeper.join().unwrap());
    let profile = recording.finish();
    let text = folded(&profile);
    check_books(&profile);
    let (of_early, of_sleeper) = (account(&profile, "/early"), account(&profile, "/sleeper"));
    // What it did between our look at its clock and the start of the recording.
    assert!(near(of_early.cpu_time(), early, 0.001, Duration::from_millis(50)), "{early:?} {of_early:?}");
    assert!(near(of_sleeper.cpu_time(), sleeper, 0.001, AROUND), "{sleeper:?} {of_sleeper:?}");
    // 40 are due. It gets a perf clock after the first few, where there are any; what its timer has
    // missed is counted.
    let due = (of_sleeper.cpu_time().as_nanos() / profile.period().as_nanos()) as u64;
    assert!(of_sleeper.samples() + of_sleeper.lost() >= due && due >= 38, "{due} due: {of_sleeper:?}");
    let least = if perf_clocks_are_permitted() { 30 } else { 1 };
    assert!(of_sleeper.samples() >= least, "{of_sleeper:?}");
    for (stack, _) in lines(&text).filter(|(stack, _)| stack.contains(";early;")) {
        assert!(!stack.contains("::burn") && stack.starts_with("main;test;early;"), "{text}");
    }
}

/// Less than one percent of the CPU time on a stack that sleeps, beyond what the call uses itself.
#[test]
fn what_was_used_awake_is_not_found_asleep() {
    let _alone = alone();
    let mut length = Duration::from_secs(1);
    loop {
        let recording = profile::start(Options::new().engine(Engine::Timer).frequency(1000)).unwrap();
        let sleepers: Vec<_> = (0..4)
            .map(|n| {
                selvedge::spawn(format!("sleeper-{n}"), move |_| {
                    let (mut in_call, end) = (Duration::ZERO, Instant::now() + length);
                    // Of no fixed length: a cycle that goes into some periods exactly is always
                    // sampled in the same places.
                    let mut random = Random(n);
                    while Instant::now() < end {
                        burn(Duration::from_micros(300 + random.below(1000)));
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
        check_books(&profile);
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
    check_books(&profile);
    let short: Vec<_> = profile.threads().iter().filter(|thread| thread.path().contains("/short-")).collect();
    assert_eq!(short.len(), LIVES, "each of them has an account");
    let cpu: Duration = short.iter().map(|thread| thread.cpu_time()).sum();
    assert!(near(cpu, used, 0.001, AROUND * LIVES as u32), "{cpu:?} of {used:?}");
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
    for life in 0..LIVES {
        selvedge::spawn(format!("brief-{life}"), |_| ()).join().unwrap();
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
            check_books(&snapshot);
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
    check_books(&profile);
    let of = |name: &str| profile.threads().iter().filter(|thread| thread.path().contains(name)).collect::<Vec<_>>();
    // Past some thousands of ended threads, threads whose names differ only in a number share one
    // entry.
    let members = |name: &str| of(name).iter().map(|thread| thread.members()).sum::<u64>() as usize;
    assert_eq!((known, members("/waits-"), members("/brief-")), (30, 20, LIVES), "in the snapshots, and in the end");
    assert!(of("/brief-").iter().all(|thread| !thread.cpu_time().is_zero()));
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
    check_books(&profile);
    let of = |name: &str| -> Vec<String> {
        let stacks = lines(&text).filter(|(stack, _)| stack.contains("::dive"));
        stacks.filter_map(|(stack, _)| stack.strip_prefix(&format!("main;test;{name};")).map(String::from)).collect()
    };
    let (deep, flat) = (of("deep"), of("flat"));
    assert!(!deep.is_empty() && !flat.is_empty(), "{text}");
    for stack in deep.iter().filter(|stack| stack.contains("::burn")) {
        assert!(stack.starts_with("[truncated];profiles::truth::dive;"), "{stack}");
        assert!((150..=200).contains(&stack.matches("::dive").count()), "{stack}");
    }
    for stack in flat.iter().filter(|stack| stack.contains("::burn")) {
        assert_eq!(stack.matches("::dive").count(), 21, "{stack}");
        assert!(stack.starts_with("profiles::truth::deep_recursion"), "from its first function on: {stack}");
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
    let recording = begin();
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
    check_books(&profile);
    let of_thread = account(&profile, "/system");
    assert!(of_thread.samples() > 40, "{of_thread:?}");
    for kind in ["::copy", "::read", "::ask_the_time"] {
        let seen = weight(&text, kind) as f64 / of_thread.cpu_time().as_nanos() as f64;
        let tolerance = six_sigma(1.0 / 3.0, of_thread.samples());
        assert!((seen - 1.0 / 3.0).abs() < tolerance, "{kind}: {seen}, not a third:\n{text}");
    }
    assert_eq!(of_thread.broken(), 0, "{text}");
    for (stack, _) in lines(&text).filter(|(stack, _)| stack.contains(";system;") && !stack.contains("[unsampled]")) {
        assert!(
            stack.starts_with("main;test;system;profiles::truth::kernel_time_has_whole_stacks")
                || stack.contains("[runtime]"),
            "{stack}"
        );
    }
}

#[test]
fn a_snapshot_has_totals_and_sampling_continues() {
    let _alone = alone();
    let recording = begin();
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
        check_books(&profile);
        let now = profile.threads().iter().find(|thread| thread.path().ends_with("/worker"));
        let now = now.map_or(Duration::ZERO, |thread| thread.cpu_time());
        assert!(now >= last);
        last = now;
    }
    worker.stop();
    let used = worker.join().unwrap();
    let profile = recording.finish();
    check_books(&profile);
    let thread = account(&profile, "/worker");
    assert!(near(thread.cpu_time(), used, 0.001, AROUND), "{used:?} {thread:?}");
    // One for each period, give or take the last.
    let due = thread.cpu_time().as_nanos() / profile.period().as_nanos();
    assert!(u128::from(thread.samples() + thread.lost()) + 2 >= due, "{due} due: {thread:?}");
}

#[test]
fn a_twice_registered_thread_has_two_accounts() {
    let _alone = alone();
    let recording = begin();
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
    check_books(&profile);
    let (outer, inner) = (account(&profile, "/outer"), account(&profile, "/outer/inner"));
    assert!(near(outer.cpu_time(), Duration::from_millis(200), 0.05, AROUND), "{outer:?}");
    assert!(near(inner.cpu_time(), Duration::from_millis(200), 0.05, AROUND), "{inner:?}");
    assert!(near(outer.cpu_time() + inner.cpu_time(), used, 0.001, AROUND), "{used:?}");
    assert!(weight(&folded(&profile), "main;test;outer;inner;profiles::truth") > 0);
}

/// By the wall clock: each thread has its whole life, and what it waits for is the leaf.
#[test]
fn wall_time_splits_into_work_and_waits() {
    let _alone = alone();
    let queue: selvedge::Queue<u32> = selvedge::Queue::bounded("paths", 1);
    let mut length = Duration::from_secs(1);
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
        assert!(length < Duration::from_secs(15), "{truth} seen as {seen}, waited {waited}:\n{text}");
        length *= 2;
    }
}
