//! A program whose counters change in the ways in which a counter might fall. It does what each line of
//! its standard input says, and then says "done".

use selvedge::profile::{self, Options, Recording};
use selvedge::{Queue, Signal, spawn};
use std::io::Write;
use std::time::Duration;

pub(crate) fn main() {
    let mut recording = Some(record());
    say("ready");
    for line in std::io::stdin().lines() {
        match line.expect("a line").as_str() {
            // It ends, so its account is folded later.
            "a thread waits" => spawn("young", |_| wait(0..195)).join().expect("no failure"),
            // It is older, so its account comes first.
            "main waits" => wait(1_000..1_100),
            "threads end" => threads(4_300),
            "queues are dropped" => (0..200).for_each(|number| drop_queue(&letters(number))),
            // Its name comes first.
            "another queue is dropped" => drop_queue("a"),
            "a recording ends" => drop(recording.take().map(Recording::finish)),
            "a recording begins" => recording = Some(record()),
            other => panic!("no event \"{other}\""),
        }
        say("done");
    }
}

fn record() -> Recording {
    profile::start(Options::new().waits(true)).expect("the only recording")
}

fn say(what: &str) {
    println!("{what}");
    let _ = std::io::stdout().flush();
}

/// A sleep for each number.
fn wait(numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert!(!Signal::new(letters(number)).wait_for_go_timeout(Duration::from_millis(1)));
    }
}

/// More than a recording keeps apart, with names that differ in more than a number.
fn threads(count: usize) {
    for first in (0..count).step_by(20) {
        let body = |please_stop: &Signal| please_stop.wait_for_go_timeout(Duration::from_micros(100));
        let some: Vec<_> = (first..first + 20).map(|number| spawn(letters(number), body)).collect();
        some.into_iter().for_each(|thread| assert!(!thread.join().expect("no failure")));
    }
}

fn drop_queue(name: &str) {
    let queue = Queue::unbounded(name);
    queue.add(1).expect("it is open");
}

/// A name without a number, another one for each.
fn letters(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'b')).collect()
}
