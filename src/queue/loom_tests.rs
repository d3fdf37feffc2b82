//! Loom models of a queue's wake-ups: each waiting thread is woken, for each value that a load may
//! see. See `model/loom_tests.rs`.

use super::{AddError, PopError, Queue};
use crate::model::loom_tests::check;
use crate::signal::Signal;
use loom::thread;

/// A popper that was woken finds its value in `head`, and so has no need of the tail's lock, while
/// an adder adds one more for the popper that still sleeps.
#[test]
fn loom_queue_a_woken_popper_calls_the_next() {
    check(2, || {
        let queue = Queue::unbounded("q");
        let poppers = [queue.clone(), queue.clone()].map(|queue| thread::spawn(move || queue.pop().unwrap()));
        queue.extend([1, 2]).unwrap();
        let first = queue.try_pop();
        queue.add(3).unwrap();
        let popped: u32 = poppers.map(|popper| popper.join().unwrap()).iter().sum();
        let rest: u32 = queue.pop_all().iter().sum();
        assert_eq!(popped + first.unwrap_or(0) + rest, 6);
    });
}

#[test]
fn loom_queue_a_woken_adder_calls_the_next() {
    check(2, || {
        let queue = Queue::bounded("q", 1);
        queue.add(0).unwrap();
        let adders = [queue.clone(), queue.clone()].map(|queue| thread::spawn(move || queue.add(1).unwrap()));
        let popped = [queue.pop(), queue.pop()];
        adders.into_iter().for_each(|adder| adder.join().unwrap());
        assert_eq!((popped, queue.try_pop(), queue.try_pop()), ([Some(0), Some(1)], Some(1), None));
    });
}

#[test]
fn loom_queue_close_wakes_every_popper() {
    check(2, || {
        let queue = Queue::unbounded("q");
        let poppers = [queue.clone(), queue.clone()].map(|queue| thread::spawn(move || queue.pop()));
        queue.extend([1, 2]).unwrap();
        let first = queue.try_pop();
        queue.close();
        let popped = poppers.map(|popper| popper.join().unwrap());
        let sum: u32 = popped.into_iter().chain([first]).flatten().sum();
        assert_eq!((sum, queue.try_pop()), (3, None));
    });
}

#[test]
fn loom_queue_close_wakes_every_adder() {
    check(2, || {
        let queue = Queue::bounded("q", 1);
        queue.add(0).unwrap();
        let adders = [queue.clone(), queue.clone()].map(|queue| thread::spawn(move || queue.add(1)));
        let popped = queue.try_pop();
        queue.close();
        let added = adders.map(|adder| adder.join().unwrap());
        assert!(added.iter().all(|added| matches!(added, Ok(()) | Err(AddError::Closed(1)))));
        assert_eq!((popped, added.iter().filter(|added| added.is_ok()).count()), (Some(0), queue.len()));
    });
}

#[test]
fn loom_queue_a_giving_up_popper_calls_the_next() {
    check(2, || {
        let (queue, stop) = (Queue::unbounded("q"), Signal::new("stop"));
        let (theirs, till) = (queue.clone(), stop.clone());
        let gives_up = thread::spawn(move || theirs.pop_till(&till));
        let theirs = queue.clone();
        let stays = thread::spawn(move || theirs.pop().unwrap());
        queue.add(1).unwrap();
        stop.go();
        queue.add(2).unwrap();
        stays.join().unwrap();
        assert!(matches!(gives_up.join().unwrap(), Ok(1 | 2) | Err(PopError::Stopped)));
    });
}
