//! Loom models of permits, locks, monitors, progress and promises. See `model/loom_tests.rs`.

use super::{BinarySemaphore, Lock, Monitor, Progress, Promise, PromiseError, Semaphore};
use crate::model::loom_tests::check;
use crate::model::{AtomicU64, Word};
use crate::signal::Signal;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn loom_permits_each_owner_sees_the_last() {
    check(3, || {
        let lock = Arc::new(Lock::new("l", Word::new(0)));
        let add = |lock: &Lock<Word>| {
            let word = lock.lock();
            word.set(word.get() + 1);
        };
        let threads = [lock.clone(), lock.clone()].map(|lock| thread::spawn(move || add(&lock)));
        add(&lock);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(lock.lock().get(), 3);
    });
}

#[test]
fn loom_permits_a_permit_orders_its_holders() {
    check(3, || {
        let (semaphore, word) = (Semaphore::new("s", 0), Arc::new(Word::new(0)));
        let (theirs, its_word) = (semaphore.clone(), word.clone());
        let taker = thread::spawn(move || {
            let permit = theirs.acquire();
            its_word.set(its_word.get() + 1);
            drop(permit);
        });
        let (theirs, its_word) = (semaphore.clone(), word.clone());
        let second = thread::spawn(move || {
            let permit = theirs.acquire();
            its_word.set(its_word.get() + 1);
            drop(permit);
        });
        word.set(1);
        semaphore.add_permits(1);
        taker.join().unwrap();
        second.join().unwrap();
        assert_eq!(word.get(), 3);
    });
}

#[test]
fn loom_permits_a_giving_up_waiter_calls_the_next() {
    check(2, || {
        let (semaphore, stop) = (Semaphore::new("s", 1), Signal::new("stop"));
        let permit = semaphore.acquire();
        let (theirs, till) = (semaphore.clone(), stop.clone());
        let gives_up = thread::spawn(move || drop(theirs.acquire_till(&till)));
        let theirs = semaphore.clone();
        let stays = thread::spawn(move || drop(theirs.acquire()));
        stop.go();
        drop(permit);
        gives_up.join().unwrap();
        stays.join().unwrap();
        assert_eq!(semaphore.available(), 1);
    });
}

/// The second post finds the permit of the first. The thread that takes that permit must see what
/// came before both.
#[test]
fn loom_permits_a_repeated_post_is_not_lost() {
    check(3, || {
        let (flag, value) = (BinarySemaphore::new("b"), Arc::new(AtomicU64::new(0)));
        let posters = [1, 2].map(|bit| {
            let (flag, value) = (flag.clone(), value.clone());
            thread::spawn(move || {
                value.fetch_or(bit, Relaxed);
                flag.post();
            })
        });
        while value.load(Relaxed) != 3 {
            flag.wait();
        }
        posters.into_iter().for_each(|poster| poster.join().unwrap());
    });
}

#[test]
fn loom_progress_a_reached_number_orders_threads() {
    check(3, || {
        let (progress, word) = (Progress::new("p"), Arc::new(Word::new(0)));
        let (theirs, its_word) = (progress.clone(), word.clone());
        let advances = thread::spawn(move || {
            its_word.set(1);
            theirs.advance(1);
        });
        if progress.get() > 0 {
            assert_eq!(word.get(), 1);
        }
        progress.wait_for(1);
        assert_eq!(word.get(), 1);
        advances.join().unwrap();
    });
}

#[test]
fn loom_progress_passes_every_mark() {
    check(2, || {
        let progress = Progress::new("p");
        let advance = |f: fn(&Progress)| {
            let progress = progress.clone();
            thread::spawn(move || f(&progress))
        };
        let advances = [
            advance(|progress| {
                progress.advance(1);
            }),
            advance(|progress| {
                progress.advance_to(2);
                progress.advance(1);
            }),
        ];
        progress.wait_for(2);
        advances.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(progress.get() >= 3);
    });
}

/// At its end, where an addition may come after the last number.
#[test]
fn loom_progress_stays_at_its_end() {
    check(3, || {
        let progress = Progress::new("p");
        // One step before the end.
        progress.advance_to(u64::MAX - (1 << 56));
        let advance = |f: fn(&Progress)| {
            let progress = progress.clone();
            thread::spawn(move || f(&progress))
        };
        let advances = [
            advance(|progress| {
                assert_eq!((progress.advance(1), progress.advance(u32::MAX.into())), (u64::MAX, u64::MAX));
            }),
            advance(|progress| {
                assert!(progress.advance_to(u64::MAX) || progress.get() == u64::MAX);
            }),
        ];
        let (first, second) = (progress.get(), progress.get());
        assert!(first <= second, "{first}, {second}");
        advances.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((progress.get(), progress.advance(1)), (u64::MAX, u64::MAX));
    });
}

#[test]
fn loom_progress_forgets_only_unused_marks() {
    check(2, || {
        let (progress, stop) = (Progress::new("p"), Signal::new("stop"));
        let theirs = progress.clone();
        let waits = thread::spawn(move || theirs.wait_for(1));
        let (theirs, till) = (progress.clone(), stop.clone());
        let gives_up = thread::spawn(move || theirs.wait_for_till(1, &till));
        stop.go();
        progress.advance(1);
        waits.join().unwrap();
        gives_up.join().unwrap();
    });
}

#[test]
fn loom_monitor_a_change_reaches_its_waiter() {
    check(2, || {
        let monitor = Arc::new(Monitor::new("m", Word::new(0)));
        let threads = [1, 2].map(|number| {
            let monitor = monitor.clone();
            thread::spawn(move || {
                let mut guard = monitor.enter();
                while guard.get() < number {
                    guard.wait();
                }
                guard.set(2);
            })
        });
        monitor.enter().set(1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn loom_promise_one_claimant_orders_its_value() {
    check(2, || {
        let promise: Promise<Word> = Promise::new("p");
        let claim = |promise: Promise<Word>| {
            promise.claim().is_some_and(|claim| {
                let word = Word::new(0);
                word.set(7);
                claim.fulfil(word);
                true
            })
        };
        let other = promise.clone();
        let other = thread::spawn(move || claim(other));
        let mine = claim(promise.clone());
        assert_eq!(promise.wait().map(Word::get), Ok(7));
        assert!(mine ^ other.join().unwrap());
    });
}

/// What came before the claim was dropped is seen by each thread that is told so.
#[test]
fn loom_promise_an_abandoned_claim_wakes_each_waiter() {
    check(2, || {
        let (promise, word) = (Promise::<u64>::new("p"), Arc::new(Word::new(0)));
        let claim = promise.claim().unwrap();
        let waiters = [promise.clone(), promise.clone()].map(|promise| {
            let word = word.clone();
            thread::spawn(move || {
                assert_eq!(promise.wait(), Err(PromiseError::Abandoned));
                assert_eq!(word.get(), 1);
            })
        });
        word.set(1);
        drop(claim);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// A stop and the value come at the same time: the waiter has the one or the other, never neither.
#[test]
fn loom_promise_a_stop_against_the_value() {
    check(2, || {
        let (promise, stop): (Promise<Word>, _) = (Promise::new("p"), Signal::new("stop"));
        let (theirs, till) = (promise.clone(), stop.clone());
        let waits = thread::spawn(move || match theirs.wait_till(&till) {
            Ok(word) => assert_eq!(word.get(), 7),
            Err(error) => assert_eq!(error, PromiseError::Stopped),
        });
        let claim = promise.claim().unwrap();
        let stops = thread::spawn(move || stop.go());
        let word = Word::new(0);
        word.set(7);
        claim.fulfil(word);
        assert_eq!(promise.get().map(Word::get), Some(7));
        stops.join().unwrap();
        waits.join().unwrap();
    });
}
