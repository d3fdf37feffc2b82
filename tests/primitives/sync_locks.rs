//! Lock and Monitor: one at a time, not reentrant, usable after a panic, and no wait without a
//! cause.

use crate::support::{DEADLINE, until};
use selvedge::{GaveUp, Lock, Monitor, Signal, Till};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

fn panic_text(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    payload.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_lock_lets_one_in_at_a_time() {
    let lock = Lock::new("count", 0u64);
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..20_000).for_each(|_| *lock.lock() += 1));
        }
    });
    assert_eq!(lock.into_inner(), 80_000);
}

#[test]
fn reentry_panics_with_name_and_owner() {
    thread::Builder::new()
        .name("twice".into())
        .spawn(|| {
            let lock = Lock::new("ledger", ());
            let guard = lock.lock();
            for text in [panic_text(|| drop(lock.lock())), panic_text(|| drop(lock.lock_till(&Signal::never())))] {
                assert!(text.contains("lock \"ledger\"") && text.contains("other/twice"), "{text}");
            }
            assert!(lock.try_lock().is_none());
            drop(guard);
            drop(lock.lock());

            let monitor = Monitor::new("stock", ());
            let guard = monitor.enter();
            let text = panic_text(|| drop(monitor.enter()));
            assert!(text.contains("monitor \"stock\"") && text.contains("other/twice"), "{text}");
            drop(guard);
            drop(monitor.enter());
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn the_holder_is_known_by_its_path() {
    let lock = Arc::new(Lock::new("ledger", ()));
    assert_eq!(lock.owner(), None);
    let (locked, release) = (Signal::new("locked"), Signal::new("release"));
    let holder = selvedge::spawn("holder", {
        let (lock, locked, release) = (lock.clone(), locked.clone(), release.clone());
        move |_| {
            let _guard = lock.lock();
            locked.go();
            release.wait_for_go();
        }
    });
    locked.wait_for_go();
    let path = holder.thread().path().to_owned();
    assert_eq!(lock.owner().as_deref(), Some(path.as_str()));
    assert_eq!(format!("{lock:?}"), format!("Lock(ledger, held by {path})"));

    let waiter = selvedge::spawn("waiter", {
        let lock = lock.clone();
        move |please_stop| lock.lock_till(please_stop).is_ok()
    });
    until("the wait", || waiter.thread().waiting_for().is_some());
    let wait = waiter.thread().waiting_for().unwrap();
    assert_eq!((wait.kind(), wait.name(), wait.holder().as_deref()), ("lock", "ledger", Some(path.as_str())));
    // With the place of the wait, and the one where the holder took it.
    let (here, held) = (
        "for lock \"ledger\" at tests/primitives/sync_locks.rs:",
        format!(", held by {path} since tests/primitives/sync_locks.rs:"),
    );
    assert!(wait.to_string().contains(here) && wait.to_string().contains(&held), "{wait}");
    release.go();
    assert!(waiter.join().unwrap());
    holder.join().unwrap();
    assert_eq!(wait.holder(), None, "read when it is shown, not when it was published");
    assert_eq!(lock.owner(), None);
}

#[test]
fn giving_up_says_why_and_leaves_no_trace() {
    let lock = Lock::new("ledger", ());
    let guard = lock.lock();
    thread::scope(|s| {
        s.spawn(|| {
            assert_eq!(lock.lock_timeout(Duration::from_millis(5)).err(), Some(GaveUp::TimedOut));
            assert_eq!(lock.lock_timeout(Duration::ZERO).err(), Some(GaveUp::TimedOut));
            let stop = Signal::new("stop");
            let either = Till::after(Duration::from_millis(5)) | &stop;
            assert_eq!(lock.lock_till(&either).err(), Some(GaveUp::Stopped));
            assert_eq!(lock.lock_till(&Signal::gone()).err(), Some(GaveUp::Stopped));
            assert!(lock.try_lock().is_none());
        });
    });
    drop(guard);
    assert_eq!(
        lock.lock_till(&Signal::gone()).err(),
        Some(GaveUp::Stopped),
        "a signal that has gone wins over a free lock"
    );
    drop(lock.lock_timeout(Duration::ZERO).expect("it is free"));
    drop(lock.lock());
}

#[test]
fn a_stop_ends_every_wait_promptly() {
    let (lock, monitor) = (Lock::new("lock", ()), Monitor::new("monitor", ()));
    let stop = Signal::new("stop");
    let (guard, inside) = (lock.lock(), monitor.enter());
    let other = Monitor::new("other", ());
    thread::scope(|s| {
        let waits = [
            s.spawn(|| lock.lock_till(&stop).is_err()),
            s.spawn(|| monitor.enter_till(&(Till::after(Duration::from_secs(3600)) | &stop)).is_err()),
            s.spawn(|| !other.enter().wait_till(&(&stop | Till::after(Duration::from_secs(3600))))),
        ];
        let begin = Instant::now();
        stop.go();
        assert!(waits.into_iter().all(|wait| wait.join().unwrap()));
        assert!(begin.elapsed() < DEADLINE);
    });
    drop((guard, inside));
}

#[test]
fn a_panic_inside_is_known_to_the_next() {
    let lock = Lock::new("half done", 0);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = lock.lock();
        *guard = 1;
        panic!("inside");
    }));
    let guard = lock.lock();
    assert!(guard.left_by_panic() && *guard == 1);
    drop(guard);
    assert!(!lock.lock().left_by_panic(), "it was left in order since");

    let monitor = Monitor::new("half done", 0);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guard = monitor.enter();
        panic!("inside");
    }));
    assert!(monitor.enter().left_by_panic());
    assert!(!monitor.enter().left_by_panic());

    // Used while another panic unwinds, and left in order: that is no panic inside.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _counts = OnDrop(|| *lock.lock() += 1);
        panic!("elsewhere");
    }));
    assert!(!lock.lock().left_by_panic());
}

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn destructors_do_not_hide_that_a_panic_left_it() {
    let lock = Lock::new("accounts", (0, 0));
    let monitor = Monitor::new("accounts", (0, 0));
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // Each counts in a destructor, as a guard of a job does.
        let _counts_in_lock = OnDrop(|| lock.lock().1 += 1);
        let _counts_in_monitor = OnDrop(|| monitor.enter().1 += 1);
        let (mut both, mut inside) = (lock.lock(), monitor.enter());
        (both.0, inside.0) = (1, 1);
        panic!("half way");
    }));
    let (both, inside) = (lock.lock(), monitor.enter());
    assert_eq!((*both, *inside), ((1, 1), (1, 1)));
    assert!(both.left_by_panic() && inside.left_by_panic());
    drop((both, inside));
    assert!(!lock.lock().left_by_panic() && !monitor.enter().left_by_panic());
}

#[test]
fn nobody_starves_while_others_are_greedy() {
    let lock = Lock::new("busy", 0u64);
    let enough = AtomicBool::new(false);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let mut count = lock.lock();
                    *count += 1;
                    // Held nearly all the time, and taken again at once.
                    (0..200).for_each(|_| std::hint::spin_loop());
                }
            });
        }
        let modest = s.spawn(|| (0..50).all(|_| lock.lock_timeout(DEADLINE).is_ok()));
        let passed = modest.join().unwrap();
        enough.store(true, Ordering::Relaxed);
        assert!(passed);
    });
}

#[test]
fn a_hundred_waiters_pass_two_phases() {
    const THREADS: usize = 100;
    let monitor = Arc::new(Monitor::new("phases", (0usize, 0usize)));
    let lock = Arc::new(Lock::new("turnstile", 0usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (monitor, lock) = (monitor.clone(), lock.clone());
            thread::spawn(move || {
                *lock.lock() += 1;
                let mut phases = monitor.enter();
                phases.0 += 1;
                while phases.0 < THREADS {
                    assert!(phases.wait_timeout(DEADLINE), "a change was missed");
                }
                phases.1 += 1;
                while phases.1 < THREADS {
                    assert!(phases.wait_timeout(DEADLINE), "a change was missed");
                }
                drop(phases);
                *lock.lock() += 1;
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((*monitor.enter(), *lock.lock()), ((THREADS, THREADS), 2 * THREADS));
}

#[test]
fn each_change_is_seen_by_every_waiter() {
    // Each waits for another number, so only one is content with a change; the others must pass it
    // on.
    let monitor = Arc::new(Monitor::new("number", 0usize));
    let (tell, hear) = mpsc::channel();
    let ready = Arc::new(AtomicUsize::new(0));
    for mine in (1..=20).rev() {
        let (monitor, tell, ready) = (monitor.clone(), tell.clone(), ready.clone());
        thread::spawn(move || {
            let mut number = monitor.enter();
            ready.fetch_add(1, Ordering::SeqCst);
            while *number != mine {
                number.wait();
            }
            drop(number);
            tell.send(mine).unwrap();
        });
    }
    until("all waiters", || ready.load(Ordering::SeqCst) == 20);
    for number in 1..=20 {
        *monitor.enter() = number;
        assert_eq!(hear.recv_timeout(DEADLINE), Ok(number));
    }
}

#[test]
fn waiters_that_only_look_come_to_rest() {
    let monitor = Arc::new(Monitor::new("quiet", false));
    let looks = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (monitor, looks) = (monitor.clone(), looks.clone());
            thread::spawn(move || {
                let mut done = monitor.enter();
                while !*done {
                    looks.fetch_add(1, Ordering::SeqCst);
                    done.wait();
                }
            })
        })
        .collect();
    until("all look", || looks.load(Ordering::SeqCst) >= 4);
    drop(monitor.enter());
    // One thread has entered and left from outside, once. So each waiter looks at most once.
    thread::sleep(Duration::from_millis(50));
    let at_rest = looks.load(Ordering::SeqCst);
    assert!(at_rest <= 4 + 4 * 4 + 4, "{at_rest} looks at one change");
    *monitor.enter() = true;
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn two_waiters_hand_over_without_leaving() {
    let monitor = Monitor::new("ball", 0u32);
    thread::scope(|s| {
        for me in 0..2 {
            let monitor = &monitor;
            s.spawn(move || {
                let mut ball = monitor.enter();
                while *ball < 1000 {
                    if *ball % 2 == me {
                        *ball += 1;
                    }
                    assert!(*ball >= 1000 || ball.wait_timeout(DEADLINE), "a hand-over was missed");
                }
            });
        }
    });
    assert_eq!(monitor.into_inner(), 1000);
}

#[test]
fn a_wait_that_gave_up_owns_the_monitor() {
    let monitor = Monitor::new("held", 0);
    let inside = AtomicUsize::new(0);
    let barrier = Barrier::new(3);
    thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                barrier.wait();
                for _ in 0..50 {
                    let mut guard = monitor.enter();
                    let _ = guard.wait_till(&Till::after(Duration::from_micros(50)));
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "another is inside");
                    *guard += 1;
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(monitor.into_inner(), 150);
}

#[test]
fn guards_can_be_shared_and_values_unsized() {
    let lock: Box<Lock<[u8]>> = Box::new(Lock::new("bytes", [1, 2, 3]));
    let guard = lock.lock();
    let sum: u8 = thread::scope(|s| s.spawn(|| guard.iter().sum()).join().unwrap());
    assert_eq!((sum, format!("{guard:?}")), (6, "[1, 2, 3]".to_owned()));
}

/// The waiter gives up, and is taken out of the line by the thread that leaves, before it is inside
/// again.
#[test]
fn a_wakeup_at_the_timeout_counts() {
    let (monitor, stop) = (Arc::new(Monitor::new("stock", 0)), Signal::new("stop"));
    let (theirs, till) = (monitor.clone(), stop.clone());
    let waiter = selvedge::spawn("waiter", move |_| theirs.enter().wait_till(&till));
    let waits_for = |kind| waiter.thread().waiting_for().is_some_and(|wait| wait.kind() == kind);
    until("the wait for a change", || waits_for("change in monitor"));
    let mut guard = monitor.enter();
    *guard += 1;
    stop.go();
    until("the wait for the way back in", || waits_for("monitor"));
    drop(guard);
    assert!(waiter.join().unwrap(), "the thread that left has called nothing else, so this waiter must look");
}

/// Each has changed the value before its first wait. Were it taken to have done so before the
/// others, they would wake each other without end.
#[test]
fn a_waiter_comes_to_rest() {
    let (monitor, looks) = (Arc::new(Monitor::new("stock", 0)), Arc::new(AtomicUsize::new(0)));
    let waiters = ["first", "second"].map(|name| {
        let (monitor, looks) = (monitor.clone(), looks.clone());
        selvedge::spawn(name, move |please_stop| {
            let mut guard = monitor.enter();
            *guard += 1;
            while guard.wait_till(please_stop) {
                looks.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let waits = |thread: &selvedge::Thread| thread.waiting_for().is_some_and(|wait| wait.kind() == "change in monitor");
    until("both wait", || waiters.iter().all(|waiter| waits(waiter.thread())));
    drop(monitor.enter());
    until("both have looked", || looks.load(Ordering::SeqCst) >= 2);
    // Time for many more looks, if they do not come to rest.
    thread::sleep(Duration::from_millis(50));
    let seen = looks.load(Ordering::SeqCst);
    assert!(seen <= 8, "{seen} looks at three changes");
    waiters.iter().for_each(|waiter| waiter.stop());
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

#[test]
fn a_wait_with_a_gone_till_stays() {
    let (monitor, gone) = (Arc::new(Monitor::new("stock", 0)), Signal::new("gone"));
    gone.go();
    let mut guard = monitor.enter();
    let theirs = monitor.clone();
    let other = selvedge::spawn("other", move |_| *theirs.enter() = 1);
    until("the other waits", || other.thread().waiting_for().is_some_and(|wait| wait.kind() == "monitor"));
    // Long enough for a permit to be handed over, were there one.
    let deadline = Instant::now() + Duration::from_millis(20);
    while Instant::now() < deadline {
        assert!(!guard.wait_till(&gone));
        assert_eq!(*guard, 0, "the other was let in");
    }
    drop(guard);
    other.join().unwrap();
}
