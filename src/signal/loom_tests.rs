//! Loom models of signals: what came before `go` is seen after it, each waiter is woken, each
//! target runs once. See `model/loom_tests.rs`.

use super::{BatchWake, LazySignal, Reason, Signal};
use crate::model::Word;
use crate::model::loom_tests::check;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A target that counts its runs. The counter is std's: no part of the model.
fn count(runs: &Arc<AtomicUsize>) -> impl FnOnce() + Send + 'static {
    let runs = runs.clone();
    move || {
        runs.fetch_add(1, SeqCst);
    }
}

#[test]
fn loom_signal_hands_on_what_came_before_go() {
    check(3, || {
        let (signal, word) = (Signal::new("s"), Arc::new(Word::new(0)));
        let (theirs, its_word) = (signal.clone(), word.clone());
        let goes = thread::spawn(move || {
            its_word.set(1);
            theirs.go();
        });
        if signal.is_go() {
            assert_eq!(word.get(), 1);
        }
        signal.wait_for_go();
        assert_eq!(word.get(), 1);
        goes.join().unwrap();
    });
}

/// One thread evaluates the composite, after the parts went. Another sees only the outcome.
#[test]
fn loom_signal_a_composite_orders_after_its_parts() {
    for all in [false, true] {
        check(3, move || {
            let (a, b, word) = (Signal::new("a"), Signal::new("b"), Arc::new(Word::new(0)));
            let composite = if all { &a & &b } else { &a | &b };
            let (theirs, its_word) = (composite.clone(), word.clone());
            // The thread that only looks is the spawned one: loom runs it last at first, and then
            // finds the other orders.
            let looks = thread::spawn(move || {
                if theirs.0.is_known_gone() {
                    assert_eq!(its_word.get(), 1);
                }
            });
            word.set(1);
            a.go();
            b.go();
            assert!(composite.is_go());
            looks.join().unwrap();
        });
    }
}

#[test]
fn loom_signal_a_target_runs_once_in_any_order() {
    check(3, || {
        let (signal, runs) = (Signal::new("s"), Arc::new(AtomicUsize::new(0)));
        let theirs = signal.clone();
        let goes = thread::spawn(move || theirs.go());
        let theirs = signal.clone();
        let goes_too = thread::spawn(move || theirs.go());
        signal.on_go(count(&runs));
        assert!(goes.join().unwrap() ^ goes_too.join().unwrap());
        assert_eq!((runs.load(SeqCst), signal.target_count()), (1, 0));
    });
}

/// Each of two threads lets one part go, and looks at the other's.
#[test]
fn loom_signal_concurrent_parts_run_the_target_once() {
    check(3, || {
        let (a, b, runs) = (Signal::new("a"), Signal::new("b"), Arc::new(AtomicUsize::new(0)));
        (&a & &b).on_go(count(&runs));
        let theirs = b.clone();
        let goes = thread::spawn(move || theirs.go());
        a.go();
        goes.join().unwrap();
        assert_eq!((runs.load(SeqCst), a.target_count(), b.target_count()), (1, 0, 0));
    });
}

#[test]
fn loom_signal_cancel_waits_for_a_running_target() {
    check(3, || {
        let (signal, word) = (Signal::new("s"), Arc::new(Word::new(0)));
        let its_word = word.clone();
        let target = signal.on_go(move || its_word.set(1));
        let theirs = signal.clone();
        let goes = thread::spawn(move || theirs.go());
        let cancelled = target.cancel();
        assert_eq!(word.get(), u64::from(!cancelled));
        goes.join().unwrap();
        assert_eq!(signal.target_count(), 0);
    });
}

#[test]
fn loom_signal_each_waiter_of_composites_is_woken() {
    check(2, || {
        let (a, b) = (Signal::new("a"), Signal::new("b"));
        let either = &a | &b;
        let first = thread::spawn(move || either.wait_for_go());
        let (waits, till) = (a.clone(), b.clone());
        let second = thread::spawn(move || waits.wait_for_go_till(&till));
        b.go();
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn loom_batch_wake_wakes_each_waiter() {
    check(2, || {
        let (a, b) = (Signal::new("a"), Signal::new("b"));
        let waiters = [a.clone(), b.clone()].map(|signal| thread::spawn(move || signal.wait_for_go()));
        let reason = Reason::of("a model", None, None);
        let mut batch = BatchWake::default();
        batch.go_for(&a, &reason);
        batch.go_for(&b, &reason);
        drop(batch);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// The target of the first signal waits for a thread that waits for the second.
#[test]
fn loom_batch_wake_runs_targets_behind_all_waiters() {
    check(2, || {
        let (a, b, woken) = (Signal::new("a"), Signal::new("b"), Signal::new("woken"));
        let (waits, wakes, awaits) = (b.clone(), woken.clone(), woken.clone());
        let waiter = thread::spawn(move || {
            waits.wait_for_go();
            wakes.go();
        });
        a.on_go(move || awaits.wait_for_go());
        let reason = Reason::of("a model", None, None);
        let mut batch = BatchWake::default();
        batch.go_for(&a, &reason);
        batch.go_for(&b, &reason);
        drop(batch);
        assert!(woken.is_go());
        waiter.join().unwrap();
    });
}

#[test]
fn loom_lazy_go_and_get_in_any_order() {
    check(3, || {
        let (late, word) = (Arc::new(LazySignal::new()), Arc::new(Word::new(0)));
        let (theirs, its_word) = (late.clone(), word.clone());
        let goes = thread::spawn(move || {
            its_word.set(1);
            theirs.go();
        });
        if late.is_go() {
            assert_eq!(word.get(), 1);
        }
        late.get(&Arc::from("main"), "stopped").wait_for_go();
        assert_eq!(word.get(), 1);
        goes.join().unwrap();
    });
}

/// The two looks share no lock: the thread that gets finds the signal made already.
#[test]
fn loom_lazy_another_threads_signal_goes_too() {
    check(3, || {
        let late = Arc::new(LazySignal::new());
        let theirs = late.clone();
        let goes = thread::spawn(move || theirs.go());
        let theirs = late.clone();
        let gets = thread::spawn(move || theirs.get(&Arc::from("main"), "stopped").is_go());
        late.get(&Arc::from("main"), "stopped").wait_for_go();
        gets.join().unwrap();
        goes.join().unwrap();
    });
}

/// Two threads cancel while a third makes the signal go: they agree, and nothing is left.
#[test]
fn loom_signal_concurrent_cancels_agree() {
    check(2, || {
        let (signal, runs) = (Signal::new("s"), Arc::new(AtomicUsize::new(0)));
        let target = Arc::new(signal.on_go(count(&runs)));
        let (theirs, its_runs) = (target.clone(), runs.clone());
        let cancels = thread::spawn(move || {
            let cancelled = theirs.cancel();
            assert_eq!(its_runs.load(SeqCst), usize::from(!cancelled));
            cancelled
        });
        let theirs = signal.clone();
        let goes = thread::spawn(move || theirs.go());
        let mine = target.cancel();
        assert_eq!(mine, cancels.join().unwrap());
        goes.join().unwrap();
        assert_eq!((runs.load(SeqCst), signal.target_count()), (usize::from(!mine), 0));
    });
}

/// A target of two parts is cancelled while both go.
#[test]
fn loom_signal_a_cancel_against_both_parts() {
    check(2, || {
        let (a, b, word) = (Signal::new("a"), Signal::new("b"), Arc::new(Word::new(0)));
        let its_word = word.clone();
        let target = (&a | &b).on_go(move || its_word.set(1));
        let theirs = b.clone();
        let goes = thread::spawn(move || theirs.go());
        a.go();
        // It has run on this thread, or on the other.
        assert!(!target.cancel());
        assert_eq!(word.get(), 1);
        goes.join().unwrap();
        assert_eq!((a.target_count(), b.target_count()), (0, 0));
    });
}
