//! A sandbox that refuses system calls is not taken for threads that have ended: dumps and profiles say what was refused.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use selvedge::Thread;
use selvedge::profile::{self, Clock, Engine, FlameOptions, Options};
use std::time::{Duration, Instant};

/// From now on these system calls of the calling thread, and of threads that it starts, fail with that error.
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

fn burn(length: Duration) {
    let began = Instant::now();
    while began.elapsed() < length {
        std::hint::black_box((0..1000).sum::<u64>());
    }
}

/// The picture of a recording by that clock, in which a thread of the tree and another one use the processor.
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

fn dump_of_a_worker() -> String {
    let worker = selvedge::spawn("worker", |please_stop| please_stop.wait_for_go());
    while worker.thread().waiting_for().is_none() {
        std::thread::yield_now();
    }
    let dump = Thread::dump().to_string();
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
    let dump = dump_of_a_worker();
    assert!(dump.contains("the system refuses to send it SIGPROF") && !dump.contains("ended meanwhile"), "{dump}");
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
    let dump = dump_of_a_worker();
    assert!(!dump.contains("refuses") && !dump.contains("ended meanwhile") && dump.contains("wait_for_go"), "{dump}");
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
fn threads_that_are_not_listed_and_memory_that_is_not_read_are_told() {
    if crate::support::in_own_process(
        module_path!(),
        "threads_that_are_not_listed_and_memory_that_is_not_read_are_told",
    ) {
        return;
    }
    let _main = selvedge::register("test");
    refuse(&[libc::SYS_getdents64, libc::SYS_process_vm_readv], libc::EPERM);
    let picture = picture(Clock::Cpu);
    assert!(picture.contains("the system does not list the process"), "{picture}");
    assert!(picture.contains("the system refuses process_vm_readv"), "{picture}");
}
