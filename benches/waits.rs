//! Claim: to count waits costs a call that blocks at most 50 ns, and one that does not block nothing
//! that can be measured.

mod support;

use selvedge::profile::{self, Options};
use selvedge::{Lock, Queue, Signal, spawn};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::{Contest, scaled, time};

fn main() {
    let n = scaled(2_000, 5);
    contest("a round trip over two queues: each of two threads blocks once", n, || queue_round_trips(n));
    contest("a round trip over two signals, made before", n, || signal_round_trips(n));
    let n = scaled(200_000, 100);
    contest("add and pop of a value, without blocking", n, || add_and_pop(n));
    contest("lock and unlock, without blocking", n, || {
        let lock = Lock::new("sum", 0u64);
        time(n, || *lock.lock() += 1)
    });
}

/// The same work with waits counted, without, and without a recording.
fn contest(title: &str, n: usize, work: impl Fn() -> Duration) {
    let recorded = |options: Options| {
        let recording = profile::start(options).expect("a recording starts");
        let taken = work();
        black_box(recording.finish());
        taken
    };
    Contest::new(title, n)
        .with("recording, waits counted", || recorded(Options::new().frequency(100).waits(true)))
        .with("recording", || recorded(Options::new().frequency(100)))
        .with("no recording", &work)
        .run(30);
}

fn queue_round_trips(n: usize) -> Duration {
    let (there, back) = (Queue::unbounded("there"), Queue::unbounded("back"));
    let echo = spawn("echo", {
        let (there, back) = (there.clone(), back.clone());
        move |_| there.iter().for_each(|value: usize| back.add(value).expect("open"))
    });
    let begin = Instant::now();
    for number in 0..n {
        there.add(number).expect("open");
        black_box(back.pop());
    }
    let taken = begin.elapsed();
    there.close();
    echo.join().expect("the echo ends");
    taken
}

fn signal_round_trips(n: usize) -> Duration {
    let signals: Vec<(Signal, Signal)> = (0..n).map(|_| (Signal::new("there"), Signal::new("back"))).collect();
    let echo = spawn("echo", {
        let signals = signals.clone();
        move |_| {
            for (there, back) in &signals {
                there.wait_for_go();
                back.go();
            }
        }
    });
    let begin = Instant::now();
    for (there, back) in &signals {
        there.go();
        back.wait_for_go();
    }
    let taken = begin.elapsed();
    echo.join().expect("the echo ends");
    taken
}

fn add_and_pop(n: usize) -> Duration {
    let queue = Queue::unbounded("jobs");
    time(n, || {
        queue.add(1u64).expect("open");
        queue.try_pop()
    })
}
