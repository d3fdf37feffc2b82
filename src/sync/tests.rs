//! What can only be seen from inside: when a permit is put back and when it is handed over, and
//! what is left behind.

use super::limit::Limit;
use super::permits::Permits;
use super::{GaveUp, Progress, Sequencer};
use crate::signal::Signal;
use crate::wait::publish;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn permits_are_handed_over_now_and_then() {
    let permits = Arc::new(Permits::new(0));
    let has_it = Arc::new(AtomicBool::new(false));
    let waiter = thread::spawn({
        let (permits, has_it) = (permits.clone(), has_it.clone());
        move || {
            let outcome = permits.acquire_slow(Limit::NONE, |_| publish("permit", Arc::from("test")));
            has_it.store(true, Ordering::SeqCst);
            outcome
        }
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while !permits.is_awaited() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    // From now on permits are due to be handed over: this one never lies where a greedy thread
    // could take it.
    permits.be_fair_now();
    permits.release();
    assert!(!permits.try_acquire() && permits.available() == 0);
    assert_eq!(waiter.join().unwrap(), Ok(()));
    assert!(has_it.load(Ordering::SeqCst));

    // The next is not due yet: it is put back, and any thread may take it.
    permits.release();
    assert!(permits.try_acquire());
}

#[test]
fn a_permit_that_comes_while_the_wait_is_published_is_taken() {
    let permits = Permits::new(0);
    let called = Instant::now();
    let outcome = permits.acquire_slow(Limit::NONE, |since| {
        assert!(called <= since && since <= Instant::now());
        // It comes before the thread joins the line.
        permits.release();
        publish("permit", Arc::from("test"))
    });
    assert_eq!((outcome, permits.joined()), (Ok(()), 0));
}

/// A thread that has found others waiting may add its permit only after all of them have gone.
#[test]
fn permits_past_the_most_are_not_counted() {
    let permits = Permits::new(usize::MAX);
    let most = permits.available();
    let ways: [fn(&Permits); 3] =
        [Permits::release, Permits::release_into_line, |permits| permits.release_many(usize::MAX)];
    for add in ways {
        add(&permits);
        assert_eq!(permits.available(), most);
    }
    assert!(permits.try_acquire());
    assert_eq!(permits.available(), most - 1);
}

#[test]
fn permits_are_handed_over_in_line_order() {
    let permits = Arc::new(Permits::new(0));
    let (sender, order) = mpsc::channel();
    let waiters = [0, 1, 2].map(|number| {
        let (theirs, sender) = (permits.clone(), sender.clone());
        let waiter = thread::spawn(move || {
            theirs.acquire_slow(Limit::NONE, |_| publish("permit", Arc::from("test"))).unwrap();
            sender.send(number).unwrap();
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while permits.line_length() <= number {
            assert!(Instant::now() < deadline, "it does not join the line");
            thread::yield_now();
        }
        waiter
    });
    for number in 0..3 {
        let due = permits.be_fair_now();
        permits.release();
        assert_eq!(order.recv_timeout(Duration::from_secs(20)), Ok(number));
        assert!(permits.fair_at() > Some(due), "the next hand-over is not due before some time has passed");
    }
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    assert_eq!((permits.line_length(), permits.available()), (0, 0));
}

#[test]
fn a_permit_stays_if_the_line_emptied() {
    let permits = Permits::new(0);
    permits.release_into_line();
    assert_eq!(permits.available(), 1);
}

#[test]
fn a_limit_is_what_can_end_a_wait() {
    let stop = Signal::new("stop");
    assert!(Limit::till(&stop).is_any() && Limit::timeout(Duration::from_secs(1)).is_any());
    let never = Signal::never();
    assert!(!Limit::NONE.is_any() && !Limit::till(&never).is_any());
    assert!(!Limit::timeout(Duration::MAX).is_any(), "the clock cannot express that deadline");
}

#[test]
fn a_given_up_wait_keeps_shared_marks() {
    let progress = Progress::new("p");
    let mark = progress.at(5);
    assert!(!progress.wait_for_timeout(5, Duration::from_millis(1)));
    progress.advance(5);
    assert!(mark.is_go());
}

#[test]
fn unused_marks_are_swept() {
    let progress = Progress::new("p");
    for number in 1..10_000 {
        drop(progress.at(number));
    }
    assert!(progress.mark_count() < 100, "{} marks are left", progress.mark_count());
}

/// Otherwise 2^24 of them would begin again at 0.
#[test]
fn additions_beyond_the_end_do_not_accumulate() {
    let progress = Progress::new("p");
    progress.advance_to(u64::MAX);
    for steps in [1, u64::from(u32::MAX), 1 << 40, u64::MAX] {
        assert_eq!((progress.advance(steps), progress.beyond_end()), (u64::MAX, 0), "{steps}");
    }
}

#[test]
fn a_given_up_turn_leaves_nothing() {
    let sequencer = Sequencer::new("q");
    let (_first, second) = (sequencer.take_ticket(), sequencer.take_ticket());
    let error = second.wait_turn_timeout(Duration::from_millis(1)).unwrap_err();
    assert_eq!((error.reason, sequencer.waiting_count()), (GaveUp::TimedOut, 0));
    let stop = Signal::new("stop");
    stop.go();
    let error = error.ticket.wait_turn_till(&stop).unwrap_err();
    assert_eq!((error.reason, sequencer.waiting_count()), (GaveUp::Stopped, 0));
}
