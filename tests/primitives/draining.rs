//! The end of a queue: draining after a stop, the close by the last producer or consumer, and
//! values that are left.

use crate::support::{until_waiting, within_deadline};
use selvedge::{AddError, Queue, Signal, left_in_queues, spawn};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How many values were dropped in queues of this name.
fn left_in(name: &str) -> u64 {
    left_in_queues().iter().find(|left| left.name() == name).map_or(0, |left| left.values())
}

#[test]
fn draining_hands_out_everything_after_the_stop() {
    let queue = Queue::bounded("drained", 10);
    let from = queue.clone();
    let consumer = spawn("consumer", move |please_stop| {
        please_stop.wait_for_go();
        std::iter::from_fn(|| from.pop_draining(please_stop)).collect::<Vec<_>>()
    });
    let adder = queue.adder();
    queue.extend(0..10).unwrap();
    consumer.stop();
    // These come after the stop, and through a full queue.
    within_deadline(move || {
        adder.extend(10..1_000).unwrap();
        drop(adder);
        assert_eq!(consumer.join().unwrap(), (0..1_000).collect::<Vec<_>>());
    });
    assert_eq!(left_in("drained"), 0);
}

#[test]
fn draining_before_a_stop_waits_as_pop_does() {
    let queue = Queue::unbounded("not stopped");
    let stop = Signal::new("stop");
    let short = Duration::from_millis(1);
    let (from, same_stop) = (queue.clone(), stop.clone());
    let popper = spawn("popper", move |_| from.pop_draining_timeout(&same_stop, short));
    until_waiting("queue", std::slice::from_ref(&popper));
    queue.add(1).unwrap();
    assert_eq!(within_deadline(|| popper.join().unwrap()), Some(1));
    assert!(!queue.closed().is_go(), "the patience counts only after the stop");
    queue.close();
    assert_eq!(queue.pop_draining(&stop), None);
}

#[test]
fn draining_closes_a_forgotten_queue_after_its_patience() {
    let queue = Queue::unbounded("forgotten");
    queue.extend([1, 2]).unwrap();
    let patience = Duration::from_millis(20);
    let begin = Instant::now();
    let all: Vec<_> = std::iter::from_fn(|| queue.pop_draining_timeout(&Signal::gone(), patience)).collect();
    assert_eq!(all, [1, 2]);
    assert!(begin.elapsed() >= patience);
    assert_eq!(queue.add(3), Err(AddError::Closed(3)), "a producer that comes later gets its value back");
}

#[test]
fn draining_outlasts_its_patience_while_an_adder_lives() {
    let queue = Queue::unbounded("slow producer");
    let adder = queue.adder();
    let (from, patience) = (queue.clone(), Duration::from_millis(1));
    let consumer = spawn("consumer", move |please_stop| {
        std::iter::from_fn(|| from.pop_draining_timeout(please_stop, patience)).collect::<Vec<_>>()
    });
    consumer.stop();
    until_waiting("queue", std::slice::from_ref(&consumer));
    // Much longer than the patience.
    thread::sleep(Duration::from_millis(100));
    assert!(!queue.closed().is_go());
    adder.add("late").unwrap();
    drop(adder);
    assert_eq!(within_deadline(|| consumer.join().unwrap()), ["late"]);
}

#[test]
fn several_consumers_drain_one_queue_to_the_end() {
    within_deadline(|| {
        let queue = Queue::bounded("shared", 8);
        let adders: Vec<_> = (0..3).map(|_| queue.adder()).collect();
        let consumers: Vec<_> = (0..3)
            .map(|number| {
                let from = queue.clone();
                spawn(format!("consumer-{number}"), move |please_stop| {
                    std::iter::from_fn(|| from.pop_draining(please_stop)).count()
                })
            })
            .collect();
        let producers: Vec<_> = adders
            .into_iter()
            .map(|adder| spawn("producer", move |_| (0..1_000).for_each(|value| adder.add(value).unwrap())))
            .collect();
        consumers.iter().for_each(|consumer| consumer.stop());
        let handled: usize = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
        assert_eq!(handled, 3_000);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

#[test]
fn the_last_adder_closes_and_no_other() {
    let queue: Queue<u8> = Queue::unbounded("adders");
    let first = queue.adder();
    let second = first.clone();
    drop(first);
    assert!(!queue.closed().is_go());
    let panicking = spawn("producer", move |_| {
        second.add(1).unwrap();
        panic!("the last adder goes down with this thread");
    });
    assert!(within_deadline(|| panicking.join()).is_err());
    assert!(queue.closed().is_go());
    assert_eq!(queue.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(queue.adder().add(2), Err(AddError::Closed(2)));
}

#[test]
fn values_dropped_with_their_queue_are_counted() {
    let queue = Queue::unbounded("dropped full");
    let other_handle = queue.clone();
    queue.extend(0..5).unwrap();
    assert_eq!(queue.pop(), Some(0));
    drop(queue);
    assert_eq!(left_in("dropped full"), 0, "there is a handle yet");
    drop(other_handle);
    assert_eq!(left_in("dropped full"), 4);
    let again = Queue::unbounded("dropped full");
    again.add(9).unwrap();
    drop(again);
    let left = left_in_queues();
    let left = left.iter().find(|left| left.name() == "dropped full").unwrap();
    assert_eq!((left.values(), left.queues()), (5, 2));
}

#[test]
fn permitted_or_taken_values_are_not_counted() {
    let ticks = Queue::unbounded("ticks").may_be_left();
    ticks.extend(0..5).unwrap();
    drop(ticks);
    let taken = Queue::unbounded("taken");
    taken.extend(0..5).unwrap();
    assert_eq!(taken.close_and_take(), [0, 1, 2, 3, 4]);
    assert_eq!(taken.add(5), Err(AddError::Closed(5)), "nothing comes after it");
    drop(taken);
    assert_eq!((left_in("ticks"), left_in("taken")), (0, 0));
}

#[test]
fn a_queue_is_closed_before_what_is_left_is_taken() {
    let queue = Queue::unbounded("taken");
    queue.extend([1, 2]).unwrap();
    let ((tell, hear), at_close) = (mpsc::channel(), queue.clone());
    queue.closed().on_go(move || tell.send(at_close.len()).unwrap());
    assert_eq!(queue.close_and_take(), [1, 2]);
    assert_eq!(hear.try_recv(), Ok(2));
}

#[test]
fn concurrent_drops_count_left_values_once() {
    const ROUNDS: u64 = 500;
    for _ in 0..ROUNDS {
        let queue = Queue::unbounded("dropped by many");
        queue.add(()).unwrap();
        let start = Arc::new(std::sync::Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (handle, start) = (queue.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    drop(handle);
                })
            })
            .collect();
        drop(queue);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    assert_eq!(left_in("dropped by many"), ROUNDS);
}

#[test]
fn a_queue_may_borrow_later_variables() {
    let queue = Queue::unbounded("borrows");
    let text = String::from("declared later, so dropped earlier");
    queue.add(text.as_str()).unwrap();
    assert_eq!(queue.pop(), Some(text.as_str()));
}

#[test]
fn the_last_popper_closes_and_no_other() {
    let queue = Queue::unbounded("jobs");
    let first = queue.popper();
    let second = first.clone();
    drop(first);
    queue.add(1).expect("one popper is left");
    drop(second);
    assert!(queue.closed().is_go());
    assert_eq!(queue.pop_all(), [1]);
}
