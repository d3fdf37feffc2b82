//! The sums of waits with stacks: they are those of the program's own stopwatch and of the accounts,
//! whatever happens to threads, recordings and engines.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::until_asleep;
use crate::support::in_own_process_within;
use crate::wait_stacks::{GoProfile, KEPT, alone, exact, folded, record, wait_for_the_clock};
use selvedge::profile::{self, Account, Options, Profile};
use selvedge::{Lock, Queue, Signal, Till, spawn};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Just before and just after another thread let a signal go.
type Gone = (Instant, Instant);

/// Waits for each of the signals. Returns how long at least, and at most.
#[inline(never)]
fn wait_often(signals: &[Signal], gone: &Queue<Gone>) -> (Duration, Duration) {
    let wait = |signal: &Signal| {
        let began = Instant::now();
        signal.wait_for_go();
        began
    };
    // A signal is not spun for, so the whole call is the wait.
    let began: Vec<Instant> = signals.iter().map(wait).collect();
    began.into_iter().fold((Duration::ZERO, Duration::ZERO), |(least, most), began| {
        let (before, after) = gone.pop().unwrap();
        (least + before.saturating_duration_since(began), most + after.saturating_duration_since(began))
    })
}

/// Waits for each of the times. Returns how long, up to the time.
#[inline(never)]
fn wait_seldom(times: &[Instant]) -> Duration {
    let wait = |at: &Instant| {
        let began = Instant::now();
        Till::at(*at).wait_for_go();
        at.saturating_duration_since(began)
    };
    times.iter().map(wait).sum()
}

/// The times are those of the program's own stopwatch, whether the waits are short or long.
#[test]
fn the_times_are_those_of_a_stopwatch() {
    let _alone = alone();
    let far = |found: u64, right: Duration| (found as f64 / right.as_nanos() as f64 - 1.0).abs();
    let mut worst = String::new();
    // The clock of the stopwatch is read before and after the call, where the thread may lose its
    // processor: a run that was disturbed is repeated.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        let mut right = ((Duration::ZERO, Duration::ZERO), Duration::ZERO);
        let profile = record(|| {
            let signals: Vec<Signal> = (0..200).map(|n| Signal::new(format!("step {}", n % 2))).collect();
            let gone = Queue::unbounded("gone");
            let ender = spawn("ender", {
                let (signals, gone) = (signals.clone(), gone.clone());
                move |_| {
                    for signal in &signals {
                        std::thread::sleep(Duration::from_millis(2));
                        let before = Instant::now();
                        signal.go();
                        gone.add((before, Instant::now())).unwrap();
                    }
                }
            });
            let waiter = spawn("waiter", move |_| {
                let often = wait_often(&signals, &gone);
                let begin = Instant::now();
                let times: Vec<_> = (1..=20).map(|n| begin + n * Duration::from_millis(10)).collect();
                (often, wait_seldom(&times))
            });
            right = waiter.join().unwrap();
            ender.join().unwrap();
        });
        let lines = folded(&profile);
        let of = |function: &str| {
            let own = lines.iter().filter(|line| line.0.contains(function) && line.0.contains("[waiting for signal"));
            own.map(|line| line.1).sum::<u64>()
        };
        let (often, seldom) = (of("::wait_often"), of("::wait_seldom"));
        let (least, most) = right.0;
        worst = format!("{often} ns of {least:?} to {most:?}, {seldom} ns of {:?}", right.1);
        assert!(u128::from(often) <= most.as_nanos(), "{worst}");
        if often as f64 >= 0.99 * least.as_nanos() as f64 && far(seldom, right.1) < 0.01 {
            return;
        }
    }
    panic!("{worst}");
}

/// What has ended the waits of this kind.
fn enders<'a>(profile: &'a Profile, path: &str, kind: &str) -> Vec<&'a str> {
    let waits = profile.accounts().iter().filter(|account| account.path() == path).flat_map(Account::waits);
    waits.filter(|wait| wait.kind() == kind).flat_map(|wait| wait.ended_by()).map(|(by, _)| &**by).collect()
}

#[test]
fn a_till_that_is_let_go_early_is_ended_by_that_thread() {
    let _alone = alone();
    let profile = record(|| {
        let till = Till::after(Duration::from_secs(1000));
        let either = &*till | &Signal::new("never told");
        let waiter = spawn("waiter", move |_| either.wait_for_go());
        until_asleep("signal", &[waiter.thread()]);
        std::thread::sleep(KEPT);
        till.go();
        waiter.join().unwrap();
    });
    assert_eq!(enders(&profile, "main/test/waiter", "signal"), ["main/test"]);
}

#[test]
fn a_wait_for_room_is_ended_by_the_thread_that_stops_it() {
    let _alone = alone();
    let profile = record(|| {
        let (full, stop) = (Queue::bounded("full", 1), Signal::new("stop"));
        full.add(1).unwrap();
        let till = stop.clone();
        let adder = spawn("adder", move |_| full.add_till(2, &till).is_err());
        until_asleep("room in queue", &[adder.thread()]);
        std::thread::sleep(KEPT);
        stop.go();
        assert!(adder.join().unwrap());
    });
    assert_eq!(enders(&profile, "main/test/adder", "room in queue"), ["main/test"]);
}

#[test]
fn a_thread_that_passes_its_wake_up_on_ends_no_wait() {
    let _alone = alone();
    let profile = record(|| {
        let jobs = Queue::unbounded("jobs");
        let poppers = [0, 1, 2].map(|n| {
            let jobs = jobs.clone();
            spawn(format!("popper-{n}"), move |_| jobs.pop().is_some())
        });
        until_asleep("queue", &poppers.each_ref().map(|popper| popper.thread()));
        std::thread::sleep(KEPT);
        // Wakes one of them, which wakes the next.
        jobs.extend([0, 1, 2]).unwrap();
        poppers.into_iter().for_each(|popper| assert!(popper.join().unwrap()));
    });
    let paths = [0, 1, 2].map(|n| format!("main/test/popper-{n}"));
    let enders: Vec<_> = paths.iter().flat_map(|path| enders(&profile, path, "queue")).collect();
    assert!(enders.contains(&"main/test") && enders.iter().all(|by| !by.contains("popper")), "{enders:?}");
}

/// The kernel wakes a thread up to its timer slack after the deadline. That is no time outside.
#[test]
fn the_account_of_a_thread_that_waits_for_the_clock_closes_within_a_hundredth() {
    let _alone = alone();
    let begin = Instant::now();
    loop {
        let profile = record(|| {
            let heartbeat = || (0..100).for_each(|_| wait_for_the_clock(&Till::after(Duration::from_millis(4))));
            spawn("heartbeat", move |_| heartbeat()).join().unwrap();
        });
        let account = profile.accounts().iter().find(|account| account.path() == "main/test/heartbeat").unwrap();
        let open = account.outside().max(account.excess());
        // On a busy machine most of its life is runnable.
        let waited: Duration = account.waits().iter().map(|wait| wait.total()).sum();
        println!("{open:?} beside {waited:?} of waits");
        if !account.is_runnable_known() || open <= waited / 100 {
            return;
        }
        // Faults for pages, and interrupts at a wake-up: such a run is repeated.
        assert!(begin.elapsed() < Duration::from_secs(60), "{account:#?}");
    }
}

#[cfg(feature = "pprof-engine")]
#[test]
fn an_engine_without_stacks_says_so_and_keeps_the_times() {
    let _alone = alone();
    crate::measure::retried(KEPT, |kept| {
        let recording = profile::start(Options::new().engine(profile::Engine::Process).waits(true)).unwrap();
        spawn("waiter", move |_| wait_for_the_clock(&Till::after(kept))).join().unwrap();
        let profile = recording.finish();
        let mut svg = Vec::new();
        profile.write_waits(&mut svg, &profile::FlameOptions::new()).unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("no stacks: the engine `process` takes none"), "why");
        let lines = folded(&profile);
        let line = lines.iter().find(|line| line.0.starts_with("main;test;waiter;"));
        // No thread sees that this one sleeps, and the time comes in any case.
        let Some(line) = line.filter(|line| line.1 as f64 >= kept.as_nanos() as f64 * 0.9) else {
            return Err(format!("{lines:#?}"));
        };
        assert!(line.0.starts_with("main;test;waiter;[no stack];[waiting for signal"), "{lines:#?}");
        Ok(())
    });
}

#[test]
fn a_profile_without_waits_says_why_it_is_empty() {
    let _alone = alone();
    let recording = profile::start(Options::new()).unwrap();
    wait_for_the_clock(&Till::after(Duration::from_millis(5)));
    let profile = recording.finish();
    assert!(folded(&profile).is_empty() && GoProfile::block(&profile).samples().is_empty());
    let mut svg = Vec::new();
    profile.write_waits(&mut svg, &profile::FlameOptions::new()).unwrap();
    assert!(String::from_utf8(svg).unwrap().contains("waits were not counted"), "why");
}

/// Returns `true` if a wait was found with its stack, and the sums were exact in each attempt.
fn records_a_wait_for_the_clock() -> bool {
    let (began, mut length) = (Instant::now(), Duration::from_millis(20));
    loop {
        let profile = record(|| wait_for_the_clock(&Till::after(length)));
        let lines = folded(&profile);
        if lines.iter().map(|line| line.1).sum::<u64>() != exact(&profile) {
            return false;
        }
        // Without its processor, the thread may not fall asleep before the time comes.
        let is_there = lines.iter().any(|line| line.0.contains("::wait_for_the_clock"));
        if is_there || began.elapsed() > Duration::from_secs(20) {
            return is_there;
        }
        length *= 2;
    }
}

/// Threads come and go, guards are leaked, recordings begin and end meanwhile, and the process forks:
/// each time the sums are those of the accounts.
#[test]
fn storms_forks_and_leaked_guards_lose_no_time() {
    if in_own_process_within(module_path!(), "storms_forks_and_leaked_guards_lose_no_time", Duration::from_secs(120)) {
        return;
    }
    let stop = Signal::new("stop");
    let (lock, jobs) = (Arc::new(Lock::new("table", 0u64)), Queue::bounded("jobs", 4));
    let storm: Vec<_> = (0..4)
        .map(|n| {
            let (lock, jobs, stop) = (lock.clone(), jobs.clone(), stop.clone());
            spawn(format!("storm-{n}"), move |_| {
                while !stop.is_go() {
                    *lock.lock() += 1;
                    if n % 2 == 0 {
                        jobs.add_till(n, &stop).is_ok()
                    } else {
                        jobs.pop_till(&stop).is_ok()
                    };
                    let short = spawn("short", |_| std::mem::forget(selvedge::register("leaked")));
                    short.join().unwrap();
                    let own = std::thread::spawn(|| {
                        std::mem::forget(selvedge::register("leaked too"));
                        Till::after(Duration::from_micros(100)).wait_for_go();
                    });
                    own.join().unwrap();
                }
            })
        })
        .collect();
    for round in 0..2 {
        let recording = profile::start(Options::new().frequency(1000).waits(true)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let profile = recording.snapshot();
        assert_eq!(folded(&profile).iter().map(|line| line.1).sum::<u64>(), exact(&profile));
        // SAFETY: the child waits in this crate, has a recording of its own, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(recording);
            Till::after(Duration::from_millis(5)).wait_for_go();
            // SAFETY: ends the child.
            unsafe { libc::_exit(if records_a_wait_for_the_clock() { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for this process's child.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "round {round}: the child");
        let profile = recording.finish();
        assert_eq!(folded(&profile).iter().map(|line| line.1).sum::<u64>(), exact(&profile));
        let lines = folded(&profile);
        assert!(lines.iter().any(|line| line.0.contains("storm-")), "round {round}: {lines:#?}");
    }
    stop.go();
    storm.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Also of a wait of the runtime's own: the writer sleeps until a thread logs.
#[cfg(feature = "log4rs")]
#[test]
fn the_log_writer_is_woken_by_the_thread_that_logs() {
    let (module, test) = (module_path!(), "the_log_writer_is_woken_by_the_thread_that_logs");
    if in_own_process_within(module, test, Duration::from_secs(120)) {
        return;
    }
    let folder = crate::support::Folder::new("log-writer-is-woken");
    let runtime = selvedge::Runtime::start(selvedge::Config::load(folder.config("")).unwrap()).unwrap();
    let recording = profile::start(Options::new().waits(true)).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        log::info!("a line");
        // Long enough for the writer to sleep before the next line.
        std::thread::sleep(Duration::from_millis(30));
        let profile = recording.snapshot();
        let writer = profile.accounts().iter().find(|account| account.path() == "main/selvedge/log-writer");
        let waits = writer.map_or(&[][..], |account| account.waits());
        let records = waits.iter().find(|wait| wait.kind() == "records for log");
        let woken_by_main = |wait: &profile::WaitTotal| wait.ended_by().iter().any(|(by, _)| **by == *"main");
        if records.is_some_and(woken_by_main) {
            break;
        }
        assert!(Instant::now() < until, "{writer:#?}");
    }
    drop(recording);
    runtime.shutdown().unwrap();
}
