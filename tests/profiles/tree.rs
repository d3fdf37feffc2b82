//! A profile tells the threads of the tree apart: by their whole path, at their own CPU clocks,
//! however short they live.
//!
//! A sleep of the recording thread is the length of the recording. A result that is not there yet
//! is retried with a longer one, up to a deadline.
#![cfg(all(feature = "profiling", unix))]

use parking_lot::MutexGuard;
use selvedge::profile::{self, Options, Profile, ThreadProfile};
use selvedge::{Registered, Signal, Thread};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// In the tree as `main/test`, and alone.
fn alone() -> (Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

#[inline(never)]
fn spin(mut x: u64) -> u64 {
    for i in 0..10_000 {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    x
}

#[inline(never)]
fn burn_a(please_stop: &Signal) {
    while !please_stop.is_go() {
        black_box(spin(1));
    }
}

#[inline(never)]
fn burn_b(please_stop: &Signal) {
    while !please_stop.is_go() {
        black_box(spin(2));
    }
}

fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Records `while_it_runs`, each time for twice as long, until `enough` has been seen.
fn record_until(mut while_it_runs: impl FnMut(Duration), enough: impl Fn(&Profile, &str) -> bool) -> (Profile, String) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut length = Duration::from_millis(200);
    loop {
        let recording = profile::start(Options::new()).unwrap();
        while_it_runs(length);
        let profile = recording.finish();
        let lines = folded(&profile);
        if enough(&profile, &lines) {
            return (profile, lines);
        }
        assert!(Instant::now() < deadline, "not seen in {length:?}:\n{:?}\n{lines}", profile.threads());
        length *= 2;
    }
}

fn account<'a>(profile: &'a Profile, end: &str) -> &'a ThreadProfile {
    profile.threads().iter().find(|thread| thread.path().ends_with(end)).unwrap()
}

fn share(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}

#[test]
fn each_threads_code_is_under_its_path() {
    let _alone = alone();
    const LONG: &str = "a-name-far-longer-than-15-bytes";
    // Alive before the recording is: listed, not announced.
    let early = selvedge::spawn("early", burn_b);
    let (profile, lines) = record_until(
        |length| {
            let late = selvedge::spawn(LONG, burn_a);
            std::thread::sleep(length);
            late.stop();
            late.join().unwrap();
        },
        |profile, _| account(profile, LONG).samples() >= 20 && account(profile, "/early").samples() >= 20,
    );
    early.stop();
    early.join().unwrap();
    for line in lines.lines().filter(|line| line.contains("::burn_")) {
        assert!(line.starts_with("main;test;"), "each of these threads is in the tree: {lines}");
        assert!(!(line.contains(LONG) && line.contains("burn_b")), "{lines}");
        assert!(!(line.contains(";early;") && line.contains("burn_a")), "{lines}");
    }
    assert!(lines.contains(&format!("main;test;{LONG};profiles::tree::burn_a;")), "{lines}");
    assert!(lines.contains("main;test;early;profiles::tree::burn_b;"), "{lines}");
    for name in ["/early", LONG] {
        let thread = account(&profile, name);
        // The clock of the process drives the samples: 40 % is what chance may do to a short run.
        let seen = share(thread.sampled_time(), thread.cpu_time());
        assert!((0.6..1.4).contains(&seen), "{name}: {seen}: {thread:?}");
        assert!(thread.cpu_time() <= thread.wall_time() + Duration::from_millis(20), "{thread:?}");
    }
}

#[test]
fn earlier_cpu_time_is_not_counted() {
    let _alone = alone();
    let has_worked = Signal::new("has worked");
    let worked = has_worked.clone();
    let before = selvedge::spawn("before", move |please_stop: &Signal| {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            black_box(spin(1));
        }
        // A busy machine may have given it less than its share.
        while Thread::current().cpu_time().is_some_and(|time| time < Duration::from_millis(100)) {
            black_box(spin(1));
        }
        worked.go();
        please_stop.wait_for_go();
    });
    assert!(has_worked.wait_for_go_timeout(Duration::from_secs(30)));
    let recording = profile::start(Options::new()).unwrap();
    let profile = recording.finish();
    before.stop();
    before.join().unwrap();
    let thread = account(&profile, "/before");
    assert!(thread.cpu_time() < Duration::from_millis(100), "{thread:?}");
}

#[test]
fn successive_threads_keep_their_samples_apart() {
    let _alone = alone();
    let mut lives = Vec::new();
    // Joined before the next starts: the system gives the next one the same handle.
    let (profile, lines) = record_until(
        |length| {
            lives.clear();
            for (name, work) in [("first", burn_a as fn(&Signal)), ("second", burn_b)] {
                let born = Instant::now();
                let thread = selvedge::spawn(name, work);
                std::thread::sleep(length / 2);
                thread.stop();
                thread.join().unwrap();
                lives.push(born.elapsed());
            }
        },
        |profile, _| account(profile, "/first").samples() >= 10 && account(profile, "/second").samples() >= 10,
    );
    for line in lines.lines().filter(|line| line.contains("::burn_")) {
        let owner = if line.contains("::burn_a") { "main;test;first;" } else { "main;test;second;" };
        assert!(line.starts_with(owner), "{lines}");
    }
    for (name, life) in ["/first", "/second"].into_iter().zip(&lives) {
        let thread = account(&profile, name);
        assert!(thread.wall_time() <= *life, "no more than its own life, {life:?}: {thread:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_ended_threads_are_few_entries() {
    let _alone = alone();
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(objection) = ten_thousand_threads() {
        assert!(Instant::now() < deadline, "{objection}");
    }
}

/// Objects if the accounts have far more time than the threads' clocks.
#[cfg(target_os = "linux")]
fn ten_thousand_threads() -> Result<(), String> {
    let recording = profile::start(Options::new().engine(profile::Engine::Timer)).unwrap();
    let (mut cpu, count) = (Duration::ZERO, 10_000);
    for n in 0..count {
        let thread = selvedge::spawn(format!("connection-{n}"), |_| ());
        let known = thread.thread().clone();
        thread.join().unwrap();
        cpu += known.cpu_time().unwrap();
    }
    let profile = recording.finish();
    let pool = profile.threads().iter().filter(|thread| thread.path().starts_with("main/test/connection-"));
    let (mut entries, mut members, mut counted) = (0, 0, Duration::ZERO);
    for thread in pool {
        entries += 1;
        members += thread.members();
        counted += thread.cpu_time();
        assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time(), "{thread:?}");
    }
    assert!(entries <= 4096, "{entries} entries");
    assert_eq!(members, count);
    assert!(counted >= cpu, "{counted:?} of {cpu:?}");
    let mut picture = Vec::new();
    profile.write_flamegraph(&mut picture, &profile::FlameOptions::new()).unwrap();
    let folded = members - entries;
    assert!(String::from_utf8(picture).unwrap().contains(&format!("{folded} ended threads folded by pool")));
    // A sample that comes between a thread's last look at its clock and the end of its account has
    // a later clock. The host of a virtual machine may take the processor there, for any time.
    if counted - cpu < cpu / 20 { Ok(()) } else { Err(format!("{counted:?} of {cpu:?}")) }
}
