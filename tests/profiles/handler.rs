//! The signal handler allocates nothing, and leaves no trace: neither after a recording, nor for
//! other users of its signal.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use parking_lot::MutexGuard;
use selvedge::profile::{self, Engine, Options};
use selvedge::{Registered, Signal};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

thread_local! {
    /// Allocations of this thread.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// The next allocations of this thread open a span.
    pub(crate) static OPENS_SPANS: Cell<bool> = const { Cell::new(false) };
}
/// Bytes that are in use.
static BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

// SAFETY: what is asked is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        let opens = OPENS_SPANS.try_with(|opens| opens.replace(false)).unwrap_or(false);
        let span = opens.then(|| selvedge::span("allocate"));
        // SAFETY: the caller's word.
        let memory = unsafe { System.alloc(layout) };
        drop(span);
        if opens {
            OPENS_SPANS.set(true);
        }
        memory
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn alone() -> (Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

fn options() -> Options {
    Options::new().engine(Engine::Timer).frequency(1000)
}

fn thread_id() -> i64 {
    // SAFETY: has no preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

/// SIGPROF to the calling thread: the handler has run when this returns.
fn hit() {
    // SAFETY: to a thread of this process, which lives.
    let failed = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread_id(), libc::SIGPROF) };
    assert_eq!(failed, 0);
}

#[inline(never)]
fn deep(depth: u32) {
    if depth == 0 {
        hit();
    } else {
        deep(black_box(depth) - 1);
    }
    black_box(depth);
}

#[test]
fn the_handler_allocates_nothing_and_keeps_errno() {
    let _alone = alone();
    let go = Signal::new("go");
    let begin = go.clone();
    // It is there before: a thread that starts while the sampler is busy is attached a little later.
    let counted = selvedge::spawn("hit", move |_| {
        begin.wait_for_go();
        let before = COUNT.get();
        for depth in 0..100 {
            deep(depth);
        }
        // SAFETY: this thread's own errno.
        unsafe { *libc::__errno_location() = 4711 };
        hit();
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, 4711);
        COUNT.get() - before
    });
    crate::support::until("it waits", || counted.thread().waiting_for().is_some());
    let recording = profile::start(options()).unwrap();
    go.go();
    assert_eq!(counted.join().unwrap(), 0);
    let profile = recording.finish();
    let thread = profile.threads().iter().find(|thread| thread.path().ends_with("/hit")).unwrap();
    assert!(thread.samples() > 0 && thread.samples() + thread.lost() > 100, "it was not sampled: {thread:?}");
}

#[test]
fn a_full_ring_is_counted_and_totals_match() {
    let _alone = alone();
    let go = Signal::new("go");
    let begin = go.clone();
    // It is there before, as above.
    let thread = selvedge::spawn("hit", move |_| {
        begin.wait_for_go();
        for _ in 0..20_000 {
            deep(50);
        }
    });
    crate::support::until("it waits", || thread.thread().waiting_for().is_some());
    let recording = profile::start(options()).unwrap();
    go.go();
    thread.join().unwrap();
    let profile = recording.finish();
    let thread = profile.threads().iter().find(|thread| thread.path().ends_with("/hit")).unwrap();
    assert!(thread.samples() + thread.lost() >= 20_000, "{thread:?}");
    assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time());
}

#[test]
fn a_late_signal_is_harmless() {
    let _alone = alone();
    let profile = profile::start(options()).unwrap().finish();
    hit();
    // SAFETY: to this process, which has a handler for it.
    assert_eq!(unsafe { libc::kill(std::process::id() as i32, libc::SIGPROF) }, 0);
    let thread = selvedge::spawn("later", |_| hit());
    thread.join().unwrap();
    assert!(profile.threads().iter().all(|thread| !thread.path().ends_with("/later")));
}

#[test]
fn no_timer_outlives_a_recording() {
    /// Whether SIGPROF comes to this thread while it works.
    fn is_hit() -> bool {
        // SAFETY: sets on the stack, writable; the old mask is put back.
        unsafe {
            let (mut set, mut old, mut pending) = (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed());
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGPROF);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut old);
            let end = crate::measure::clock() + Duration::from_millis(100);
            while crate::measure::clock() < end {
                black_box(thread_id());
            }
            libc::sigpending(&mut pending);
            libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
            libc::sigismember(&pending, libc::SIGPROF) == 1
        }
    }
    let _alone = alone();
    for frequency in [100, 1000] {
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let (give, given) = std::sync::mpsc::channel();
        let thread = selvedge::spawn("lives-on", move |_| asked.iter().for_each(|()| give.send(is_hit()).unwrap()));
        let recording = profile::start(options().frequency(frequency)).unwrap();
        ask.send(()).unwrap();
        assert!(given.recv().unwrap(), "it is to be hit while it is recorded, at {frequency} Hz");
        recording.finish();
        ask.send(()).unwrap();
        assert!(!given.recv().unwrap(), "a timer of {frequency} Hz is left");
        drop(ask);
        thread.join().unwrap();
    }
}

#[test]
fn recordings_give_their_memory_back() {
    if crate::support::in_own_process(module_path!(), "recordings_give_their_memory_back") {
        return;
    }
    let _alone = alone();
    let record = || {
        let recording = profile::start(options()).unwrap();
        let threads: Vec<_> = (0..40)
            .map(|n| {
                selvedge::spawn(format!("w-{n}"), |please_stop: &Signal| {
                    please_stop.wait_for_go_timeout(Duration::from_millis(5))
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| assert!(!thread.join().unwrap(), "it was not asked to stop"));
        drop(recording);
    };
    // What is made once stays.
    record();
    let before = BYTES.load(Ordering::SeqCst);
    for _ in 0..5 {
        record();
    }
    let kept = BYTES.load(Ordering::SeqCst) - before;
    assert!(kept < 1 << 20, "{kept} bytes more after five recordings");
}

#[test]
fn another_user_of_the_signal_is_left_alone() {
    extern "C" fn others(_signal: libc::c_int) {}
    let _alone = alone();
    // SAFETY: the handler does nothing, which is safe in a signal handler.
    let before = unsafe { libc::signal(libc::SIGPROF, others as *const () as libc::sighandler_t) };
    let error = profile::start(options()).unwrap_err();
    // SAFETY: what was there is put back.
    let found = unsafe { libc::signal(libc::SIGPROF, before) };
    assert!(error.is_profile() && error.to_string().contains("SIGPROF"), "{error}");
    assert_eq!(found, others as *const () as libc::sighandler_t);
    // Code that installs a handler during a recording keeps its handler as well.
    let recording = profile::start(options()).unwrap();
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGPROF, others as *const () as libc::sighandler_t) };
    recording.finish();
    // SAFETY: as above.
    let found = unsafe { libc::signal(libc::SIGPROF, libc::SIG_IGN) };
    assert_eq!(found, others as *const () as libc::sighandler_t);
    drop(profile::start(options()).unwrap());
}

#[cfg(feature = "pprof-engine")]
#[test]
fn the_two_engines_follow_each_other() {
    let _alone = alone();
    let mut engines = vec![Engine::Timer, Engine::Process, Engine::Timer, Engine::Process, Engine::Timer];
    if crate::measure::rings_are_permitted() {
        engines.extend([Engine::Ring, Engine::Process, Engine::Ring, Engine::Timer]);
    }
    for engine in engines {
        let recording = profile::start(Options::new().engine(engine)).unwrap();
        let end = std::time::Instant::now() + Duration::from_millis(60);
        while std::time::Instant::now() < end {
            black_box(thread_id());
        }
        assert_eq!(recording.finish().engine(), engine);
    }
    assert_eq!(profile::start(Options::new()).unwrap().finish().engine(), Engine::Timer, "the best one here");
}
