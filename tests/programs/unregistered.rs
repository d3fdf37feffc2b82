//! Threads that the tree does not know, and threads at their very end, for
//! tests/processes/runtime.rs: `unregistered SCENARIO`. Ends with 0 if all is as it should be.

use crate::wait::until;
use selvedge::{
    BinarySemaphore, Builder, Config, Lock, Monitor, Progress, Promise, Queue, Runtime, Semaphore, Sequencer, Signal,
    Thread, Till, register, register_once, scope, spawn, spawn_actor, spawn_fallible,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The system's allocator, and how many bytes are allocated.
struct Counting;

static ALLOCATED: AtomicI64 = AtomicI64::new(0);

// SAFETY: each call is passed on to the system's allocator as it came, under the same conditions.
// realloc is the default, which calls these two.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller vouches for the layout.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as i64, SeqCst);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller vouches for the pointer, which `alloc` gave, and the layout.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as i64, SeqCst);
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("spawn") => while_runtimes_end(|| spawn("guest", |_| 1).join().map(drop).map_err(|e| e.to_string())),
        Some("spawn-and-drop") => while_runtimes_end(|| {
            drop(spawn("guest", |please_stop| please_stop.is_go()));
            Ok(())
        }),
        Some("builder") => while_runtimes_end(|| {
            let guest = Builder::new("guest").spawn(|_| 1).map_err(|error| error.to_string())?;
            guest.join().map(drop).map_err(|error| error.to_string())
        }),
        Some("scope") => while_runtimes_end(|| {
            let sum = AtomicU64::new(0);
            scope(|s| {
                for _ in 0..3 {
                    s.spawn("guest", |_| sum.fetch_add(1, SeqCst)).join().unwrap();
                }
            });
            if sum.into_inner() == 3 { Ok(()) } else { Err("a thread of the scope did not run".into()) }
        }),
        Some("register") => while_runtimes_end(|| {
            drop(register("callback"));
            Ok(())
        }),
        Some("named-parent") => named_parent(),
        Some("two-mains") => two_mains(),
        Some("named-main") => named_main(),
        Some("exit") => exit(),
        Some("again") => again(),
        Some("busy-pool") => busy_pool(),
        other => panic!("no scenario {other:?}"),
    }
}

/// Unregistered threads do `what` all the time, as fast as they can, while runtimes come and go.
fn while_runtimes_end(what: fn() -> Result<(), String>) {
    log::set_max_level(log::LevelFilter::Off);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let guests: Vec<_> = (0..3)
        .map(|_| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    match catch_unwind(what) {
                        Ok(Ok(())) => done.fetch_add(1, SeqCst),
                        Ok(Err(error)) => panic!("{error}"),
                        Err(_) => panic!("it panicked"),
                    };
                }
            })
        })
        .collect();
    for _ in 0..40 {
        let runtime = Runtime::start(Config::new("short")).unwrap();
        log::set_max_level(log::LevelFilter::Off);
        let before = done.load(SeqCst);
        until("the guests go on", || done.load(SeqCst) > before);
        runtime.shutdown().unwrap();
    }
    stop.store(true, SeqCst);
    guests.into_iter().for_each(|guest| guest.join().unwrap());
    // Some may not have ended yet.
    until("less than 500 threads are kept", || Thread::current().children().len() < 500);
}

/// A thread from outside places children below a thread that ends, as fast as it can.
fn named_parent() {
    let asked = Signal::new("asked");
    let is_asked = asked.clone();
    let parent = spawn("parent", move |please_stop| {
        drop(spawn("slow", move |please_stop| {
            please_stop.wait_for_go();
            is_asked.go();
            // The time in which the parent ends, and children are placed below it.
            std::thread::sleep(Duration::from_millis(50));
        }));
        please_stop.wait_for_go();
    });
    let (thread, placed) = (parent.thread().clone(), Arc::new(AtomicU64::new(0)));
    let count = placed.clone();
    let guest = std::thread::spawn(move || {
        loop {
            match Builder::new("guest").parent(&thread).register() {
                Ok(guard) => drop(guard),
                Err(error) => return error.to_string(),
            }
            count.fetch_add(1, SeqCst);
        }
    });
    until("the guest goes on", || placed.load(SeqCst) > 100);
    parent.stop();
    asked.wait_for_go();
    parent.join().unwrap();
    let error = guest.join().unwrap();
    assert!(error.contains("main/parent is ending") || error.contains("main/parent has ended"), "{error}");
}

/// The process's main thread uses the crate, then a runtime starts on another thread.
fn two_mains() {
    let early = spawn("early", |please_stop| please_stop.wait_for_go());
    let stopped = early.thread().stopped().clone();
    drop(early);
    assert_eq!(Thread::current().path(), "main");
    let before = Thread::current();
    let (up, go_on) = (Signal::new("up"), Signal::new("go on"));
    let (is_up, may_end) = (up.clone(), go_on.clone());
    let runtimes = std::thread::Builder::new().name("big".into()).spawn(move || {
        let runtime = Runtime::start(Config::new("other")).unwrap();
        let begin = Instant::now();
        while Thread::current().cpu_time().unwrap() < Duration::from_millis(60) {
            assert!(begin.elapsed() < Duration::from_secs(60), "its clock is that of another thread");
            std::hint::black_box((0..10_000).sum::<u64>());
        }
        is_up.go();
        may_end.wait_for_go();
        let main = Thread::current();
        runtime.shutdown().unwrap();
        main
    });
    up.wait_for_go();
    // Known to the log too, before it asks for itself.
    let said = selvedge::dump().to_string();
    assert!(said.contains("main/early"), "the earlier children are not shown: {said}");
    let me = Thread::current();
    assert_eq!((me.path(), me.parent().is_none()), ("other/main", true));
    assert_ne!(me.id(), before.id());
    let lock = Arc::new(Lock::new("held", ()));
    let held = lock.clone();
    let (locked, let_go) = (Signal::new("locked"), Signal::new("let go"));
    let (is_locked, may_let_go) = (locked.clone(), let_go.clone());
    let holder = std::thread::spawn(move || {
        let _guard = held.lock();
        is_locked.go();
        may_let_go.wait_for_go();
    });
    locked.wait_for_go();
    let watcher = std::thread::spawn(move || {
        // The first thread waits for the lock. Its wait is not `main`'s, so no call tells when.
        until("the first thread sleeps", || {
            let first = format!("/proc/self/task/{}/stat", std::process::id());
            std::fs::read_to_string(first).is_ok_and(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('S'))
        });
        let dump = selvedge::dump().to_string();
        let_go.go();
        go_on.go();
        dump
    });
    drop(lock.lock());
    let dump = watcher.join().unwrap();
    assert!(!dump.contains("\"held\""), "{dump}");
    holder.join().unwrap();
    let main = runtimes.unwrap().join().unwrap();
    assert_eq!(main.path(), "main");
    assert!(stopped.is_go(), "the earlier children end with the runtime");
    assert_eq!(spawn("late", |_| Thread::current().path().to_owned()).join().unwrap(), "main/late");
}

/// Runtimes start and end on the process's main thread, which asks for itself between them.
fn again() {
    let cycle = || {
        let runtime = Runtime::start(Config::new("again")).unwrap();
        log::set_max_level(log::LevelFilter::Off);
        runtime.shutdown().unwrap();
        assert_eq!(Thread::current().path(), "main");
    };
    (0..100).for_each(|_| cycle());
    let before = ALLOCATED.load(SeqCst);
    (0..100).for_each(|_| cycle());
    // Each cycle kept a node's path and wait slot once: 584 bytes. A thread that ends may have some for a moment.
    until("100 cycles keep less than 8 KiB", || ALLOCATED.load(SeqCst) - before < 8 << 10);
}

/// A thread of a pool goes on with jobs while the runtime ends. The runtime lets go of it, and its
/// next job joins the tree again.
fn busy_pool() {
    let runtime = Runtime::start(Config::new("busy").log_level(log::LevelFilter::Info)).unwrap();
    let (registered, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (registrations, over) = (registered.clone(), is_over.clone());
    let pool = std::thread::spawn(move || {
        let mut known = None;
        while !over.load(SeqCst) {
            register_once("pool");
            let me = Thread::current();
            if known.as_ref() != Some(&me) {
                if known.is_some() {
                    drop(spawn("late", |please_stop| please_stop.wait_for_go()));
                }
                known = Some(me);
                registrations.fetch_add(1, SeqCst);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    until("the pool is in the tree", || registered.load(SeqCst) == 1);
    let joins_again = registered.clone();
    drop(spawn("slow", move |please_stop| {
        please_stop.wait_for_go();
        until("the pool joins the tree again while its sibling stops", || joins_again.load(SeqCst) == 2);
    }));
    runtime.shutdown().unwrap();
    is_over.store(true, SeqCst);
    pool.join().unwrap();
}

fn named_main() {
    let named = std::thread::Builder::new().name("main".into());
    let known = named.spawn(|| {
        let me = Thread::current();
        assert_eq!(spawn("child", |_| Thread::current().path().to_owned()).join().unwrap(), "main/child");
        (me.path().to_owned(), me.id())
    });
    let (path, id) = known.unwrap().join().unwrap();
    assert_eq!(path, "other/main");
    assert_eq!(Thread::current().path(), "main");
    assert_ne!(Thread::current().id(), id);
}

/// Calls all that there is to call when the calling thread ends.
struct AtExit(&'static str);

thread_local! {
    static FIRST: RefCell<Option<AtExit>> = const { RefCell::new(None) };
    static LAST: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

static CALLED: AtomicU64 = AtomicU64::new(0);

impl Drop for AtExit {
    fn drop(&mut self) {
        call_everything(self.0);
        CALLED.fetch_add(1, SeqCst);
    }
}

fn call_everything(from: &str) {
    let soon = Duration::from_millis(1);
    log::info!("{from} is at its end");
    let me = Thread::current();
    assert_eq!(me.path(), Thread::current().path());
    assert!(me.is_alive());
    assert_eq!(spawn("flusher", |_| 7).join().unwrap(), 7);
    spawn("released", |please_stop| please_stop.wait_for_go()).release();
    assert!(spawn_fallible("failing", |_| Err::<(), _>("told")).join().is_err());
    assert_eq!(scope(|s| s.spawn("scoped", |_| from.len()).join().unwrap()), from.len());
    drop(register("callback"));
    drop(Builder::new("callback").register().unwrap());

    let signal = Signal::new("signal");
    let ran = Signal::new("ran");
    let runs = ran.clone();
    signal.on_go(move || assert!(runs.go()));
    assert!(!(&signal | &ran).wait_for_go_timeout(soon));
    let go = signal.clone();
    let goer = spawn("goer", move |_| {
        // Usually the caller waits by then. If not, its wait ends at once.
        std::thread::sleep(Duration::from_millis(2));
        go.go()
    });
    signal.wait_for_go();
    assert!(goer.join().unwrap() && ran.is_go());
    assert!(signal.receiver().recv().is_err());
    Till::after(soon).wait_for_go();
    assert!(Till::after(Duration::from_secs(3600)).on_go(|| ()).cancel());

    let queue: Queue<u32> = Queue::bounded("queue", 1);
    queue.add(1).unwrap();
    assert!(queue.add_till(2, &Till::after(soon)).is_err());
    assert_eq!(queue.pop(), Some(1));
    assert!(queue.pop_till(&Till::after(soon)).is_err());
    let lock = Lock::new("lock", 0);
    *lock.lock() += 1;
    scope(|s| {
        let guard = lock.lock();
        let other = s.spawn("locks", |_| *lock.lock() += 1);
        // Usually the other thread waits by then. If not, it finds a free lock.
        std::thread::sleep(Duration::from_millis(2));
        drop(guard);
        other.join().unwrap();
    });
    let monitor = Monitor::new("monitor", 0);
    assert!(!monitor.enter().wait_timeout(soon));
    assert!(Semaphore::new("semaphore", 0).acquire_timeout(soon).is_err());
    assert!(!BinarySemaphore::new("flag").wait_till(&Till::after(soon)));
    assert!(!Progress::new("progress").wait_for_timeout(1, soon));
    drop(Sequencer::new("sequencer").take_ticket().wait_turn());
    let promise = Promise::new("promise");
    promise.claim().unwrap().fulfil(1);
    assert_eq!(promise.wait().copied().ok(), Some(1));
    let actor = spawn_actor("actor", 0, |sum: &mut u32, more: u32, _| *sum += more);
    actor.send(1).unwrap();
    drop(actor);
    // Its stacks take seconds where nothing is optimized.
    if from.contains("nothing") {
        assert!(!selvedge::dump().to_json().is_empty());
    }
}

/// What could be lost or panic at the end of a thread of each kind: all public calls, before and
/// after the crate's own thread-locals are destroyed.
fn exit() {
    let runtime = Runtime::start(Config::new("exit")).unwrap();
    let touch = |from: &'static str| {
        FIRST.with(|first| *first.borrow_mut() = Some(AtExit(from)));
        log_mdc::insert("request", "17");
        call_everything(from);
        LAST.with(|last| *last.borrow_mut() = Some(AtExit(from)));
    };
    let bare = |from: &'static str| FIRST.with(|first| *first.borrow_mut() = Some(AtExit(from)));
    spawn("of-the-tree", move |_| touch("a thread of the tree")).join().unwrap();
    spawn("bare", move |_| bare("a thread of the tree that has called nothing")).join().unwrap();
    std::thread::spawn(move || touch("an unregistered thread")).join().unwrap();
    std::thread::spawn(move || bare("an unregistered thread that has called nothing")).join().unwrap();
    let with_context = || {
        FIRST.with(|first| *first.borrow_mut() = Some(AtExit("a thread with nothing but a context")));
        log_mdc::insert("request", "17");
    };
    std::thread::spawn(with_context).join().unwrap();
    std::thread::spawn(move || {
        let registered = register("registered");
        touch("a registered thread");
        drop(registered);
    })
    .join()
    .unwrap();
    assert_eq!(CALLED.load(SeqCst), 9);
    let failures = runtime.shutdown();
    assert!(failures.is_ok(), "{failures:?}");
    // And the main thread's, at the end of the process.
    touch("the main thread");
}
