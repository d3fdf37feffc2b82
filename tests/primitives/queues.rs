//! Queues: no value lost, doubled or out of order; each waiting thread is woken; a value that was
//! not added comes back.

use crate::support::{DEADLINE, until_waiting, within_deadline};
use selvedge::{AddError, PopError, Queue, Signal, Till, spawn};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A wake-up takes microseconds. A thread that waits for room looks again by itself after 5 s. A
/// thread that moves later than this was not woken.
const PROMPT: Duration = Duration::from_secs(4);

/// Runs it until it was prompt. Threads on a busy machine may be late without a fault; a lost wake-up is late
/// each time.
fn until_prompt(mut round: impl FnMut() -> Duration) {
    let (begin, mut late) = (Instant::now(), Vec::new());
    loop {
        let took = round();
        if took < PROMPT {
            return;
        }
        late.push(took);
        assert!(begin.elapsed() < DEADLINE, "{late:?}");
    }
}

/// For tests with many values, which take long on a busy machine: less is enough after this time.
const LONG: Duration = Duration::from_secs(60);

/// Between two looks at an empty queue. First it spins, then it sleeps. A thread that yields beside busy threads
/// gets no processor for a whole time slice of theirs.
fn back_off(looks: u32) {
    if looks < 200 {
        std::hint::spin_loop();
    } else {
        thread::sleep(Duration::from_micros(20));
    }
}

/// A producer's number, and the number of the value among its own.
type Numbered = (usize, u32);
type Consumer = fn(&Queue<Numbered>, &mut Vec<Numbered>);

/// The ways to consume; each to the end, in the order of arrival.
const CONSUMERS: [Consumer; 4] = [
    |queue, seen| seen.extend(std::iter::from_fn(|| queue.pop())),
    |queue, seen| {
        let stop = Signal::new("stop");
        while let Ok(value) = queue.pop_till(&stop) {
            seen.push(value);
        }
    },
    |queue, seen| {
        for first in queue {
            seen.push(first);
            seen.extend(queue.pop_all());
        }
    },
    |queue, seen| {
        let mut looks = 0;
        while !(queue.closed().is_go() && queue.is_empty()) {
            if let Some(value) = queue.try_pop() {
                seen.push(value);
                looks = 0;
            } else {
                back_off(looks);
                looks += 1;
            }
        }
    },
];

/// Producers in turn add one by one, until a signal, and in batches.
fn produce(queue: &Queue<Numbered>, producer: usize, count: u32) {
    let values = (0..count).map(|n| (producer, n));
    let stop = Signal::new("stop");
    match producer % 3 {
        0 => values.for_each(|value| queue.add(value).unwrap()),
        1 => values.for_each(|value| queue.add_till(value, &stop).unwrap()),
        _ => queue.extend(values).unwrap(),
    }
}

fn many_to_many(queue: Queue<Numbered>, consumers: &[Consumer]) {
    const EACH: u32 = 5_000;
    const PRODUCERS: usize = 4;
    let consumers: Vec<_> = consumers
        .iter()
        .map(|&consume| {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut seen = Vec::new();
                consume(&queue, &mut seen);
                seen
            })
        })
        .collect();
    thread::scope(|s| {
        for producer in 0..PRODUCERS {
            let queue = &queue;
            s.spawn(move || produce(queue, producer, EACH));
        }
    });
    queue.close();
    let mut arrived = HashMap::<_, usize>::new();
    for consumer in consumers {
        let mut last = [None; PRODUCERS];
        for (producer, n) in consumer.join().unwrap() {
            assert!(last[producer] < Some(n), "{n} of {producer} after {:?}", last[producer]);
            last[producer] = Some(n);
            *arrived.entry((producer, n)).or_default() += 1;
        }
    }
    assert_eq!(arrived.len(), PRODUCERS * EACH as usize, "nothing is lost");
    assert!(arrived.values().all(|&times| times == 1), "nothing comes twice");
    assert!(queue.is_empty());
}

fn sizes() -> [Queue<Numbered>; 3] {
    [Queue::bounded("of one", 1), Queue::bounded("of seven", 7), Queue::unbounded("unbounded")]
}

#[test]
fn four_producers_and_four_consumers_keep_order() {
    for queue in sizes() {
        within_deadline(move || many_to_many(queue, &CONSUMERS));
    }
}

#[test]
fn each_kind_of_consumer_keeps_the_order() {
    for consumer in CONSUMERS {
        for queue in sizes() {
            within_deadline(move || many_to_many(queue, &[consumer]));
        }
    }
}

#[test]
fn a_closed_queue_refuses_values_and_empties() {
    let queue = Queue::bounded("closing", 10);
    queue.extend([1, 2]).unwrap();
    assert!(queue.close());
    assert!(!queue.close(), "only the first call closes");
    assert!(queue.closed().is_go());
    let stop = Signal::new("stop");
    assert_eq!(queue.add(3), Err(AddError::Closed(3)));
    assert_eq!(queue.try_add(4), Err(AddError::Closed(4)));
    assert_eq!(queue.add_till(5, &stop), Err(AddError::Closed(5)));
    let mut values = [6, 7].into_iter();
    assert_eq!(queue.extend(&mut values), Err(AddError::Closed(vec![6])));
    assert_eq!(values.next(), Some(7), "the rest is in the iterator");
    assert_eq!((queue.pop(), queue.pop_till(&stop)), (Some(1), Ok(2)));
    assert_eq!((queue.pop(), queue.try_pop()), (None, None));
    assert_eq!(queue.pop_till(&stop), Err(PopError::Closed));
    assert_eq!(queue.pop_all(), [0; 0]);
}

/// How long the threads took to end.
fn close_with_waiting_threads() -> Duration {
    let stop = Signal::new("stop");
    let empty = Queue::<usize>::unbounded("empty");
    let poppers: Vec<_> = (0..100)
        .map(|n| {
            let (queue, stop) = (empty.clone(), stop.clone());
            // Half of them wait for two things.
            spawn(format!("popper-{n}"), move |_| if n % 2 == 0 { queue.pop() } else { queue.pop_till(&stop).ok() })
        })
        .collect();
    let full = Queue::bounded("full", 1);
    full.add(usize::MAX).unwrap();
    let adders: Vec<_> = (0..100)
        .map(|n| {
            let (queue, stop) = (full.clone(), stop.clone());
            spawn(format!("adder-{n}"), move |_| if n % 2 == 0 { queue.add(n) } else { queue.add_till(n, &stop) })
        })
        .collect();
    until_waiting("queue", &poppers);
    until_waiting("room in queue", &adders);
    let begin = Instant::now();
    assert!(empty.close() && full.close());
    within_deadline(|| {
        for popper in poppers {
            assert_eq!(popper.join().unwrap(), None);
        }
        for (n, adder) in adders.into_iter().enumerate() {
            assert_eq!(adder.join().unwrap(), Err(AddError::Closed(n)));
        }
    });
    let took = begin.elapsed();
    assert_eq!(full.pop_all(), [usize::MAX]);
    took
}

#[test]
fn a_close_wakes_everyone_who_waits() {
    until_prompt(close_with_waiting_threads);
}

/// How long the adders took to end.
fn add_and_take_a_batch() -> Duration {
    let queue = Queue::<u32>::bounded("doors", 10);
    let poppers: Vec<_> = (0..10)
        .map(|n| {
            let queue = queue.clone();
            spawn(format!("popper-{n}"), move |_| queue.pop())
        })
        .collect();
    until_waiting("queue", &poppers);
    queue.extend(0..10).unwrap();
    let mut got: Vec<_> =
        within_deadline(|| poppers.into_iter().map(|popper| popper.join().unwrap().unwrap()).collect());
    got.sort_unstable();
    assert_eq!(got, (0..10).collect::<Vec<_>>());

    queue.extend(0..10).unwrap();
    let adders: Vec<_> = (10..20)
        .map(|n| {
            let queue = queue.clone();
            spawn(format!("adder-{n}"), move |_| queue.add(n))
        })
        .collect();
    until_waiting("room in queue", &adders);
    let begin = Instant::now();
    assert_eq!(queue.pop_all(), (0..10).collect::<Vec<_>>());
    within_deadline(|| adders.into_iter().for_each(|adder| adder.join().unwrap().unwrap()));
    let took = begin.elapsed();
    assert_eq!(queue.len(), 10);
    took
}

#[test]
fn a_batch_wakes_a_thread_per_value() {
    (0..20).for_each(|_| until_prompt(add_and_take_a_batch));
}

#[test]
fn a_stopped_add_gives_the_value_back() {
    let queue = Queue::bounded("stuck", 1);
    queue.add("first").unwrap();
    let adder = {
        let queue = queue.clone();
        spawn("adder", move |please_stop| queue.add_till("second", please_stop))
    };
    let empty = Queue::<u8>::unbounded("empty");
    let popper = {
        let empty = empty.clone();
        spawn("popper", move |please_stop| empty.pop_till(please_stop))
    };
    until_waiting("room in queue", std::slice::from_ref(&adder));
    until_waiting("queue", std::slice::from_ref(&popper));
    adder.stop();
    popper.stop();
    let (added, popped) = within_deadline(|| (adder.join().unwrap(), popper.join().unwrap()));
    assert_eq!(added, Err(AddError::Stopped("second")));
    assert_eq!(popped, Err(PopError::Stopped));
    assert_eq!(queue.pop_all(), ["first"]);
}

#[test]
fn a_till_ends_the_wait_on_time() {
    let queue = Queue::bounded("stuck", 1);
    let patience = Duration::from_millis(20);
    let begin = Instant::now();
    assert_eq!(queue.pop_till(&Till::after(patience)), Err(PopError::Stopped));
    let popped = begin.elapsed();
    queue.add(1).unwrap();
    let begin = Instant::now();
    assert_eq!(queue.add_till(2, &Till::after(patience)), Err(AddError::Stopped(2)));
    let added = begin.elapsed();
    for took in [popped, added] {
        assert!(took >= patience && took < DEADLINE, "{took:?}");
    }
    assert_eq!(queue.pop_all(), [1]);
}

#[test]
fn a_timeout_ends_the_wait() {
    let queue = Queue::bounded("hurried", 1);
    let patience = Duration::from_millis(20);
    let begin = Instant::now();
    assert_eq!(queue.pop_timeout(patience), Err(PopError::Stopped));
    assert!(begin.elapsed() >= patience);
    assert_eq!(queue.add_timeout(1, Duration::ZERO), Ok(()));
    let begin = Instant::now();
    assert_eq!(queue.add_timeout(2, patience), Err(AddError::Stopped(2)));
    assert!(begin.elapsed() >= patience);
    assert_eq!(queue.pop_timeout(Duration::ZERO), Ok(1));
    assert_eq!(queue.pop_timeout(Duration::ZERO), Err(PopError::Stopped));
    queue.close();
    assert_eq!(queue.add_timeout(3, Duration::MAX), Err(AddError::Closed(3)));
    assert_eq!(queue.pop_timeout(Duration::MAX), Err(PopError::Closed));
}

/// On a busy machine a thread runs later than at its time. Such a wait is repeated.
#[test]
fn a_timeout_is_as_long_as_was_asked() {
    let queue = Queue::bounded("punctual", 1);
    let patience = Duration::from_millis(100);
    let is_in_time = |wait: &dyn Fn()| {
        let begin = Instant::now();
        wait();
        begin.elapsed() < 2 * patience
    };
    let deadline = Instant::now() + DEADLINE;
    let until_in_time = |wait: &dyn Fn()| {
        while !is_in_time(wait) {
            assert!(Instant::now() < deadline, "each wait took twice as long");
        }
    };
    until_in_time(&|| assert_eq!(queue.pop_timeout(patience), Err(PopError::Stopped)));
    queue.add(1).unwrap();
    until_in_time(&|| assert_eq!(queue.add_timeout(2, patience), Err(AddError::Stopped(2))));
    assert_eq!(queue.pop_all(), [1]);
}

#[test]
fn a_gone_signal_wins_over_values_and_room() {
    let queue = Queue::bounded("busy", 2);
    queue.add(1).unwrap();
    assert_eq!(queue.pop_till(&Signal::gone()), Err(PopError::Stopped));
    assert_eq!(queue.add_till(2, &Signal::gone()), Err(AddError::Stopped(2)));
    assert_eq!(queue.pop_all(), [1]);
}

#[test]
fn try_add_says_full_and_never_waits() {
    let queue = Queue::bounded("small", 2);
    assert_eq!((queue.try_add(1), queue.try_add(2)), (Ok(()), Ok(())));
    assert_eq!(queue.try_add(3), Err(AddError::Full(3)));
    assert_eq!(queue.pop(), Some(1));
    assert_eq!(queue.try_add(3), Ok(()));
    assert_eq!(queue.pop_all(), [2, 3]);
    // No hand-over without a place for the value.
    let none = Queue::bounded("none", 0);
    assert_eq!((none.try_add(1), none.try_add(2)), (Ok(()), Err(AddError::Full(2))));
}

#[test]
fn a_batch_larger_than_the_queue_passes() {
    let queue = Queue::bounded("narrow", 7);
    let seen = within_deadline(move || {
        thread::scope(|s| {
            s.spawn(|| {
                queue.extend(0..10_000).unwrap();
                queue.close();
            });
            let mut seen = Vec::new();
            while let Some(first) = queue.pop() {
                seen.push(first);
                let rest = queue.pop_all();
                assert!(rest.len() <= 7, "{} values in a queue of 7", rest.len());
                seen.extend(rest);
            }
            seen
        })
    });
    assert_eq!(seen, (0..10_000).collect::<Vec<_>>());
}

#[test]
fn a_close_returns_the_rest_of_a_batch() {
    let queue = Queue::bounded("narrow", 10);
    let adder = {
        let queue = queue.clone();
        spawn("adder", move |_| {
            let mut values = 0..5_000;
            (queue.extend(&mut values), values)
        })
    };
    until_waiting("room in queue", std::slice::from_ref(&adder));
    queue.close();
    let (outcome, rest) = within_deadline(|| adder.join().unwrap());
    let all: Vec<_> = queue.pop_all().into_iter().chain(outcome.unwrap_err().into_inner()).chain(rest).collect();
    assert_eq!(all, (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_hundred_thousand_hops_lose_no_wakeup() {
    const HOPS: usize = 100_000;
    const FEWEST: usize = 10_000;
    within_deadline(|| {
        let (there, back) = (Queue::bounded("there", 1), Queue::bounded("back", 1));
        let (hops, begin) = (AtomicUsize::new(0), Instant::now());
        let is_enough = |hops: usize| hops >= HOPS || hops >= FEWEST && begin.elapsed() > LONG;
        thread::scope(|s| {
            for (from, to) in [(&there, &back), (&back, &there), (&there, &back), (&back, &there)] {
                let (hops, is_enough) = (&hops, &is_enough);
                s.spawn(move || {
                    while let Some(ball) = from.pop() {
                        if is_enough(hops.fetch_add(1, Ordering::Relaxed)) {
                            from.close();
                            to.close();
                        }
                        let _ = to.add(ball);
                    }
                });
            }
            there.add("one ball").unwrap();
            back.add("another").unwrap();
        });
        assert!(hops.into_inner() >= FEWEST);
    });
}

#[test]
fn who_gives_up_takes_no_wake_up_along() {
    const VALUES: usize = 20_000;
    const FEWEST: usize = 2_000;
    within_deadline(|| {
        let queue = Queue::bounded("hurried", 1);
        let (taken, mut added, begin) = (AtomicUsize::new(0), 0, Instant::now());
        thread::scope(|s| {
            for n in 0..4 {
                let (queue, taken) = (&queue, &taken);
                s.spawn(move || {
                    for round in 0.. {
                        // From less than a spin to a real sleep.
                        match queue.pop_till(&Till::after(Duration::from_micros((n * 37 + round * 11) % 60))) {
                            Ok(()) => drop(taken.fetch_add(1, Ordering::Relaxed)),
                            Err(PopError::Stopped) => {}
                            Err(_) => break, // Closed.
                        }
                    }
                });
            }
            // A popper without a limit: it would sleep forever if another thread consumed its
            // wake-up.
            s.spawn(|| {
                while queue.pop().is_some() {
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
            while added < VALUES && (added < FEWEST || begin.elapsed() < LONG) {
                queue.add(()).unwrap();
                added += 1;
            }
            queue.close();
        });
        assert_eq!(taken.into_inner(), added);
    });
}

#[test]
fn the_length_is_never_negative() {
    const VALUES: usize = 200_000;
    within_deadline(|| {
        let queue = Queue::unbounded("counted");
        thread::scope(|s| {
            s.spawn(|| {
                for n in 0..VALUES {
                    queue.add(n).unwrap();
                }
                queue.close();
            });
            s.spawn(|| while queue.pop().is_some() {});
            while !queue.closed().is_go() {
                let len = queue.len();
                assert!(len <= VALUES, "{len}");
            }
        });
        assert_eq!(queue.len(), 0);
    });
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn every_value_is_dropped_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let value = || Counted(drops.clone());
    let queue = Queue::bounded("dropped", 10);
    queue.extend((0..6).map(|_| value())).unwrap();
    // The first pop moves what there is to the head's side; so values are left on both.
    drop(queue.pop());
    queue.extend((0..3).map(|_| value())).unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    drop(queue.pop_all());
    assert_eq!(drops.load(Ordering::SeqCst), 9);
    queue.extend((0..6).map(|_| value())).unwrap();
    drop(queue.pop());
    queue.extend((0..5).map(|_| value())).unwrap();
    assert!(queue.try_add(value()).unwrap_err().is_full());
    queue.close();
    // One value is taken from the iterator, and comes back.
    drop(queue.extend((0..2).map(|_| value())));
    assert_eq!(drops.load(Ordering::SeqCst), 12);
    drop(queue);
    assert_eq!(drops.load(Ordering::SeqCst), 22);
}
