//! `Queue::extend` adds values as they are made: a slow source keeps none back, a bound holds the source up,
//! and a panic of the source loses nothing.

use crate::support::{DEADLINE, until_waiting, within_deadline};
use selvedge::{Progress, Queue, spawn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn a_source_that_promises_nothing_keeps_no_value_back() {
    let (queue, popped) = (Queue::unbounded("lines"), Progress::new("popped"));
    let (from, tells) = (queue.clone(), popped.clone());
    let consumer = thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(line) = from.pop() {
            seen.push(line);
            tells.advance(1);
        }
        seen
    });
    let mut made = 0;
    // Each value is made once the one before has been popped.
    let values = std::iter::from_fn(|| {
        let before_was_popped = popped.wait_for_timeout(made, DEADLINE);
        made += 1;
        (before_was_popped && made <= 100).then_some(made)
    });
    queue.extend(values).unwrap();
    queue.close();
    assert_eq!(consumer.join().unwrap(), (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_slow_source_keeps_no_value_back() {
    let queue = Queue::unbounded("pages");
    let values = (0..20).inspect(|&made| {
        assert_eq!(queue.len(), made);
        thread::sleep(Duration::from_millis(1));
    });
    queue.extend(values).unwrap();
    assert_eq!(queue.pop_all(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_bound_holds_the_source_up() {
    let (queue, made) = (Queue::bounded("small", 1), Arc::new(AtomicUsize::new(0)));
    let adder = {
        let (queue, made) = (queue.clone(), made.clone());
        spawn("adder", move |_| {
            let values = (0..5_000).inspect(|_| {
                made.fetch_add(1, Ordering::SeqCst);
            });
            queue.extend(values)
        })
    };
    until_waiting("room in queue", std::slice::from_ref(&adder));
    // One is in the queue, and one in the hand of the adder.
    assert_eq!((made.load(Ordering::SeqCst), queue.len()), (2, 1));
    queue.close();
    let outcome = within_deadline(|| adder.join().unwrap());
    assert_eq!((outcome.unwrap_err().into_inner(), made.load(Ordering::SeqCst)), (vec![1], 2));
}

#[test]
fn a_panic_of_the_source_loses_no_value() {
    let queue = Queue::unbounded("a source that panics");
    let values = (0..1_000).inspect(|&n| assert!(n < 900, "expected"));
    catch_unwind(AssertUnwindSafe(|| drop(queue.extend(values)))).unwrap_err();
    assert_eq!(queue.pop_all(), (0..900).collect::<Vec<_>>());
}
