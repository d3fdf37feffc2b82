//! Claim: a queue that a signal can end costs no more for each message than a bare channel.

mod support;

use crossbeam_channel as crossbeam;
use selvedge::{Queue, Signal};
use std::sync::{Arc, Mutex, mpsc};
use support::{Contest, Traffic, scaled};

const CAPACITY: usize = 1024;

fn main() {
    let messages = scaled(100_000, 2_000);
    let one = Traffic { producers: 1, consumers: 1, messages };
    contest("1 producer, 1 consumer, capacity 1024", one).with("std sync_channel", || std(one)).run(60);
    let two = Traffic { producers: 2, consumers: 2, messages };
    contest("2 producers, 2 consumers, capacity 1024", two).run(60);
}

fn contest(title: &str, traffic: Traffic) -> Contest<'_> {
    Contest::new(title, traffic.messages)
        .with("selvedge add, pop_till(stop)", move || ours(traffic))
        .with("crossbeam send, recv", move || bare_crossbeam(traffic))
        .with("crossbeam send, select! with stop", move || crossbeam_select(traffic))
        .with("flume send, recv", move || flume(traffic))
        .with("kanal send, recv", move || kanal(traffic))
}

fn ours(traffic: Traffic) -> std::time::Duration {
    let queue = Queue::bounded("messages", CAPACITY);
    traffic.time(
        (queue.clone(), (queue, Signal::new("please_stop"))),
        |queue, values| values.for_each(|value| queue.add(value).unwrap()),
        |(queue, please_stop)| std::iter::from_fn(|| queue.pop_till(please_stop).ok()).sum(),
        |queue| assert!(queue.close()),
    )
}

fn bare_crossbeam(traffic: Traffic) -> std::time::Duration {
    traffic.time(
        crossbeam::bounded(CAPACITY),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        |receiver| receiver.iter().sum(),
        drop,
    )
}

fn crossbeam_select(traffic: Traffic) -> std::time::Duration {
    let (sender, receiver) = crossbeam::bounded(CAPACITY);
    let (_running, stop) = crossbeam::bounded::<()>(0);
    let next = |receiver: &crossbeam::Receiver<u64>, stop: &crossbeam::Receiver<()>| {
        crossbeam::select! {
            recv(receiver) -> value => value.ok(),
            recv(stop) -> _ => None,
        }
    };
    traffic.time(
        (sender, (receiver, stop)),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        |(receiver, stop)| std::iter::from_fn(|| next(receiver, stop)).sum(),
        drop,
    )
}

fn flume(traffic: Traffic) -> std::time::Duration {
    traffic.time(
        flume::bounded(CAPACITY),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        |receiver| receiver.iter().sum(),
        drop,
    )
}

fn kanal(traffic: Traffic) -> std::time::Duration {
    traffic.time(
        kanal::bounded(CAPACITY),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        |receiver| std::iter::from_fn(|| receiver.recv().ok()).sum(),
        drop,
    )
}

fn std(traffic: Traffic) -> std::time::Duration {
    let (sender, receiver) = mpsc::sync_channel(CAPACITY);
    traffic.time(
        (sender, Arc::new(Mutex::new(receiver))),
        |sender, values| values.for_each(|value| sender.send(value).unwrap()),
        |receiver| receiver.lock().unwrap().iter().sum(),
        drop,
    )
}
