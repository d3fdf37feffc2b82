//! A recording by the process engine sees what runs. One test after another: the timer and its
//! signal belong to the process.
//!
//! A sleep of the recording thread is the length of the recording. A result that is not there yet
//! is retried with a longer one, up to a deadline.
#![cfg(all(feature = "pprof-engine", unix))]

use parking_lot::MutexGuard;
use selvedge::profile::{self, Clock, Engine, Options, Profile, Recording};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn alone() -> MutexGuard<'static, ()> {
    crate::ONE_AT_A_TIME.lock()
}

#[inline(never)]
fn burn(stop: &AtomicBool) -> u64 {
    let mut x = 1;
    while !stop.load(Ordering::Relaxed) {
        x = burn_inner(black_box(x));
    }
    x
}

#[inline(never)]
fn burn_inner(mut x: u64) -> u64 {
    for i in 0..10_000 {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    x
}

#[inline(never)]
fn dive(depth: usize, stop: &AtomicBool) -> u64 {
    if depth == 0 { burn(stop) } else { black_box(dive(depth - 1, stop)) + 1 }
}

/// Reads a file again and again: time in the kernel, below libc.
#[inline(never)]
fn read_files(stop: &AtomicBool) -> u64 {
    let mut bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        bytes += std::fs::read("/proc/self/maps").map_or(0, |text| text.len() as u64);
    }
    bytes
}

fn begin() -> Recording {
    profile::start(options()).unwrap()
}

fn options() -> Options {
    Options::new().engine(Engine::Process)
}

fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Records while `work` runs on a thread called `worker`, each time twice as long, until `enough`
/// has been seen.
fn record_until(work: fn(&AtomicBool) -> u64, enough: impl Fn(&str) -> bool) -> (Profile, String) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut length = Duration::from_millis(100);
    loop {
        let stop = AtomicBool::new(false);
        let profile = std::thread::scope(|scope| {
            let recording = begin();
            let worker = std::thread::Builder::new().name("worker".into());
            worker.spawn_scoped(scope, || black_box(work(&stop))).unwrap();
            std::thread::sleep(length);
            let profile = recording.finish();
            stop.store(true, Ordering::Relaxed);
            profile
        });
        let lines = folded(&profile);
        if enough(&lines) {
            return (profile, lines);
        }
        assert!(Instant::now() < deadline, "not seen in {length:?}:\n{lines}");
        length *= 2;
    }
}

/// The worker's lines, without path and weight.
fn of_worker(lines: &str) -> impl Iterator<Item = &str> {
    let stacks = lines.lines().map(|line| line.rsplit_once(' ').unwrap().0);
    stacks.filter_map(|stack| stack.strip_prefix("other;worker;"))
}

#[test]
fn busy_threads_are_seen_without_the_profiler() {
    let _alone = alone();
    let (profile, lines) = record_until(burn, |lines| of_worker(lines).any(|stack| stack.contains("::burn_inner")));
    for stack in of_worker(&lines) {
        assert!(!stack.contains("perf_signal_handler") && !stack.contains("backtrace::trace"), "{lines}");
        assert!(!stack.contains("restore_rt") && !stack.contains("killpg"), "{lines}");
    }
    let whole = of_worker(&lines).find(|stack| stack.contains("::burn_inner")).unwrap();
    assert!(whole.starts_with("profiles::process::"), "the machinery below it was to go: {lines}");
    assert!(whole.contains("::burn;"), "{lines}");
    let worker = profile.threads().iter().find(|thread| thread.path() == "other/worker").unwrap();
    assert!(worker.samples() > 0);
    assert_eq!(worker.sampled_time(), profile.period() * worker.samples() as u32);
    assert_eq!(profile.unregistered(), profile.samples(), "no thread here is in the tree");
    assert!(profile.top(100).entries().iter().any(|entry| entry.function().ends_with("::burn_inner")));
}

#[test]
fn a_deep_stack_is_shown_as_truncated() {
    let _alone = alone();
    let (profile, lines) = record_until(|stop| dive(300, stop), |lines| lines.contains("::burn_inner"));
    let whole = of_worker(&lines).find(|stack| stack.contains("::burn_inner")).unwrap();
    assert!(whole.starts_with("[truncated];profiles::process::dive;"), "{lines}");
    assert!(profile.threads().iter().any(|thread| thread.truncated() > 0));
}

#[test]
fn time_in_libc_and_the_kernel_is_seen() {
    let _alone = alone();
    let (_, lines) = record_until(read_files, |lines| of_worker(lines).any(|stack| stack.contains("::read")));
    let whole = of_worker(&lines).find(|stack| stack.contains("::read")).unwrap();
    assert!(whole.starts_with("profiles::process::"), "{lines}");
}

#[test]
fn a_snapshot_does_not_end_the_recording() {
    let _alone = alone();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| black_box(burn(&stop)));
        let recording = begin();
        let deadline = Instant::now() + Duration::from_secs(60);
        let first = recording.snapshot();
        let mut next = recording.snapshot();
        while next.samples() <= first.samples() {
            assert!(Instant::now() < deadline, "no sample after the first snapshot");
            next = recording.snapshot();
        }
        assert!(next.duration() > first.duration());
        let whole = recording.finish();
        stop.store(true, Ordering::Relaxed);
        assert!(whole.samples() >= next.samples(), "what was there once is kept");
    });
}

#[test]
fn recordings_run_one_at_a_time() {
    let _alone = alone();
    let recording = begin();
    let error = profile::start(options()).unwrap_err();
    assert!(error.is_already_running(), "{error:?}");
    assert_eq!((recording.finish().engine(), begin().snapshot().clock()), (Engine::Process, Clock::Cpu));
    // That one was dropped.
    drop(begin());
}

#[test]
fn a_refused_recording_leaves_nothing() {
    let _alone = alone();
    let refused = [
        (options().frequency(0), "profile.frequency: 0 Hz"),
        (options().frequency(10_001), "profile.frequency: 10001 Hz"),
        (options().clock(Clock::Wall), "take `cpu`"),
    ];
    for (options, text) in refused {
        let error = profile::start(options).unwrap_err();
        assert!(error.is_profile() && error.to_string().contains(text), "{error}");
    }
    drop(begin());
}

#[test]
fn another_user_of_the_signal_is_left_alone() {
    extern "C" fn others(_signal: libc::c_int) {}
    let _alone = alone();
    // SAFETY: the handler does nothing, which is safe in a signal handler.
    let before = unsafe { libc::signal(libc::SIGPROF, others as *const () as libc::sighandler_t) };
    let error = profile::start(options()).unwrap_err();
    // SAFETY: what was there is put back: nothing, or what an earlier recording has left, which is
    // to ignore it.
    let found = unsafe { libc::signal(libc::SIGPROF, before) };
    assert!(error.is_profile() && error.to_string().contains("SIGPROF"), "{error}");
    assert_eq!(found, others as *const () as libc::sighandler_t);
    drop(begin());
}

#[test]
fn a_recording_can_be_finished_by_another_thread() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let _alone = alone();
    let recording = shared(begin());
    let profile = std::thread::spawn(|| recording.finish()).join().unwrap();
    shared(profile);
}
