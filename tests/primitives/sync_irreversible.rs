//! Progress, Sequencer and Promise: an event stays, and no thread holds up the others.

use crate::support::DEADLINE;
use selvedge::{GaveUp, Progress, Promise, PromiseError, Sequencer, Signal, Till};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

#[test]
fn progress_goes_forward_only() {
    let progress = Progress::new("steps");
    assert_eq!(progress.advance(3), 3);
    assert!(!progress.advance_to(2) && !progress.advance_to(3));
    assert_eq!(progress.get(), 3);
    assert!(progress.advance_to(10));
    assert_eq!(progress.advance(0), 10);
    assert_eq!(progress.advance(u64::MAX), u64::MAX, "it stops at the end and does not begin again");
    assert_eq!(progress.advance(1), u64::MAX);
    assert!(progress.at(u64::MAX).is_go());
    progress.wait_for(u64::MAX);
    assert_eq!(format!("{:?}", Progress::new("steps")), "Progress(steps, at 0)");
}

#[test]
fn the_last_numbers_are_one() {
    /// One less than the number from which on all are the largest.
    const LAST: u64 = u64::MAX - (1 << 56);
    let progress = Progress::new("steps");
    assert!(progress.advance_to(LAST) && progress.get() == LAST);
    let beyond = progress.at(u64::MAX - 7);
    assert!(!beyond.is_go());
    assert_eq!(progress.advance(1), u64::MAX);
    assert!(beyond.is_go());
    for steps in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        assert_eq!((progress.advance(steps), progress.get()), (u64::MAX, u64::MAX), "{steps}");
    }
    assert!(!progress.advance_to(u64::MAX) && !progress.advance_to(LAST + 1));
    let progress = Progress::new("steps");
    assert_eq!(progress.advance(1 << 32), 1 << 32);
    assert!(progress.advance_to(LAST + 5) && progress.get() == u64::MAX);
}

#[test]
fn a_large_step_lets_the_marks_go() {
    let progress = Progress::new("bytes");
    let marks = [1, 1 << 32, (1 << 32) + 1].map(|number| progress.at(number));
    progress.advance(1 << 32);
    assert_eq!(marks.map(|mark| mark.is_go()), [true, true, false]);
}

#[test]
fn the_largest_number_can_be_awaited() {
    let progress = Progress::new("all");
    let end = progress.at(u64::MAX);
    thread::scope(|s| {
        s.spawn(|| progress.advance_to(u64::MAX));
        assert!(end.wait_for_go_timeout(DEADLINE));
    });
}

#[test]
fn waiters_wake_at_their_number() {
    let progress = Progress::new("steps");
    thread::scope(|s| {
        let (tell, hear) = mpsc::channel();
        for number in 1..=20 {
            let (tell, progress) = (tell.clone(), &progress);
            s.spawn(move || {
                progress.wait_for(number);
                assert!(progress.get() >= number);
                tell.send(number).unwrap();
            });
        }
        for number in 1..=20 {
            assert_eq!(progress.advance(1), number);
            assert_eq!(hear.recv_timeout(DEADLINE), Ok(number));
        }
    });
}

#[test]
fn the_number_wins_over_the_limit() {
    let progress = Progress::new("steps");
    assert!(!progress.wait_for_timeout(1, Duration::from_millis(2)));
    assert!(!progress.wait_for_till(1, &Till::after(Duration::from_millis(2))));
    assert!(!progress.wait_for_till(1, &Signal::gone()));
    progress.advance(1);
    assert!(progress.wait_for_till(1, &Signal::gone()));
    assert!(progress.wait_for_timeout(1, Duration::ZERO));
}

#[test]
fn a_mark_is_a_signal_like_any_other() {
    let progress = Progress::new("rows");
    let runs = Arc::new(AtomicUsize::new(0));
    let counts = runs.clone();
    // The handle is dropped, the target stays.
    progress.at(5).on_go(move || {
        counts.fetch_add(1, Ordering::SeqCst);
    });
    let stop = Signal::new("stop");
    let either = progress.at(7) | &stop;
    let receiver = progress.at(9).receiver().clone();
    let nine = progress.at(9);
    // Enough signals without a handle, so that the list is cleaned.
    (100..1000).for_each(|number| drop(progress.at(number)));
    progress.advance(6);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert!(!either.is_go());
    progress.advance(1);
    assert!(either.is_go() && !stop.is_go());
    assert!(!nine.is_go());
    progress.advance_to(20);
    assert!(nine.is_go() && receiver.recv_timeout(DEADLINE).is_err());
    assert_eq!(nine.name(), "rows at 9");
}

#[test]
fn a_manually_gone_mark_is_not_reached() {
    let progress = Progress::new("rows");
    assert!(progress.at(5).go());
    assert!(!progress.at(5).is_go(), "a new mark, since 5 is not reached");
    let mark = progress.at(5);
    thread::scope(|s| {
        s.spawn(|| mark.go());
        assert!(!progress.wait_for_timeout(5, Duration::from_millis(20)));
    });
}

#[test]
fn all_who_advance_are_counted() {
    let progress = Progress::new("sum");
    let half = progress.at(20_000);
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..10_000).for_each(|_| assert!(progress.advance(1) > 0)));
        }
        assert!(half.wait_for_go_timeout(DEADLINE));
        assert!(progress.wait_for_timeout(40_000, DEADLINE));
    });
    assert_eq!(progress.get(), 40_000);
}

#[test]
fn turns_come_in_the_order_of_tickets() {
    let sequencer = Sequencer::new("frames");
    let tickets: Vec<_> = (0..50).map(|_| sequencer.take_ticket()).collect();
    let order = Mutex::new(Vec::new());
    thread::scope(|s| {
        for ticket in tickets.into_iter().rev() {
            let order = &order;
            s.spawn(move || {
                let number = ticket.number();
                let turn = ticket.wait_turn_timeout(DEADLINE).unwrap();
                assert_eq!(turn.number(), number);
                order.lock().unwrap().push(number);
            });
        }
    });
    assert_eq!(order.into_inner().unwrap(), (0..50).collect::<Vec<_>>());
    assert_eq!(format!("{sequencer:?}"), "Sequencer(frames, serving #50, next ticket #50)");
}

#[test]
fn dropped_tickets_hold_up_nobody() {
    let sequencer = Sequencer::new("frames");
    let mut tickets: Vec<_> = (0..6).map(|_| sequencer.take_ticket()).collect();
    let last = tickets.pop().unwrap();
    thread::scope(|s| {
        let waiting = s.spawn(|| last.wait_turn_timeout(DEADLINE).map(|turn| turn.number()));
        // From the middle, two in a row; from the end; from the front, and so all.
        for place in [1, 1, 2, 0, 0] {
            drop(tickets.remove(place));
        }
        assert_eq!(waiting.join().unwrap().unwrap(), 5);
    });
    assert_eq!(sequencer.serving(), 6);
}

#[test]
fn a_panic_in_a_turn_frees_it() {
    let sequencer = Sequencer::new("frames");
    let (first, second) = (sequencer.take_ticket(), sequencer.take_ticket());
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _turn = first.wait_turn();
        panic!("in its turn");
    }));
    assert!(second.wait_turn_timeout(DEADLINE).is_ok());
}

#[test]
fn a_timed_out_ticket_keeps_its_place() {
    let sequencer = Sequencer::new("frames");
    let (first, second, third) = (sequencer.take_ticket(), sequencer.take_ticket(), sequencer.take_ticket());
    let error = second.wait_turn_timeout(Duration::from_millis(2)).unwrap_err();
    assert_eq!(error.reason, GaveUp::TimedOut);
    let error = error.ticket.wait_turn_till(&Till::after(Duration::from_millis(2))).unwrap_err();
    assert_eq!((error.reason, error.to_string().as_str()), (GaveUp::Stopped, "stopped while waiting for turn #1"));
    let second = error.ticket;
    drop(first.wait_turn());
    assert!(third.wait_turn_timeout(Duration::from_millis(2)).is_err(), "and is dropped by that");
    let error = second.wait_turn_till(&Signal::gone()).unwrap_err();
    assert_eq!(error.reason, GaveUp::Stopped, "a signal that has gone wins over a turn that has come");
    drop(error.ticket.wait_turn());
    assert_eq!(sequencer.serving(), 3);
}

#[test]
fn a_turn_from_stopped_tickets_is_refused() {
    for _ in 0..300 {
        let (sequencer, stop) = (Sequencer::new("lines"), Signal::new("stop"));
        let tickets: Vec<_> = (0..3).map(|_| sequencer.take_ticket()).collect();
        thread::scope(|s| {
            let waits: Vec<_> = tickets
                .into_iter()
                .enumerate()
                .map(|(place, ticket)| {
                    let stop = &stop;
                    s.spawn(move || {
                        if place == 0 {
                            // Works on something else when the stop comes, and drops its ticket.
                            stop.wait_for_go();
                            return false;
                        }
                        ticket.wait_turn_till(stop).is_ok()
                    })
                })
                .collect();
            stop.go();
            assert!(waits.into_iter().all(|wait| !wait.join().unwrap()), "out of order");
        });
    }
}

#[test]
fn a_promise_has_one_claimant_and_one_value() {
    for _ in 0..200 {
        let promise: Promise<usize> = Promise::new("answer");
        let values: Vec<_> = thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|me| {
                    let promise = &promise;
                    s.spawn(move || {
                        if let Some(claim) = promise.claim() {
                            claim.fulfil(me);
                        }
                        *promise.wait_timeout(DEADLINE).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(values.iter().all(|value| *value == values[0]));
        assert!(promise.claim().is_none() && promise.fulfilled().is_go() && !promise.abandoned().is_go());
    }
}

#[test]
fn an_abandoned_promise_tells_all_waiters() {
    let promise: Promise<u32> = Promise::new("answer");
    let claim = promise.claim().unwrap();
    assert_eq!(format!("{promise:?} {claim:?}"), "Promise(answer, claimed) Claim(answer)");
    thread::scope(|s| {
        let waits: Vec<_> = (0..10).map(|_| s.spawn(|| promise.wait().err())).collect();
        s.spawn(move || {
            let _ = catch_unwind(AssertUnwindSafe(move || {
                let _claim = claim;
                panic!("no answer");
            }));
        });
        assert!(waits.into_iter().all(|wait| wait.join().unwrap() == Some(PromiseError::Abandoned)));
    });
    assert!(promise.abandoned().is_go() && !promise.fulfilled().is_go() && promise.get().is_none());
    assert!(promise.claim().is_none(), "forever");
}

#[test]
fn a_promise_wait_says_why_it_ended() {
    let promise: Promise<u32> = Promise::new("answer");
    assert_eq!(promise.wait_timeout(Duration::from_millis(2)), Err(PromiseError::TimedOut));
    assert_eq!(promise.wait_till(&Till::after(Duration::from_millis(2))), Err(PromiseError::Stopped));
    let claim = promise.claim().unwrap();
    thread::scope(|s| {
        s.spawn(move || claim.fulfil(7));
        assert_eq!(promise.wait(), Ok(&7));
    });
    assert_eq!(promise.wait_till(&Signal::gone()), Ok(&7), "a value that is there wins");
}

#[test]
fn the_last_promise_handle_takes_its_value() {
    let empty: Promise<u32> = Promise::new("empty");
    let empty = empty.take().unwrap_err();
    let claim = empty.claim().unwrap();
    let claimed = empty.take().unwrap_err();
    claim.fulfil(7);
    let other = claimed.clone();
    let shared = claimed.take().unwrap_err();
    assert_eq!((shared.get(), other.get()), (Some(&7), Some(&7)), "another handle may look at it");
    drop(other);
    assert_eq!(shared.take().ok(), Some(7));
    let abandoned: Promise<u32> = Promise::new("abandoned");
    drop(abandoned.claim());
    assert!(abandoned.take().is_err());
}

#[test]
fn a_fulfilled_promise_wakes_its_waiters() {
    // The claimant must have let go of the value before the waiting thread wakes up.
    for round in 0..2000 {
        let promise = Promise::new("answer");
        let claim = promise.claim().unwrap();
        let claimant = thread::spawn(move || claim.fulfil(vec![round]));
        promise.wait().unwrap();
        assert_eq!(promise.take().unwrap(), [round]);
        claimant.join().unwrap();
    }
}

/// Also a target, which runs before `fulfil` returns.
#[test]
fn who_is_told_of_the_value_can_take_it() {
    let promise = Promise::new("answer");
    let (claim, fulfilled) = (promise.claim().unwrap(), promise.fulfilled().clone());
    let (tell, hear) = mpsc::channel();
    fulfilled.on_go(move || tell.send(promise.take().ok()).unwrap());
    claim.fulfil(7);
    assert_eq!(hear.try_recv(), Ok(Some(7)));
}
