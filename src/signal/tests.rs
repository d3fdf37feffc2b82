//! What can only be seen from inside: waits, targets and the timer leave nothing behind.

use super::core::Kind;
use super::*;
use crate::model::meanwhile;
use crate::wait::Shared;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(100);

#[test]
fn a_composite_that_was_waited_on_leaves_nothing() {
    let stop = Signal::new("stop");
    for _ in 0..100 {
        let either = Till::after(Duration::from_micros(10)) | &stop;
        either.wait_for_go();
        assert!(either.is_go());
    }
    assert_eq!(stop.target_count(), 0);
    assert_eq!(Arc::strong_count(&stop.0), 1);
}

#[test]
fn a_dropped_composite_takes_its_receiver_along() {
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let both = &a & &b;
    assert!(both.receiver().try_recv().is_err());
    assert_eq!((a.target_count(), b.target_count()), (1, 1));
    drop(both);
    assert_eq!((a.target_count(), b.target_count()), (0, 0));
    assert_eq!(Arc::weak_count(&a.0), 0);
}

#[test]
fn a_target_that_ran_leaves_all_parts() {
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    (&a | &b).on_go(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(b.target_count(), 1);
    a.go();
    assert_eq!(b.target_count(), 0);
    b.go();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_target_that_can_never_run_is_dropped() {
    let (a, captured) = (Signal::new("a"), Arc::new(()));
    let attach = |on: &Signal| {
        let captured = captured.clone();
        on.on_go(move || drop(captured))
    };
    let (b, c) = (Signal::new("b"), Signal::new("c"));
    let target = attach(&((&a & &b) | &c));
    drop(b);
    assert_eq!((a.target_count(), Arc::strong_count(&captured)), (1, 2), "`c` may still go");
    drop(c);
    assert_eq!((a.target_count(), Arc::strong_count(&captured)), (0, 1));
    assert!(target.cancel(), "it has not run");
    attach(&(&a & &Signal::never()));
    assert_eq!((a.target_count(), Arc::strong_count(&captured)), (0, 1));
    // A leaf that went is not lost.
    let b = Signal::new("b");
    attach(&(&a & &b));
    b.go();
    drop(b);
    assert_eq!(Arc::strong_count(&captured), 2);
    a.go();
    assert_eq!(Arc::strong_count(&captured), 1);
}

#[test]
fn a_leaf_dropped_after_it_went_counts() {
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    (&a & &b).on_go(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    a.go();
    drop(a);
    b.go();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_cancelled_till_is_forgotten_by_the_timer() {
    let hour = Till::after(Duration::from_secs(3600));
    let weak = Arc::downgrade(&hour.0);
    let target = hour.on_go(|| unreachable!("an hour has not passed"));
    drop(hour);
    assert!(weak.upgrade().is_some(), "a till with a target lives without a handle");
    assert!(target.cancel());
    drop(target);
    let deadline = Instant::now() + LONG;
    while weak.upgrade().is_some() {
        assert!(Instant::now() < deadline, "the timer still holds it");
        std::thread::yield_now();
    }
}

#[test]
fn cancelled_targets_leave_no_till_in_the_timer() {
    for wait_set in 0..500 {
        let till = Till::after(Duration::from_secs(3600 + wait_set));
        let Kind::Till(at) = till.0.kind else { unreachable!("its time can be expressed") };
        let address = Arc::as_ptr(&till.0);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| (0..20).for_each(|_| assert!(till.on_go(|| ()).cancel())));
            }
        });
        drop(till);
        assert!(!timer::tests::knows(at, address));
    }
}

/// One thread takes the only target away while another attaches one: the timer must know of that
/// one. With the timer's lock held, the first thread stops between its two steps; the second, which
/// is awake when the lock comes free, is faster then.
#[test]
fn the_timer_knows_targets_attached_during_a_cancel() {
    for _ in 0..200 {
        let till = Till::after(Duration::from_secs(3600));
        let last = till.on_go(|| ());
        let attached = std::thread::scope(|s| {
            let held = timer::tests::hold();
            s.spawn(|| assert!(last.cancel()));
            let deadline = Instant::now() + LONG;
            while till.target_count() > 0 {
                assert!(Instant::now() < deadline, "the target is not taken away");
                std::thread::yield_now();
            }
            drop(held);
            till.on_go(|| ())
        });
        let Kind::Till(at) = till.0.kind else { unreachable!("its time can be expressed") };
        assert!(timer::tests::knows(at, Arc::as_ptr(&till.0)), "a target that the timer has lost");
        assert!(attached.cancel());
    }
}

#[test]
fn the_timer_forgets_a_till_without_targets() {
    let till = Till::after(Duration::from_secs(3600));
    let Kind::Till(at) = till.0.kind else { unreachable!("its time can be expressed") };
    let target = till.on_go(|| ());
    assert!(timer::tests::knows(at, Arc::as_ptr(&till.0)));
    assert!(target.cancel());
    assert!(!timer::tests::knows(at, Arc::as_ptr(&till.0)), "its handle keeps it alive, not in the timer");
}

#[test]
fn the_timer_forgets_a_dropped_till_with_receiver() {
    let till = Till::after(Duration::from_secs(3600));
    let Kind::Till(at) = till.0.kind else { unreachable!("its time can be expressed") };
    let address = Arc::as_ptr(&till.0);
    let receiver = till.receiver().clone();
    assert!(timer::tests::knows(at, address));
    drop(till);
    assert!(!timer::tests::knows(at, address));
    assert!(receiver.try_recv().is_err());
}

#[test]
fn a_plain_go_keeps_thread_place_and_time() {
    let signal = Signal::new("done");
    let before = Instant::now();
    signal.go();
    let after = Instant::now();
    let by = crate::wait::my_path();
    for _ in 0..2 {
        let reason = signal.reason().unwrap();
        assert!((before..=after).contains(&reason.when()), "the time of the call, not of the request");
        assert_eq!((reason.text(), reason.by()), ("go() was called", &*by));
        assert!(reason.location().unwrap().file().ends_with("tests.rs") && reason.cause().is_none());
    }
}

#[test]
fn a_reason_keeps_its_first_cause_only() {
    let first = Reason::of("the disk is full", None, None);
    let second = Reason::of("the writer failed", None, Some(first));
    let third = Reason::of("the parent ended", None, Some(second));
    let cause = third.cause().unwrap();
    assert_eq!((cause.text(), cause.cause().is_none()), ("the disk is full", true));
}

#[test]
fn a_wait_for_all_blocks_on_missing_parts() {
    let (gone, missing) = (Signal::new("gone"), Signal::new("missing"));
    let both = &gone & &missing;
    gone.go();
    let mut wait_set = WaitSet::default();
    wait_set.clear(None);
    wait_set.watch(&both);
    let [only] = &wait_set.receivers[..] else { panic!("one part decides") };
    assert!(only.same_channel(missing.receiver()));
}

/// The last part may go between the question and the wait.
#[test]
fn a_wait_for_all_that_has_gone_meanwhile_ends_at_once() {
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let both = &a & &b;
    a.go();
    b.go();
    let mut wait_set = WaitSet::default();
    wait_set.clear(None);
    wait_set.watch(&both);
    assert!(wait_set.receivers.is_empty() && wait_set.deadline.is_some_and(|at| at <= Instant::now()));
}

#[test]
fn a_wait_for_a_till_among_others_sees_it_let_go() {
    let (till, other) = (Till::after(Duration::from_secs(1000)), Signal::new("other"));
    let mut wait_set = WaitSet::default();
    wait_set.clear(None);
    wait_set.watch(&(&*till | &other));
    assert!(wait_set.receivers.iter().any(|receiver| receiver.same_channel(till.receiver())));
}

/// One signal, with threads that wait for it alone, and one that selects.
#[test]
fn a_go_wakes_each_that_sleeps_and_each_that_selects() {
    let signal = Signal::new("bell");
    let selecting = signal.receiver().clone();
    std::thread::scope(|scope| {
        let waiters = [(); 3].map(|()| scope.spawn(|| signal.wait_for_go_timeout(LONG)));
        let deadline = Instant::now() + LONG;
        // Counted under the lock that a wait gives back when it sleeps.
        while signal.0.sleepers() < 3 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        let began = Instant::now();
        signal.go();
        assert!(waiters.map(|waiter| waiter.join().unwrap()).iter().all(|&has_gone| has_gone));
        // A thread that is not woken sees at its own end that the signal has gone.
        assert!(began.elapsed() < LONG / 2, "a thread was not woken");
        assert!(matches!(selecting.recv_timeout(LONG), Err(crossbeam_channel::RecvTimeoutError::Disconnected)));
    });
}

#[test]
fn a_shorter_time_out_ends_a_wait_for_a_till() {
    assert!(!Till::after(Duration::from_secs(1000)).wait_for_go_timeout(Duration::from_millis(5)));
}

#[test]
fn a_round_keeps_its_earliest_deadline() {
    let (soon, late) = (Till::after(Duration::from_secs(1000)), Till::after(Duration::from_secs(2000)));
    let Kind::Till(at) = soon.0.kind else { unreachable!("its time can be expressed") };
    let mut wait_set = WaitSet::default();
    for order in [[&soon, &late], [&late, &soon]] {
        wait_set.clear(None);
        order.iter().for_each(|till| wait_set.watch(till));
        assert_eq!(wait_set.deadline, Some(at));
    }
}

#[test]
fn a_reachable_part_can_end_a_composites_wait() {
    let (kept, lonely) = (Signal::new("kept"), Signal::new("lonely"));
    let (either, both) = (&kept | &lonely, &kept & &lonely);
    let (alone, pair) =
        (Signal::any([Signal::new("a"), Signal::new("b")]), Signal::all([Signal::new("c"), kept.clone()]));
    let is_left = |signal: &Signal| signal.0.is_left_to(1, 1);
    assert!(!is_left(&either) && !is_left(&both), "both parts have handles of their own");
    assert!(is_left(&alone) && is_left(&pair), "no thread can reach what is missing");
    // Now `either` has the only handle to this part.
    drop((lonely, both));
    assert!(!is_left(&either), "`kept` can still go");
    let gone = Signal::new("gone");
    assert!(is_left(&gone));
    gone.go();
    assert!(!is_left(&gone), "no thread waits for it any more");
}

#[test]
fn a_target_may_cancel_itself() {
    let (signal, slot) = (Signal::new("s"), Arc::new(std::sync::OnceLock::<OnGo>::new()));
    let (own, outcome) = (slot.clone(), Arc::new(AtomicUsize::new(0)));
    let cancelled = outcome.clone();
    let target = signal.on_go(move || {
        let cancelled_itself = own.get().unwrap().cancel();
        cancelled.store(1 + usize::from(cancelled_itself), Ordering::SeqCst);
    });
    assert!(slot.set(target).is_ok());
    signal.go();
    assert_eq!(outcome.load(Ordering::SeqCst), 1, "it has run, so it was not cancelled");
}

#[test]
fn a_later_timeout_does_not_delay_a_till() {
    let begin = Instant::now();
    assert!(Till::after(Duration::from_millis(5)).wait_for_go_timeout(Duration::from_secs(60)));
    assert!(begin.elapsed() < Duration::from_secs(60));
}

/// Parts go before the target is in their lists: the first one of both; one of either, when it is in that one's.
#[test]
fn a_part_that_goes_while_a_target_is_attached_counts() {
    let count = |runs: &Arc<AtomicUsize>| {
        let runs = runs.clone();
        move || _ = runs.fetch_add(1, Ordering::SeqCst)
    };
    let (a, b, runs) = (Signal::new("a"), Signal::new("b"), Arc::new(AtomicUsize::new(0)));
    let goes = a.clone();
    meanwhile::plan([Box::new(move || assert!(goes.go()))]);
    (&a & &b).on_go(count(&runs));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    b.go();
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let goes = a.clone();
    meanwhile::plan([Box::new(|| ()), Box::new(move || assert!(goes.go()))]);
    (&a | &b).on_go(count(&runs));
    assert_eq!((runs.load(Ordering::SeqCst), b.target_count()), (2, 0), "it is left in no list");
}

#[test]
fn the_algebra_is_simplified_when_it_is_built() {
    let a = Signal::new("a");
    let same = |left: &Signal, right: &Signal| Arc::ptr_eq(&left.0, &right.0);
    assert!(same(&(&a | Signal::never()), &a));
    assert!(same(&(&a & Signal::gone()), &a));
    assert!(same(&(&a | &a), &a));
    assert!(same(&(&a & &a), &a));
    assert!((&a | Signal::gone()).is_go());
    assert!(same(&(&a & Signal::never()), &Signal::never()));
    assert!(same(&Signal::any([] as [&Signal; 0]), &Signal::never()));
    assert!(same(&Signal::all([] as [&Signal; 0]), &Signal::gone()));
    let b = Signal::new("b");
    assert_eq!(((&a | &b) | Signal::new("c")).name(), "(a | b | c)");
}

#[test]
fn a_lasting_name_has_no_running_number() {
    let owner = Arc::from("pages");
    let (till, mark) = (Till::after(Duration::from_secs(60)), Signal::mark(&owner, 12));
    let lasting = |signal: &Signal| signal.0.lasting_name().map_or_else(|| signal.name(), |name| name.to_string());
    assert_eq!((mark.name(), lasting(&mark)), ("pages at 12".into(), "pages at *".into()));
    assert_eq!(lasting(&till), "till");
    let of = Signal::of(&Arc::from("main/x"), "please_stop");
    assert_eq!(lasting(&(&*till | &of)), "(till | main/x please_stop)");
    assert_eq!(lasting(&Signal::new("jobs 7")), "jobs 7");
    let nested = Signal::new("a") & (Signal::new("b") | mark);
    assert_eq!(lasting(&nested), "(a & (b | pages at *))");
}
