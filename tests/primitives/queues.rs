//! Queues: nothing lost, doubled or out of order; everyone who waits is woken; what was not added comes back.

use selvedge::{AddError, JoinHandle, PopError, Queue, Signal, Till, left_in_queues, spawn};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here may take; a wait that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// A wake-up takes microseconds. Who waits for room looks again by itself after 5 s: later than this, nobody called it.
const PROMPT: Duration = Duration::from_secs(4);

/// Fails, instead of hanging, when `test` does not end.
fn within_deadline<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    let tester = thread::spawn(move || drop(send.send(test())));
    match receive.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still not done after {DEADLINE:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(tester.join().unwrap_err()),
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Until all of them sleep in a blocking call of this kind.
fn until_waiting<T>(kind: &str, threads: &[JoinHandle<T>]) {
    until(&format!("all wait for a {kind}"), || {
        threads.iter().all(|thread| thread.thread().waiting_for().is_some_and(|wait| wait.kind() == kind))
    });
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
        while !(queue.closed().is_go() && queue.is_empty()) {
            match queue.try_pop() {
                Some(value) => seen.push(value),
                None => thread::yield_now(),
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
fn four_producers_and_four_consumers_lose_nothing_and_keep_the_order() {
    for queue in sizes() {
        within_deadline(move || many_to_many(queue, &CONSUMERS));
    }
}

#[test]
fn one_consumer_of_each_kind_gets_everything_in_order() {
    for consumer in CONSUMERS {
        for queue in sizes() {
            within_deadline(move || many_to_many(queue, &[consumer]));
        }
    }
}

#[test]
fn a_closed_queue_gives_the_value_back_and_empties() {
    let queue = Queue::bounded("closing", 10);
    queue.extend([1, 2]).unwrap();
    assert!(queue.close());
    assert!(!queue.close(), "only the first call closes");
    assert!(queue.closed().is_go());
    let stop = Signal::new("stop");
    assert_eq!(queue.add(3), Err(AddError::Closed(3)));
    assert_eq!(queue.try_add(4), Err(AddError::Closed(4)));
    assert_eq!(queue.add_till(5, &stop), Err(AddError::Closed(5)));
    assert_eq!(queue.extend([6, 7]), Err(AddError::Closed(vec![6, 7])));
    assert_eq!((queue.pop(), queue.pop_till(&stop)), (Some(1), Ok(2)));
    assert_eq!((queue.pop(), queue.try_pop()), (None, None));
    assert_eq!(queue.pop_till(&stop), Err(PopError::Closed));
    assert_eq!(queue.pop_all(), [0; 0]);
}

#[test]
fn a_close_wakes_everyone_who_waits() {
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
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
    assert_eq!(full.pop_all(), [usize::MAX]);
}

#[test]
fn one_batch_wakes_as_many_as_it_has_values_and_one_pop_all_as_many_as_it_makes_room_for() {
    for _ in 0..20 {
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
        assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
        assert_eq!(queue.len(), 10);
    }
}

#[test]
fn a_stop_ends_the_wait_and_the_value_is_kept() {
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
    let begin = Instant::now();
    adder.stop();
    popper.stop();
    let (added, popped) = within_deadline(|| (adder.join().unwrap(), popper.join().unwrap()));
    assert!(begin.elapsed() < Duration::from_secs(1), "a stop is answered at once");
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
        assert!(took >= patience && took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(queue.pop_all(), [1]);
}

#[test]
fn a_timeout_ends_the_wait_and_takes_what_is_there() {
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

#[test]
fn a_signal_that_has_gone_wins_over_values_and_room() {
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
fn a_batch_larger_than_the_queue_goes_through_it() {
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
fn a_batch_cut_short_by_a_close_gives_the_rest_back() {
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
fn no_wake_up_is_lost_in_a_hundred_thousand_hops() {
    const HOPS: usize = 100_000;
    within_deadline(|| {
        let (there, back) = (Queue::bounded("there", 1), Queue::bounded("back", 1));
        let hops = AtomicUsize::new(0);
        thread::scope(|s| {
            for (from, to) in [(&there, &back), (&back, &there), (&there, &back), (&back, &there)] {
                let hops = &hops;
                s.spawn(move || {
                    while let Some(ball) = from.pop() {
                        if hops.fetch_add(1, Ordering::Relaxed) >= HOPS {
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
        assert!(hops.into_inner() >= HOPS);
    });
}

#[test]
fn who_gives_up_takes_no_wake_up_along() {
    const VALUES: usize = 20_000;
    within_deadline(|| {
        let queue = Queue::bounded("hurried", 1);
        let taken = AtomicUsize::new(0);
        thread::scope(|s| {
            for n in 0..4 {
                let (queue, taken) = (&queue, &taken);
                s.spawn(move || {
                    for round in 0.. {
                        // From less than a spin to a real sleep.
                        match queue.pop_till(&Till::after(Duration::from_micros((n * 37 + round * 11) % 60))) {
                            Ok(()) => drop(taken.fetch_add(1, Ordering::Relaxed)),
                            Err(PopError::Stopped) => {}
                            Err(PopError::Closed) => break,
                        }
                    }
                });
            }
            // One who never gives up: it would sleep for ever on a wake-up that another took along.
            s.spawn(|| {
                while queue.pop().is_some() {
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
            for _ in 0..VALUES {
                queue.add(()).unwrap();
            }
            queue.close();
        });
        assert_eq!(taken.into_inner(), VALUES);
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
    drop(queue.extend((0..2).map(|_| value())));
    assert_eq!(drops.load(Ordering::SeqCst), 13);
    drop(queue);
    assert_eq!(drops.load(Ordering::SeqCst), 23);
}

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }
    fn flush(&self) {}
}

#[test]
fn a_full_queue_logs_who_waits_for_which_and_how_long() {
    if crate::support::in_own_process(module_path!(), "a_full_queue_logs_who_waits_for_which_and_how_long") {
        return;
    }
    log::set_logger(&Capture).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let queue = Queue::bounded("parcels", 2);
    queue.extend([1, 2]).unwrap();
    let sender = {
        let queue = queue.clone();
        spawn("sender", move |_| queue.add(3))
    };
    let path = sender.thread().path().to_owned();
    let begin = Instant::now();
    let about_us = || LOGGED.lock().unwrap().iter().find(|line| line.contains("\"parcels\"")).cloned();
    until("the warning", || about_us().is_some());
    assert!(begin.elapsed() >= Duration::from_secs(5));
    let line = about_us().unwrap();
    let time = line
        .strip_prefix(&format!("WARN {path} has waited "))
        .and_then(|rest| rest.strip_suffix("s for room in queue \"parcels\", which is full with 2 values"))
        .unwrap_or_else(|| panic!("{line}"));
    // Later than asked on a busy machine, never earlier.
    assert!((5..30).contains(&time.parse::<u32>().unwrap()), "{line}");
    assert_eq!(queue.pop(), Some(1));
    within_deadline(|| sender.join().unwrap().unwrap());
}

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
fn a_forgotten_close_is_made_up_for_after_the_patience() {
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
fn draining_outlasts_its_patience_while_there_is_an_adder() {
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
fn what_may_be_left_or_was_taken_is_not_counted() {
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
fn handles_dropped_at_once_on_many_threads_count_the_values_once() {
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
fn a_queue_may_refer_to_what_is_declared_after_it() {
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
