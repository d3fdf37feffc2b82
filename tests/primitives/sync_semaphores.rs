//! Semaphore and BinarySemaphore: no permit too many, none lost, no thread starves.

use crate::support::{DEADLINE, until, within_deadline};
use selvedge::{BinarySemaphore, GaveUp, Semaphore, Signal, Till};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn there_are_never_more_inside_than_permits() {
    let semaphore = Semaphore::new("slots", 3);
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for round in 0..500 {
                    let permit = match round % 3 {
                        0 => Some(semaphore.acquire()),
                        1 => semaphore.acquire_timeout(Duration::from_micros(20)).ok(),
                        _ => semaphore.acquire_till(&Till::after(Duration::from_micros(20))).ok(),
                    };
                    if permit.is_some() {
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    assert_eq!(semaphore.available(), 3, "each that was taken or given up on is back");
}

#[test]
fn giving_up_says_why() {
    let semaphore = Semaphore::new("licence", 1);
    let permit = semaphore.try_acquire().unwrap();
    assert!(semaphore.try_acquire().is_none());
    assert_eq!(semaphore.acquire_timeout(Duration::from_millis(2)).err(), Some(GaveUp::TimedOut));
    assert_eq!(semaphore.acquire_till(&Till::after(Duration::from_millis(2))).err(), Some(GaveUp::Stopped));
    drop(permit);
    assert_eq!(semaphore.acquire_till(&Signal::gone()).err(), Some(GaveUp::Stopped));
    assert_eq!(format!("{semaphore:?}"), "Semaphore(licence, 1 available)");
}

#[test]
fn no_time_at_all_is_a_limit() {
    within_deadline(|| {
        let semaphore = Semaphore::new("licence", 0);
        assert_eq!(semaphore.acquire_timeout(Duration::ZERO).err(), Some(GaveUp::TimedOut));
        assert!(!BinarySemaphore::new("changed").wait_timeout(Duration::ZERO));
    });
}

#[test]
fn permits_can_be_added_forgotten_and_moved() {
    let semaphore = Semaphore::new("slots", 0);
    thread::scope(|s| {
        let waits: Vec<_> = (0..3).map(|_| s.spawn(|| semaphore.acquire_timeout(DEADLINE).unwrap().forget())).collect();
        semaphore.add_permits(5);
        waits.into_iter().for_each(|wait| wait.join().unwrap());
    });
    assert_eq!(semaphore.available(), 2);
    let permit = semaphore.acquire();
    thread::scope(|s| s.spawn(move || drop(permit)).join().unwrap());
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn one_permit_serves_a_hundred_waiters() {
    let semaphore = Semaphore::new("one", 1);
    let first = semaphore.acquire();
    let passed = AtomicUsize::new(0);
    thread::scope(|s| {
        for _ in 0..100 {
            s.spawn(|| {
                for _phase in 0..2 {
                    let _permit = semaphore.acquire_timeout(DEADLINE).expect("one comes back");
                    passed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        drop(first);
    });
    assert_eq!(passed.load(Ordering::SeqCst), 200);
}

#[test]
fn greedy_threads_starve_no_modest_one() {
    let semaphore = Semaphore::new("busy", 1);
    let enough = AtomicBool::new(false);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let _permit = semaphore.acquire();
                    (0..200).for_each(|_| std::hint::spin_loop());
                }
            });
        }
        let modest = s.spawn(|| (0..50).all(|_| semaphore.acquire_timeout(DEADLINE).is_ok()));
        let passed = modest.join().unwrap();
        enough.store(true, Ordering::Relaxed);
        assert!(passed);
    });
}

#[test]
fn two_posts_count_once() {
    let flag = BinarySemaphore::new("changed");
    assert!(!flag.try_wait());
    assert!(flag.post() && !flag.post());
    assert_eq!(format!("{flag:?}"), "BinarySemaphore(changed, posted)");
    assert!(flag.try_wait() && !flag.try_wait());
    assert!(!flag.wait_timeout(Duration::from_millis(2)));
    assert!(!flag.wait_till(&Till::after(Duration::from_millis(2))));
    flag.post();
    assert!(!flag.wait_till(&Signal::gone()), "a signal that has gone wins");
    flag.wait();
}

#[test]
fn a_post_wakes_one_that_sleeps() {
    let flag = BinarySemaphore::new("next");
    let woken = Arc::new(AtomicUsize::new(0));
    let sleepers: Vec<_> = (0..4)
        .map(|_| {
            let (flag, woken) = (flag.clone(), woken.clone());
            selvedge::spawn("sleeper", move |please_stop| {
                if flag.wait_till(please_stop) {
                    woken.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    until("all sleep", || sleepers.iter().all(|sleeper| sleeper.thread().waiting_for().is_some()));
    for expected in 1..=3 {
        assert!(flag.post());
        until("the expected number is awake", || woken.load(Ordering::SeqCst) == expected);
    }
    sleepers.iter().for_each(selvedge::JoinHandle::stop);
    sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    assert_eq!(woken.load(Ordering::SeqCst), 3);
}

#[test]
fn a_released_permit_wakes_a_sleeper() {
    let semaphore = Semaphore::new("slots", 0);
    let at = semaphore.clone();
    let sleeper = selvedge::spawn("sleeper", move |please_stop| at.acquire_till(please_stop).map(drop));
    until("it sleeps", || sleeper.thread().waiting_for().is_some());
    // Published a little before it stands in the line; either way it must not stay there.
    semaphore.add_permits(1);
    until("it has ended", || !sleeper.thread().is_alive());
    assert_eq!(sleeper.join().unwrap(), Ok(()));
}

#[test]
fn no_post_is_lost_between_two_threads() {
    // The taker must get to the last version, however posts run together.
    let flag = BinarySemaphore::new("version");
    let version = AtomicU64::new(0);
    const LAST: u64 = 50_000;
    thread::scope(|s| {
        s.spawn(|| {
            for number in 1..=LAST {
                version.store(number, Ordering::Relaxed);
                flag.post();
            }
        });
        let mut seen = 0;
        while seen < LAST {
            assert!(flag.wait_timeout(DEADLINE), "stuck at {seen}");
            seen = version.load(Ordering::Relaxed);
        }
    });
}

#[test]
fn the_count_of_permits_cannot_overflow() {
    let semaphore = Semaphore::new("as many as you like", usize::MAX);
    let all = semaphore.available();
    let permit = semaphore.acquire();
    semaphore.add_permits(1);
    drop(permit);
    semaphore.add_permits(usize::MAX);
    assert_eq!(semaphore.available(), all);
    assert!(semaphore.try_acquire().is_some());
}
