//! The ring engine: no signal is sent and no handler installed, threads are sampled from their
//! beginning, forks and long stacks are what they are, and a system that refuses it is told.
//!
//! Where the kernel gives no rings, each test says so, and passes.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::*;
use crate::support::in_own_process;
use selvedge::profile::{self, Clock, Engine, FlameOptions, Options, Profile};
use selvedge::{Signal, spawn};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn options() -> Options {
    Options::new().engine(Engine::Ring).frequency(1000)
}

fn start() -> profile::Recording {
    profile::start(options()).unwrap()
}

/// In which the summary is.
fn picture(profile: &Profile) -> String {
    let mut picture = Vec::new();
    profile.write_flamegraph(&mut picture, &FlameOptions::new()).unwrap();
    String::from_utf8(picture).unwrap()
}

fn handler_of_sigprof() -> usize {
    // SAFETY: all-zero is a valid sigaction, which the call fills.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(libc::SIGPROF, std::ptr::null(), &mut action), 0);
        action.sa_sigaction
    }
}

#[test]
fn no_signal_is_sent_and_no_handler_is_installed() {
    if in_own_process(module_path!(), "no_signal_is_sent_and_no_handler_is_installed") {
        return;
    }
    let _alone = alone();
    let recording = start();
    if recording.snapshot().engine() != Engine::Ring {
        rings_are_permitted();
        return;
    }
    assert_eq!(handler_of_sigprof(), libc::SIG_DFL);
    drop(recording);
    retried(Duration::from_millis(150), three_by_ring);
}

fn three_by_ring(length: Duration) -> Result<(), String> {
    let recording = start();
    // One signal would end the process.
    let work = move |_: &Signal| (burn_seen(length), clock());
    let workers: Vec<_> = (0..3).map(|n| spawn(format!("w-{n}"), work)).collect();
    let (mut burnt, mut used, mut ended) = (Burnt::default(), Duration::ZERO, Duration::ZERO);
    for worker in workers {
        let ((its_burnt, its_clock), its_end) = join_with_clock(worker);
        burnt = [burnt, its_burnt].into_iter().sum();
        used += its_clock;
        ended += its_end;
    }
    assert_eq!(handler_of_sigprof(), libc::SIG_DFL);
    let profile = recording.finish();
    assert_eq!(handler_of_sigprof(), libc::SIG_DFL);
    check_totals(&profile);
    let of_workers = profile.threads().iter().filter(|thread| thread.path().contains("/w-"));
    let (cpu, samples, lost) = of_workers.fold((Duration::ZERO, 0, 0), |(cpu, samples, lost), thread| {
        (cpu + thread.cpu_time(), samples + thread.samples(), lost + thread.lost())
    });
    assert!(ends_there(cpu, used, ended, 3), "{cpu:?} of {used:?} to {ended:?}");
    let due = periods(cpu, profile.period());
    assert!(samples + lost + 3 >= due, "{samples} and {lost} of {due}");
    assert_eq!(profile.period(), Duration::from_millis(1));
    assert!(picture(&profile).contains("1000 Hz (ring)"));
    // The sampler had no processor for so long that rings were full.
    if lost * 10 > due {
        return Err(format!("{lost} of {due} lost"));
    }
    assert!(samples > burnt.due(profile.period()) / 2, "{samples} of {due}: {burnt:?}");
    Ok(())
}

/// Each lives for five periods: an engine that learns of a thread after its start would have none
/// of many of them.
#[test]
fn threads_are_sampled_from_their_beginning() {
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    retried(Duration::from_micros(5_500), |_| short_threads());
}

fn short_threads() -> Result<(), String> {
    let recording = start();
    for _ in 0..10 {
        let work = |_: &Signal| burn_seen(Duration::from_micros(5_500));
        let threads: Vec<_> = (0..10).map(|n| spawn(format!("short-{n}"), work)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    let profile = recording.finish();
    check_totals(&profile);
    let short: Vec<_> = profile.threads().iter().filter(|thread| thread.path().contains("/short-")).collect();
    assert_eq!(short.len(), 100);
    let samples: u64 = short.iter().map(|thread| thread.samples()).sum();
    let lost: u64 = short.iter().map(|thread| thread.lost()).sum();
    let unsampled: Duration = short.iter().map(|thread| thread.unsampled_time()).sum();
    let cpu: Duration = short.iter().map(|thread| thread.cpu_time()).sum();
    let due: u64 = short.iter().map(|thread| periods(thread.cpu_time(), profile.period())).sum();
    assert!(samples <= due + 120, "{samples} samples, {due} due");
    // The sampler had no processor for so long that rings were full.
    if lost * 50 > due {
        return Err(format!("{lost} of {due} lost"));
    }
    let unseen = short.iter().filter(|thread| thread.samples() == 0).count();
    // Five each; one less where a thread has changed its processor.
    assert!(samples >= 380 && unseen <= 10, "{samples} samples, {due} due, {unseen} threads were never met");
    assert!(unsampled < cpu / 3, "{unsampled:?} of {cpu:?}");
    Ok(())
}

/// Registered threads that the recording did not start, and threads that were there before.
#[test]
fn threads_without_inherited_events_are_sampled() {
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    retried(Duration::from_millis(300), late_threads);
}

fn late_threads(length: Duration) -> Result<(), String> {
    // It does not belong to the tree when the recording starts, so it has no events.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let foreign = std::thread::spawn(move || {
        wait.recv().unwrap();
        let _me = selvedge::register("foreign");
        spawn("child", move |_| burn(length)).join().unwrap();
        burn(length)
    });
    let early = spawn("early", |please_stop: &Signal| {
        while !please_stop.is_go() {
            burn(Duration::from_millis(1));
        }
    });
    let recording = start();
    go.send(()).unwrap();
    foreign.join().unwrap();
    early.stop();
    early.join().unwrap();
    let profile = recording.finish();
    check_totals(&profile);
    for name in ["/foreign", "/child", "/early"] {
        let thread = account(&profile, name);
        let due = periods(thread.cpu_time(), profile.period());
        assert!(thread.samples() + thread.lost() + 2 >= due, "{thread:?}");
        // The sampler finds out at one of its next rounds.
        if thread.samples() <= due / 3 {
            return Err(format!("{thread:?}"));
        }
    }
    Ok(())
}

#[test]
fn unregistered_threads_have_whole_stacks() {
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    retried(Duration::from_millis(500), |length| {
        let recording = profile::start(options().unregistered(true)).unwrap();
        let other = std::thread::Builder::new().name("late".into());
        other.spawn(move || black_box(burn(length))).unwrap().join().unwrap();
        let profile = recording.finish();
        let text = folded(&profile);
        let thread = profile.threads().iter().find(|thread| thread.path() == "other/late");
        let Some(thread) = thread.filter(|thread| u128::from(thread.samples()) * 5 > length.as_millis()) else {
            return Err(format!("too few samples in {length:?}: {thread:?}\n{text}"));
        };
        assert_eq!(thread.broken(), 0, "{thread:?}\n{text}");
        assert!(text.contains("other;late;profiles::ring::unregistered_threads_have_whole_stacks"), "{text}");
        assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time());
        Ok(())
    });
}

#[test]
fn a_forked_child_leaves_the_rings_alone() {
    if in_own_process(module_path!(), "a_forked_child_leaves_the_rings_alone") {
        return;
    }
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    retried(Duration::from_millis(60), |_| fork_while_recording());
}

/// Returns `true` once the rings have samples, with longer and longer work.
fn records_by_ring() -> bool {
    let (began, mut length) = (Instant::now(), Duration::from_millis(60));
    loop {
        let own = start();
        let burnt = burn_seen(length);
        let own = own.finish();
        if own.engine() != Engine::Ring || own.samples() > burnt.due(own.period()) / 3 {
            return own.engine() == Engine::Ring;
        }
        if began.elapsed() > Duration::from_secs(20) {
            return false;
        }
        length *= 2;
    }
}

fn fork_while_recording() -> Result<(), String> {
    let recording = start();
    let before = burn_seen(Duration::from_millis(30));
    // SAFETY: the child computes, makes recordings of its own, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_well = recording.finish().samples() == 0 && records_by_ring();
        // SAFETY: ends the child.
        unsafe { libc::_exit(if is_well { 0 } else { 1 }) };
    }
    let beside = burn_seen(Duration::from_millis(60));
    let mut status = 0;
    // SAFETY: waits for this process's child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child");
    let burnt: Burnt = [before, beside, burn_seen(Duration::from_millis(60))].into_iter().sum();
    let profile = recording.finish();
    check_totals(&profile);
    let thread = account(&profile, "/test");
    let due = periods(thread.cpu_time(), profile.period());
    assert!(thread.samples() > burnt.due(profile.period()) / 2, "{burnt:?}: {thread:?}");
    // The child's CPU time is not in it. A perf clock may count time that the host has taken, and the thread's
    // clock does not.
    if thread.samples() <= due + 3 { Ok(()) } else { Err(format!("{due} due: {thread:?}")) }
}

/// What lies beyond the copy of a stack is not broken, but truncated. If that happens often, longer
/// copies are made.
#[test]
fn long_stacks_are_truncated_and_then_whole() {
    #[inline(never)]
    fn large(depth: u32, length: Duration) -> u64 {
        let room = black_box([depth as u8; 1024]);
        let found = if depth == 0 { burn(length) } else { black_box(large(depth - 1, length)) };
        found + u64::from(room[depth as usize])
    }
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    let recording = start();
    let worker = spawn("worker", |please_stop: &Signal| {
        let mut burnt = 0u64;
        while !please_stop.is_go() {
            burnt = burnt.wrapping_add(large(10, Duration::from_millis(20)));
        }
        burnt
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_whole = |text: &str| {
        let test = "main;test;worker;profiles::ring::long_stacks_are_truncated_and_then_whole";
        lines(text).any(|(stack, _)| stack.starts_with(test) && stack.matches("::large").count() == 11)
    };
    while !is_whole(&folded(&recording.snapshot())) {
        assert!(Instant::now() < deadline, "{}", folded(&recording.snapshot()));
        std::thread::sleep(Duration::from_millis(50));
    }
    worker.stop();
    worker.join().unwrap();
    let profile = recording.finish();
    check_totals(&profile);
    let (text, thread) = (folded(&profile), account(&profile, "/worker"));
    assert!(thread.truncated() > 0 && thread.broken() == 0, "{thread:?}\n{text}");
    assert!(text.contains("main;test;worker;[truncated];"), "{text}");
}

#[test]
fn the_wall_clock_is_refused() {
    let _alone = alone();
    let error = profile::start(options().clock(Clock::Wall)).unwrap_err();
    assert!(error.is_profile() && error.to_string().contains("ring engine cannot sample wall time"), "{error}");
}

#[test]
fn auto_takes_the_ring_above_the_tick() {
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    let engine = |frequency| profile::start(Options::new().frequency(frequency)).unwrap().finish().engine();
    let tick = Duration::from_nanos(ticks().1 as u64);
    if tick > Duration::from_millis(2) && std::thread::available_parallelism().unwrap().get() <= 16 {
        assert_eq!((engine(100), engine(1000)), (Engine::Timer, Engine::Ring));
    }
}

/// Too few files, as seen from a process that has a low limit.
#[test]
fn a_lack_of_files_is_told_and_signals_take_over() {
    if in_own_process(module_path!(), "a_lack_of_files_is_told_and_signals_take_over") {
        return;
    }
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let limit = libc::rlimit { rlim_cur: open + 12, rlim_max: open + 12 };
    // SAFETY: the limit is whole.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let recording = start();
    spawn("worker", |_| burn(Duration::from_millis(100))).join().unwrap();
    let profile = recording.finish();
    let picture = picture(&profile);
    assert_eq!(profile.engine(), Engine::Timer);
    assert!(picture.contains("(raise RLIMIT_NOFILE, `ulimit -n`)"), "{picture}");
    check_totals(&profile);
    assert!(account(&profile, "/worker").samples() > 0);
}

/// An unprivileged user may lock a part of memory for each processor in any case. What exceeds that
/// counts towards the limit. Where that is spent too, the reason is told.
#[test]
fn a_lack_of_locked_memory_is_told_and_signals_take_over() {
    if in_own_process(module_path!(), "a_lack_of_locked_memory_is_told_and_signals_take_over") {
        return;
    }
    let _alone = alone();
    if !rings_are_permitted() {
        return;
    }
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is whole. The user of that number has no rights; without rights already, the
    // call fails.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none), 0);
        let without_rights = 65_534;
        let _ = libc::setresuid(without_rights, without_rights, without_rights);
    }
    // With less memory the rings are shorter, and the system may refuse events without rights.
    let mut has_rings = true;
    retried(Duration::from_millis(100), |length| {
        let recording = start();
        let burnt = spawn("worker", move |_| burn_seen(length)).join().unwrap();
        let profile = recording.finish();
        check_totals(&profile);
        has_rings = profile.engine() == Engine::Ring;
        let (worker, due) = (account(&profile, "/worker"), burnt.due(profile.period()));
        if !has_rings {
            eprintln!("the rest is skipped, there are no rings without rights: {}", picture(&profile));
        } else if worker.samples() <= due / 5 {
            return Err(format!("{due} due: {worker:?}"));
        }
        Ok(())
    });
    if !has_rings {
        return;
    }
    let held: Vec<_> = std::iter::from_fn(lock_some_memory).collect();
    assert!(!held.is_empty());
    let profile = start().finish();
    let picture = picture(&profile);
    assert_eq!(profile.engine(), Engine::Timer);
    assert!(picture.contains("the system refuses to lock 132 KiB for each of"), "{picture}");
    assert!(picture.contains("(raise RLIMIT_MEMLOCK, `ulimit -l`, or kernel.perf_event_mlock_kb)"), "{picture}");
}

/// Memory of a perf event, 36 KiB. `None`: the system refuses more.
fn lock_some_memory() -> Option<(i32, *mut libc::c_void)> {
    let mut attributes = [0_u8; 64];
    // A software event that counts nothing, of 64 bytes of attributes, without the kernel's part.
    attributes[0] = 1;
    attributes[4] = 64;
    attributes[8] = 9;
    attributes[40] = 1 | 1 << 5 | 1 << 6;
    // SAFETY: the attributes are as long as they say; the mapping is at an address of the kernel's
    // choice. Both live to the end of the process.
    unsafe {
        let event = libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 8) as i32;
        assert!(event >= 0, "{}", std::io::Error::last_os_error());
        let (access, length) = (libc::PROT_READ | libc::PROT_WRITE, 9 * libc::sysconf(libc::_SC_PAGESIZE) as usize);
        let memory = libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, event, 0);
        (memory != libc::MAP_FAILED).then_some((event, memory))
    }
}
