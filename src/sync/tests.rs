//! What can only be seen from inside: when a permit is put back and when it is handed over, and
//! what is left behind.

use super::limit::Limit;
use super::permits::Permits;
use super::{GaveUp, Monitor, Progress, Sequencer};
use crate::model::meanwhile;
use crate::signal::Signal;
use crate::wait::publish;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const DEADLINE: Duration = Duration::from_secs(100);

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
    let deadline = Instant::now() + DEADLINE;
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

/// Between its last try and the look under the lock.
#[test]
fn a_thread_that_finds_a_permit_under_the_lock_leaves_the_line() {
    let permits = Arc::new(Permits::new(0));
    let theirs = permits.clone();
    meanwhile::plan([Box::new(move || theirs.release())]);
    let outcome = permits.acquire_slow(Limit::NONE, |_| publish("permit", Arc::from("test")));
    assert_eq!((outcome, permits.joined(), permits.line_length()), (Ok(()), 1, 0));
    assert!(!permits.is_awaited());
}

/// Between the end of its wait and its look at the line.
#[test]
fn a_permit_that_comes_while_the_wait_is_given_up_is_taken() {
    for is_handed_over in [false, true] {
        let (permits, stop) = (Arc::new(Permits::new(0)), Signal::new("stop"));
        let theirs = permits.clone();
        let put_back = move || {
            if is_handed_over {
                theirs.be_fair_now();
            }
            theirs.release_into_line();
        };
        // Nothing happens before it joins the line.
        meanwhile::plan([Box::new(|| ()), Box::new(put_back)]);
        let outcome = permits.acquire_slow(Limit::till(&stop), |_| {
            stop.go();
            publish("permit", Arc::from("test"))
        });
        let left = (permits.available(), permits.line_length());
        assert_eq!((outcome, left), (Ok(()), (0, 0)), "handed over: {is_handed_over}");
    }
}

#[test]
fn waiters_get_their_share_of_the_permits_that_are_added() {
    let permits = Arc::new(Permits::new(0));
    let waiters = [(); 3].map(|()| {
        let theirs = permits.clone();
        thread::spawn(move || theirs.acquire_slow(Limit::NONE, |_| publish("permit", Arc::from("test"))))
    });
    let deadline = Instant::now() + DEADLINE;
    while permits.line_length() < 3 {
        assert!(Instant::now() < deadline, "they do not join the line");
        thread::yield_now();
    }
    permits.release_many(5);
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Ok(())));
    assert_eq!(permits.available(), 2);
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
        let deadline = Instant::now() + DEADLINE;
        while permits.line_length() <= number {
            assert!(Instant::now() < deadline, "it does not join the line");
            thread::yield_now();
        }
        waiter
    });
    for number in 0..3 {
        let due = permits.be_fair_now();
        permits.release();
        assert_eq!(order.recv_timeout(DEADLINE), Ok(number));
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
fn a_timeout_is_counted_from_the_call() {
    let (timeout, before) = (Duration::from_secs(3600), Instant::now());
    let deadline = Limit::timeout(timeout).deadline().unwrap();
    assert!((before + timeout..=Instant::now() + timeout).contains(&deadline));
}

#[test]
fn a_change_counts_at_one_wait_only() {
    let monitor = Monitor::new("m", 0);
    let mut guard = monitor.enter();
    *guard += 1;
    let counts = [(); 3].map(|()| {
        assert!(!guard.wait_timeout(Duration::ZERO));
        guard.changes()
    });
    assert_eq!(counts, [1; 3]);
}

/// Between the look at the number and the note that a mark is there.
#[test]
fn a_number_that_is_reached_meanwhile_lets_its_mark_go() {
    let progress = Progress::new("p");
    let theirs = progress.clone();
    meanwhile::plan([Box::new(move || assert_eq!(theirs.advance(1), 1))]);
    assert!(progress.at(1).is_go());
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

/// It may have its turn before the thread that has called it goes on.
#[test]
fn the_thread_that_is_called_stays_the_holder() {
    let sequencer = Sequencer::new("q");
    let (first, second) = (sequencer.take_ticket().wait_turn(), sequencer.take_ticket());
    let ((tell, hear), (go_on, may_end)) = (mpsc::channel(), mpsc::channel());
    let theirs = sequencer.clone();
    let next = thread::spawn(move || {
        let _turn = second.wait_turn();
        tell.send(()).unwrap();
        may_end.recv().unwrap();
        theirs.is_held_by_me()
    });
    meanwhile::plan([Box::new(move || hear.recv_timeout(DEADLINE).unwrap())]);
    drop(first);
    go_on.send(()).unwrap();
    assert!(next.join().unwrap());
}
