//! Claim: taking everything there is costs less for each message than any channel does one by one.

mod support;

use crossbeam_channel as crossbeam;
use selvedge::Queue;
use std::time::Duration;
use support::{Contest, Traffic, scaled};

const CAPACITY: usize = 1024;
/// Values in one `extend`.
const BATCH: u64 = 256;

fn main() {
    let messages = scaled(256_000, 2_560);
    let one = Traffic { producers: 1, consumers: 1, messages };
    Contest::new("1 producer, 1 consumer, capacity 1024, consumed in batches", messages)
        .with("selvedge add, pop + pop_all", || ours(one, one_by_one))
        .with("crossbeam send, recv", || bare_crossbeam(one, |receiver| receiver.iter().sum()))
        .with("crossbeam send, recv + try_iter", || {
            bare_crossbeam(one, |receiver| receiver.iter().map(|first| first + receiver.try_iter().sum::<u64>()).sum())
        })
        .with("flume send, recv", || bare_flume(one, |receiver| receiver.iter().sum()))
        .with("flume send, recv + drain", || {
            bare_flume(one, |receiver| receiver.iter().map(|first| first + receiver.drain().sum::<u64>()).sum())
        })
        .with("kanal send, recv", || bare_kanal(one, |receiver| std::iter::from_fn(|| receiver.recv().ok()).sum()))
        .with("kanal send, recv + drain_into", || bare_kanal(one, kanal_drain))
        .run(60);

    Contest::new("the same, added in batches of 256 too", messages)
        .with("selvedge extend, pop + pop_all", || ours(one, in_batches))
        .with("selvedge add, pop + pop_all", || ours(one, one_by_one))
        .with("crossbeam send, recv + try_iter", || {
            bare_crossbeam(one, |receiver| receiver.iter().map(|first| first + receiver.try_iter().sum::<u64>()).sum())
        })
        .with("kanal send, recv + drain_into", || bare_kanal(one, kanal_drain))
        .run(60);
}

fn one_by_one(queue: &Queue<u64>, values: std::ops::Range<u64>) {
    values.for_each(|value| queue.add(value).unwrap());
}

fn in_batches(queue: &Queue<u64>, values: std::ops::Range<u64>) {
    let (mut next, end) = (values.start, values.end);
    while next < end {
        let upto = end.min(next + BATCH);
        queue.extend(next..upto).unwrap();
        next = upto;
    }
}

fn ours(traffic: Traffic, produce: impl Fn(&Queue<u64>, std::ops::Range<u64>) + Sync) -> Duration {
    let queue = Queue::bounded("messages", CAPACITY);
    traffic.time(
        (queue.clone(), queue),
        produce,
        |queue| queue.iter().map(|first| first + queue.pop_all().into_iter().sum::<u64>()).sum(),
        |queue| assert!(queue.close()),
    )
}

fn bare_crossbeam(traffic: Traffic, consume: impl Fn(&crossbeam::Receiver<u64>) -> u64 + Sync) -> Duration {
    traffic.time(
        crossbeam::bounded(CAPACITY),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        consume,
        drop,
    )
}

fn bare_flume(traffic: Traffic, consume: impl Fn(&flume::Receiver<u64>) -> u64 + Sync) -> Duration {
    traffic.time(
        flume::bounded(CAPACITY),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        consume,
        drop,
    )
}

fn bare_kanal(traffic: Traffic, consume: impl Fn(&kanal::Receiver<u64>) -> u64 + Sync) -> Duration {
    traffic.time(
        kanal::bounded(CAPACITY),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        consume,
        drop,
    )
}

fn kanal_drain(receiver: &kanal::Receiver<u64>) -> u64 {
    let (mut sum, mut rest) = (0, Vec::new());
    while let Ok(first) = receiver.recv() {
        // An error is the end, which the next recv reports.
        let _ = receiver.drain_into(&mut rest);
        sum += first + rest.drain(..).sum::<u64>();
    }
    sum
}
