//! A sandbox that refuses system calls is not taken for threads that have ended: dumps and profiles
//! say what was refused.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::support::until;
use selvedge::profile::{self, Clock, Engine, FlameOptions, Options};
use std::time::Duration;

/// From now on these system calls of the calling thread, and of threads that it starts, fail with
/// that error.
fn refuse(calls: &[libc::c_long], error: i32) {
    let instruction = |code: u32, jt: usize, k: u32| libc::sock_filter { code: code as u16, jt: jt as u8, jf: 0, k };
    // Loads the number of the call; jumps to the last line if it is one of these.
    let mut filter = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    filter.extend(calls.iter().enumerate().map(|(index, call)| instruction(is, calls.len() - index, *call as u32)));
    filter.push(instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | error as u32));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` is whole and lives during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program);
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Uses so much CPU time.
fn burn(length: Duration) {
    let began = cpu_time();
    while cpu_time() - began < length {
        std::hint::black_box((0..1000).sum::<u64>());
    }
}

/// Of the calling thread, also where it is not of the tree.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` can be written.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The picture of a recording by that clock, in which a thread of the tree and another one use the
/// processor.
fn picture(clock: Clock) -> String {
    let options = Options::new().engine(Engine::Timer).clock(clock).unregistered(true);
    let recording = profile::start(options).unwrap();
    let length = Duration::from_millis(200);
    let other = std::thread::spawn(move || burn(length));
    selvedge::spawn("worker", move |_| burn(length)).join().unwrap();
    other.join().unwrap();
    let profile = recording.finish();
    let mut picture = Vec::new();
    profile.write_flamegraph(&mut picture, &FlameOptions::new()).unwrap();
    String::from_utf8(picture).unwrap()
}

/// The first dump that has the text, which is of a worker that waits. On a busy machine it may not answer in
/// time.
fn dump_of_a_worker(text: &str) -> String {
    let worker = selvedge::spawn("worker", |please_stop| please_stop.wait_for_go());
    until("the worker waits", || worker.thread().waiting_for().is_some());
    let mut dump = String::new();
    until(text, || {
        dump = selvedge::dump().to_string();
        dump.contains(text)
    });
    worker.stop();
    worker.join().unwrap();
    dump
}

#[test]
fn signals_that_are_refused_are_told() {
    if crate::support::in_own_process(module_path!(), "signals_that_are_refused_are_told") {
        return;
    }
    let _main = selvedge::register("test");
    refuse(&[libc::SYS_tgkill, libc::SYS_rt_tgsigqueueinfo], libc::ENOSYS);
    let dump = dump_of_a_worker("the system refuses to send it SIGPROF");
    assert!(!dump.contains("ended meanwhile"), "{dump}");
    let picture = picture(Clock::Wall);
    assert!(picture.contains("the system refuses to send threads SIGPROF"), "{picture}");
}

#[test]
fn without_the_mark_threads_tell_their_stacks() {
    if crate::support::in_own_process(module_path!(), "without_the_mark_threads_tell_their_stacks") {
        return;
    }
    let _main = selvedge::register("test");
    refuse(&[libc::SYS_rt_tgsigqueueinfo], libc::EPERM);
    let dump = dump_of_a_worker("wait_for_go");
    assert!(!dump.contains("refuses") && !dump.contains("ended meanwhile"), "{dump}");
}

#[test]
fn a_clock_that_is_refused_is_an_error() {
    if crate::support::in_own_process(module_path!(), "a_clock_that_is_refused_is_an_error") {
        return;
    }
    let worker = selvedge::spawn("worker", |please_stop| please_stop.wait_for_go());
    refuse(&[libc::SYS_clock_gettime], libc::EPERM);
    let error = profile::start(Options::new().engine(Engine::Timer)).err().unwrap().to_string();
    assert!(error.contains("refuses to read the CPU clock") && error.contains("not permitted"), "{error}");
    assert_eq!(worker.thread().cpu_time(), None);
    // It is not taken for a thread that is gone, which would be joined.
    drop((0..5).map(|_| selvedge::spawn("brief", |_| ())).collect::<Vec<_>>());
    worker.stop();
    worker.join().unwrap();
}

#[test]
fn refused_lists_and_reads_are_told() {
    if crate::support::in_own_process(module_path!(), "refused_lists_and_reads_are_told") {
        return;
    }
    let _main = selvedge::register("test");
    refuse(&[libc::SYS_getdents64, libc::SYS_process_vm_readv], libc::EPERM);
    let picture = picture(Clock::Cpu);
    assert!(picture.contains("the system does not list the process"), "{picture}");
    assert!(picture.contains("the system refuses process_vm_readv"), "{picture}");
}

/// What is in a recording's picture, in which `work` ran on a thread.
fn picture_of(options: Options, work: impl FnOnce() + Send + 'static) -> String {
    let recording = profile::start(options).unwrap();
    selvedge::spawn("worker", move |_| work()).join().unwrap();
    let mut picture = Vec::new();
    recording.finish().write_flamegraph(&mut picture, &FlameOptions::new()).unwrap();
    String::from_utf8(picture).unwrap()
}

extern "C" fn handler_of_others(_: libc::c_int) {}

#[test]
fn a_handler_that_comes_in_meanwhile_is_named() {
    if crate::support::in_own_process(module_path!(), "a_handler_that_comes_in_meanwhile_is_named") {
        return;
    }
    let picture = picture_of(Options::new().engine(Engine::Timer), || {
        burn(Duration::from_millis(100));
        let handler = handler_of_others as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler does nothing, and stays.
        unsafe { libc::signal(libc::SIGPROF, handler) };
        burn(Duration::from_millis(200));
    });
    let said = "SIGPROF was given another handler while the recording ran: `processes::sandbox::handler_of_others` in ";
    assert!(picture.contains(said), "{picture}");
    let error = profile::start(Options::new()).unwrap_err().to_string();
    assert!(error.contains("SIGPROF has a handler already: `processes::sandbox::handler_of_others` in "), "{error}");
}

fn block_signals() {
    // SAFETY: all-zero is a valid set; it is filled before it is used.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

#[test]
fn threads_that_inherit_a_blocked_signal_are_sampled() {
    if crate::support::in_own_process(module_path!(), "threads_that_inherit_a_blocked_signal_are_sampled") {
        return;
    }
    let burn_on = |thread: &selvedge::Thread| {
        let begin = thread.cpu_time().unwrap();
        while thread.cpu_time().unwrap() < begin + Duration::from_millis(200) {
            burn(Duration::from_millis(1));
        }
    };
    let starter = selvedge::spawn("starter", move |_| {
        // As the main thread of a program that was started with signals blocked.
        block_signals();
        let recording = profile::start(Options::new().engine(Engine::Timer)).unwrap();
        burn_on(&selvedge::Thread::current());
        block_signals();
        selvedge::spawn("heir", move |_| burn_on(&selvedge::Thread::current())).join().unwrap();
        recording.finish()
    });
    let profile = starter.join().unwrap();
    for name in ["/starter", "/heir"] {
        let threads = profile.threads().iter().filter(|thread| thread.path().ends_with(name));
        assert!(threads.map(|thread| thread.samples()).sum::<u64>() > 0, "{name} was not sampled");
    }
}

#[test]
fn a_handler_that_is_refused_is_an_error() {
    if crate::support::in_own_process(module_path!(), "a_handler_that_is_refused_is_an_error") {
        return;
    }
    refuse(&[libc::SYS_rt_sigaction], libc::EPERM);
    let error = profile::start(Options::new().engine(Engine::Timer)).err().unwrap().to_string();
    let said = "the system refuses a handler for SIGPROF (rt_sigaction)";
    assert!(error.contains(said) && error.contains("not permitted"), "{error}");
}

#[test]
fn a_thread_that_blocks_the_signal_is_named() {
    if crate::support::in_own_process(module_path!(), "a_thread_that_blocks_the_signal_is_named") {
        return;
    }
    for clock in [Clock::Cpu, Clock::Wall] {
        let recording = profile::start(Options::new().engine(Engine::Timer).clock(clock)).unwrap();
        let worker = selvedge::spawn("blocker", |please_stop| {
            block_signals();
            while !please_stop.is_go() {
                burn(Duration::from_millis(1));
            }
        });
        until("some use", || worker.thread().cpu_time() > Some(Duration::from_millis(200)));
        let mut picture = Vec::new();
        recording.finish().write_flamegraph(&mut picture, &FlameOptions::new()).unwrap();
        worker.stop();
        worker.join().unwrap();
        let picture = String::from_utf8(picture).unwrap();
        assert!(picture.contains("threads that block SIGPROF were not sampled: main/blocker"), "{clock}: {picture}");
    }
}

/// The ring engine needs perf events. Without them, signals take over, and the picture says why.
#[test]
fn refused_perf_events_are_told() {
    if crate::support::in_own_process(module_path!(), "refused_perf_events_are_told") {
        return;
    }
    let _main = selvedge::register("test");
    refuse(&[libc::SYS_perf_event_open], libc::EPERM);
    for engine in [Engine::Auto, Engine::Ring] {
        let options = Options::new().engine(engine).frequency(1000);
        let picture = picture_of(options, || burn(Duration::from_millis(300)));
        assert!(picture.contains("sandbox::burn") && picture.contains(" Hz (timer)"), "{picture}");
        let said = "sampled by signals, since there are no rings: the system refuses perf events: \
                    Operation not permitted (os error 1) (kernel.perf_event_paranoid is ";
        assert!(picture.contains(said), "{picture}");
    }
}

/// Where the system has no timers, perf clocks take their place; where it has none of these either,
/// that is told, and only then.
#[test]
fn without_timers_what_is_told_is_true() {
    if crate::support::in_own_process(module_path!(), "without_timers_what_is_told_is_true") {
        return;
    }
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is whole.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none) }, 0);
    for perf_is_refused in [false, true] {
        if perf_is_refused {
            refuse(&[libc::SYS_perf_event_open], libc::EPERM);
        }
        let picture = picture_of(Options::new().engine(Engine::Timer), || burn(Duration::from_millis(500)));
        let is_sampled = picture.contains("sandbox::burn");
        let is_told = picture.contains("got neither a timer nor a perf clock");
        assert!(is_sampled || is_told, "{picture}");
        assert!(!(perf_is_refused && is_sampled), "{picture}");
    }
}
