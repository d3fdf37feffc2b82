//! Nothing grows: what was waited on, dropped or cancelled ten million times leaves resident memory
//! where it was, and what comes and goes in a month of a service leaves no bytes allocated.
//!
//! Alone in its process, one test after the other, since resident memory belongs to all.
//! A million times where `SELVEDGE_LONG` is set, as by `.ci/run`. The usual number is enough to show a leak of a
//! few bytes a round. `SELVEDGE_ROUNDS` says otherwise; ten million take minutes.
#![cfg(target_os = "linux")]

#[path = "support/long.rs"]
mod long;

use selvedge::{
    BinarySemaphore, Builder, Config, Lock, Monitor, Progress, Promise, Queue, Restart, Runtime, Semaphore, Sequencer,
    Signal, Thread, Till, register, scope, spawn, spawn_actor, spawn_fallible,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// The system's allocator, and how many bytes are allocated.
struct Counting;

/// Relaxed: a sum, read when the threads that have changed it have been joined.
static ALLOCATED: AtomicI64 = AtomicI64::new(0);

// SAFETY: each call is passed on to the system's allocator as it came, under the same conditions.
// realloc is the default, which calls these two.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller vouches for the layout.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller vouches for the pointer, which `alloc` gave, and the layout.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: u64 = 1 << 20;

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: Vec<u64> = statm.split_whitespace().map(|field| field.parse().expect("pages")).collect();
    // Without the pages of files, which the system takes and gives as it likes.
    // SAFETY: has no preconditions.
    (pages[1] - pages[2]) * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// A tenth of the rounds to warm up, then all of them: less than 1 MiB may have come.
fn does_not_grow(what: &str, rounds: u64, mut round: impl FnMut(u64)) {
    (0..rounds / 10).for_each(&mut round);
    let before = resident();
    (0..rounds).for_each(&mut round);
    let grown = resident().saturating_sub(before);
    assert!(grown < MIB, "{what}: {grown} bytes more after {rounds} rounds");
}

/// What the panics say that are part of the test.
const EXPECTED: &str = "expected";

fn rounds() -> u64 {
    long::amount("SELVEDGE_ROUNDS", 200_000, 1_000_000)
}

#[test]
fn nothing_grows() {
    // The harness keeps all output of panics in memory, so intended panics print nothing.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>().is_none_or(|text| *text != EXPECTED) {
            print(info);
        }
    }));
    a_go_allocates_nothing();
    a_queue_frees_what_a_burst_has_taken();
    grows_no_resident_memory(rounds());
    // One after the other: both measure the process.
    leaves_nothing_allocated(rounds());
    #[cfg(feature = "profiling")]
    recordings_leave_nothing(rounds());
}

/// A few objects on their way.
const SLACK: i64 = 16 << 10;

/// Half of the rounds to warm up, then as many again: no more bytes may be allocated than a few
/// objects on their way have.
fn leaves_nothing(what: &str, rounds: u64, round: impl FnMut()) {
    leaves_at_most(SLACK, what, rounds, round);
}

/// What is bounded and fills up slowly, such as names, what was read of debug information, and one place for
/// each of 4096 ids: some half of the rounds must leave nothing more. What grows for ever leaves something in
/// each.
fn stops_growing(what: &str, rounds: u64, mut round: impl FnMut()) {
    let half = (rounds / 2).max(20);
    (0..half).for_each(|_| round());
    let grown: Vec<i64> = std::iter::repeat_with(|| {
        let before = ALLOCATED.load(Ordering::Relaxed);
        (0..half).for_each(|_| round());
        ALLOCATED.load(Ordering::Relaxed) - before
    })
    .take(15)
    .take_while(|grown| *grown >= SLACK)
    .collect();
    assert!(grown.len() < 15, "{what}: bytes more after {half} rounds each: {grown:?}");
}

fn leaves_at_most(slack: i64, what: &str, rounds: u64, mut round: impl FnMut()) {
    let half = (rounds / 2).max(20);
    (0..half).for_each(|_| round());
    let before = ALLOCATED.load(Ordering::Relaxed);
    (0..half).for_each(|_| round());
    // Threads that were not joined may be on their last lines.
    let deadline = Instant::now() + Duration::from_secs(100);
    loop {
        let grown = ALLOCATED.load(Ordering::Relaxed) - before;
        if grown < slack {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {grown} bytes more after {half} rounds");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn a_queue_frees_what_a_burst_has_taken() {
    const BURST: u64 = 100_000;
    let queue: Queue<[u64; 4]> = Queue::unbounded("bursts");
    let before = ALLOCATED.load(Ordering::Relaxed);
    // Two, since the two buffers change places.
    for _ in 0..2 {
        (0..BURST).for_each(|n| queue.add([n; 4]).unwrap());
        (0..BURST).for_each(|n| assert_eq!(queue.pop(), Some([n; 4])));
    }
    for n in 0..1000 {
        queue.add([n; 4]).unwrap();
        assert_eq!(queue.pop(), Some([n; 4]));
    }
    let grown = ALLOCATED.load(Ordering::Relaxed) - before;
    assert!(grown < SLACK, "{grown} bytes are kept, and {} bytes were in the queue", BURST * 32);
}

/// Until the thread has ended, of which no handle is left.
fn ended(stopped: &Signal) {
    assert!(stopped.wait_for_go_timeout(Duration::from_secs(60)), "a thread hangs");
}

fn leaves_nothing_allocated(rounds: u64) {
    let (threads, runtimes, objects) = (rounds / 200, rounds / 2000, rounds / 20);
    leaves_nothing("runtimes", runtimes, || {
        let runtime = Runtime::start(Config::new("short")).expect("a runtime");
        log::set_max_level(log::LevelFilter::Off);
        runtime.shutdown().expect("no failure");
    });
    leaves_nothing("runtimes on other threads", runtimes, || {
        let start = || {
            let runtime = Runtime::start(Config::new("short")).expect("a runtime");
            log::set_max_level(log::LevelFilter::Off);
            runtime.shutdown().expect("no failure");
        };
        std::thread::spawn(start).join().expect("no panic");
    });
    let runtime = Runtime::start(Config::new("month").deadlocks(None)).expect("a runtime");
    log::set_max_level(log::LevelFilter::Off);
    leaves_nothing("threads that are joined", threads, || spawn("t", |_| ()).join().expect("no failure"));
    leaves_nothing("threads whose handle is dropped", threads, || {
        let thread = spawn("t", |_| ());
        let stopped = thread.thread().stopped().clone();
        drop(thread);
        ended(&stopped);
    });
    leaves_nothing("threads that are released", threads, || {
        let thread = spawn("t", |_| ());
        let stopped = thread.thread().stopped().clone();
        thread.release();
        ended(&stopped);
    });
    leaves_nothing("threads that fail and are joined", threads, || {
        assert!(spawn_fallible("t", |_| Err::<(), _>("no")).join().is_err());
    });
    leaves_nothing("threads that fail and are released", threads, || {
        let thread = spawn_fallible("t", |_| Err::<(), _>("no"));
        let stopped = thread.thread().stopped().clone();
        thread.release();
        ended(&stopped);
    });
    leaves_nothing("threads that fail and are not joined", threads, || {
        let thread = spawn_fallible("t", |_| Err::<(), _>("no"));
        let stopped = thread.thread().stopped().clone();
        drop(thread);
        ended(&stopped);
    });
    leaves_nothing("threads that panic and are not joined", threads / 4, || {
        let thread = spawn("t", |_| std::panic::panic_any(EXPECTED));
        let stopped = thread.thread().stopped().clone();
        drop(thread);
        ended(&stopped);
    });
    leaves_nothing("panics that are caught", threads / 4, || {
        assert!(std::panic::catch_unwind(|| std::panic::panic_any(EXPECTED)).is_err());
    });
    leaves_nothing("threads that are restarted", threads / 2, || {
        let mut runs = 0;
        let restarted = Builder::new("t").restart(Restart::up_to(2)).spawn_fallible(move |_| {
            runs += 1;
            if runs < 2 { Err("again") } else { Ok(()) }
        });
        restarted.expect("a thread").join().expect("no failure");
    });
    leaves_nothing("threads that are asked to stop while they are joined", threads / 2, || {
        let asked = spawn("t", |_| {
            let inner = spawn("inner", |please_stop| please_stop.wait_for_go());
            inner.join().expect("no failure");
        });
        asked.stop();
        asked.join().expect("no failure");
    });
    leaves_nothing("scopes", threads / 2, || {
        scope(|s| {
            drop(s.spawn("a", |_| ()));
            drop(s.spawn("b", |please_stop| please_stop.wait_for_go()));
        });
    });
    leaves_nothing("registrations", objects, || drop(register("r")));
    leaves_nothing("registrations of other threads", threads, || {
        std::thread::spawn(|| drop(register("r"))).join().expect("no panic");
    });
    leaves_nothing("unregistered threads that ask for themselves", threads, || {
        std::thread::spawn(|| drop(Thread::current())).join().expect("no panic");
    });
    leaves_nothing("unregistered threads that lock, wait and log", threads, || {
        let lock = Lock::new("l", 0);
        std::thread::scope(|s| {
            s.spawn(|| {
                *lock.lock() += 1;
                Till::after(Duration::from_micros(1)).wait_for_go();
                log::error!("not logged, since the level is off");
            });
        });
    });
    leaves_nothing("actors", threads / 2, || {
        let actor = spawn_actor("actor", 0, |sum: &mut u32, more: u32, _| *sum += more);
        let _ = actor.send(1);
        let stopped = actor.thread().stopped().clone();
        actor.stop();
        drop(actor);
        ended(&stopped);
    });
    leaves_nothing("queues", objects, || {
        let queue: Queue<Box<u32>> = Queue::bounded("queue", 2);
        queue.add(Box::new(1)).expect("it is open");
        assert!(queue.pop_till(&Till::after(Duration::ZERO)).is_err() || queue.is_empty());
        let full = queue.add(Box::new(2)).is_ok() && queue.try_add(Box::new(3)).is_ok();
        assert!(full || queue.len() == 2);
        queue.close();
    });
    leaves_nothing("locks, semaphores, monitors, promises", objects, || {
        *Lock::new("lock", Box::new(0)).lock().as_mut() += 1;
        drop(Semaphore::new("semaphore", 1).acquire());
        assert!(!Monitor::new("monitor", 0).enter().wait_timeout(Duration::from_nanos(1)));
        BinarySemaphore::new("flag").post();
        Progress::new("progress").advance(1);
        drop(Sequencer::new("sequencer").take_ticket().wait_turn());
        let promise = Promise::new("promise");
        promise.claim().expect("the first").fulfil(Box::new(1));
        assert!(promise.wait().is_ok());
    });
    let hour = Duration::from_secs(3600);
    leaves_nothing("signals and tills with targets", objects, || {
        let signal = Signal::new("signal");
        (Till::after(hour) | &signal).on_go(|| ());
        let cancelled = (Till::after(hour) | &signal).on_go(|| ()).cancel();
        assert!(cancelled && signal.receiver().try_recv().is_err());
        signal.go();
    });
    // A thread that is met at another place for the first time has another part of the debug information read.
    stops_growing("dumps", runtimes / 5, || drop(selvedge::dump()));
    // The failures that no thread has joined.
    assert!(runtime.shutdown().is_err());
}

/// One sample a second of CPU time: each new place in the code has a name, and names are kept up to
/// 8 MiB.
#[cfg(feature = "profiling")]
fn recordings_leave_nothing(rounds: u64) {
    use selvedge::profile::{self, Options};
    let start = |waits| profile::start(Options::new().frequency(1).waits(waits)).expect("a recording");
    let recording = start(false);
    // The first 4096 that end have entries of their own. And 48 bytes stay for each remainder of 4096 that
    // the kernel's id of a sampled thread has had. So this many ids are sampled first.
    for _ in 0..12 {
        let end = Signal::new("end");
        let wait = || {
            let end = end.clone();
            spawn("crowd", move |_| end.wait_for_go())
        };
        let crowd: Vec<_> = (0..500).map(|_| wait()).collect();
        drop(recording.snapshot());
        end.go();
        crowd.into_iter().for_each(|thread| thread.join().expect("no failure"));
    }
    // Ended threads are folded two thousand at a time, which is 50 KiB.
    leaves_at_most(128 << 10, "threads that come and go in a recording", rounds / 10, || {
        spawn("t", |_| ()).join().expect("no failure");
    });
    drop(recording.finish());
    leaves_nothing("recordings that are dropped", rounds / 2000, || drop(start(false)));
    stops_growing("recordings with waits, whose threads come and go", (rounds / 2000).min(200), || {
        let recording = start(true);
        let sleepers: Vec<_> =
            (0..8).map(|_| spawn("sleeper", |_| Till::after(Duration::from_millis(6)).wait_for_go())).collect();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().expect("no failure"));
        drop(recording.snapshot());
        let profile = recording.finish();
        let mut sleepers = profile.accounts().iter().filter(|account| account.path() == "main/sleeper");
        assert!(sleepers.any(|account| !account.waits().is_empty()), "their waits are counted");
        profile.write_waits_folded(std::io::sink()).expect("written");
        profile.write_timeline(std::io::sink()).expect("written");
    });
}

/// Not even for its reason, which mostly no thread asks for.
fn a_go_allocates_nothing() {
    // The thread's path is kept from its first use on.
    Signal::new("first").go();
    let round = || {
        let signals: Vec<Signal> = (0..1000).map(|_| Signal::new("done")).collect();
        let before = ALLOCATED.load(Ordering::Relaxed);
        assert!(signals.iter().all(|signal| signal.go()));
        let allocated = ALLOCATED.load(Ordering::Relaxed) - before;
        assert_eq!(signals[999].reason().map(|reason| reason.text().to_owned()).as_deref(), Some("go() was called"));
        allocated
    };
    // The threads of the harness and of the crate are counted as well, now and then.
    let allocated: Vec<i64> = std::iter::repeat_with(round).take(20).take_while(|bytes| *bytes != 0).collect();
    assert!(allocated.len() < 20, "bytes of 1000 calls each: {allocated:?}");
}

fn grows_no_resident_memory(rounds: u64) {
    let please_stop = Signal::new("please_stop");
    let other = Signal::new("other");
    let hour = Duration::from_secs(3600);

    does_not_grow("till | please_stop, waited on", rounds, |_| {
        (Till::after(Duration::ZERO) | &please_stop).wait_for_go();
    });
    // These really block, so there are fewer.
    does_not_grow("till | please_stop, waited on for 1 µs", rounds / 10, |_| {
        (Till::after(Duration::from_micros(1)) | &please_stop).wait_for_go();
    });
    does_not_grow("composites, dropped", rounds, |_| drop((Till::after(hour) | &please_stop) & &other));
    does_not_grow("composites with a receiver, dropped", rounds, |_| {
        let either = Till::after(hour) | &please_stop;
        assert!(either.receiver().try_recv().is_err());
    });
    does_not_grow("on_go, attached and cancelled", rounds, |_| assert!(please_stop.on_go(|| ()).cancel()));
    does_not_grow("on_go of till | please_stop, attached and cancelled", rounds, |_| {
        assert!((Till::after(hour) | &please_stop).on_go(|| ()).cancel());
    });
    does_not_grow("on_go of a till, run", rounds / 10, |_| {
        let (till, ran) = (Till::after(Duration::ZERO), Signal::new("ran"));
        let runs = ran.clone();
        till.on_go(move || {
            runs.go();
        });
        ran.wait_for_go();
    });

    let progress = Progress::new("progress");
    does_not_grow("marks of a progress, given up", rounds, |round| drop(progress.at(1 + round)));
    does_not_grow("waits for progress, given up", rounds / 10, |round| {
        assert!(!progress.wait_for_timeout(1 + round, Duration::from_nanos(1)));
    });
    let sequencer = Sequencer::new("sequencer");
    does_not_grow("tickets, served and dropped", rounds, |_| {
        let (first, second) = (sequencer.take_ticket(), sequencer.take_ticket());
        drop(second);
        drop(first.wait_turn());
    });
    let (lock, monitor) = (Lock::new("lock", 0), Monitor::new("monitor", 0));
    let (semaphore, flag) = (Semaphore::new("semaphore", 0), BinarySemaphore::new("flag"));
    does_not_grow("waits of the other cells, given up", rounds / 10, |_| {
        let soon = Duration::from_nanos(1);
        assert!(!monitor.enter().wait_timeout(soon) && semaphore.acquire_timeout(soon).is_err());
        assert!(!flag.wait_till(&(Till::after(soon) | &please_stop)));
        *lock.lock() += 1;
        let promise: Promise<u64> = Promise::new("promise");
        assert!(promise.wait_till(&Till::after(soon)).is_err());
        drop(promise.claim());
    });
}
