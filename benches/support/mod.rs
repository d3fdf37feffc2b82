//! What the benches share: contenders that take turns in one process, and the table of their
//! ratios.
//!
//! A small machine is noisy, and the noise lasts longer than a round: so each round lets every
//! contender run once, in turning order, and what is reported is the median of the ratios *within*
//! a round.

// Each bench is a program of its own, and none uses all of it.
#![allow(dead_code)]

use std::hint::black_box;
use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Whether to measure (`cargo bench`) or only to show that it runs (`cargo test --benches`, or
/// `--test`).
pub(crate) fn measuring() -> bool {
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    has("--bench") && !has("--test")
}

/// `full` when measuring, else as little as still passes through everything.
pub(crate) fn scaled(full: usize, quick: usize) -> usize {
    if measuring() { full } else { quick }
}

/// Returns `true` if the command line names no titles, or a part of this one.
pub(crate) fn is_wanted(title: &str) -> bool {
    let mut wanted = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    wanted.peek().is_none() || wanted.any(|part| title.contains(&part))
}

type Round<'a> = Box<dyn FnMut() -> Duration + 'a>;

/// Contenders for one claim. The first is ours; the ratios of the others are ours divided by
/// theirs.
pub(crate) struct Contest<'a> {
    title: &'a str,
    /// Operations in one round, by which its time is divided.
    operations: usize,
    contenders: Vec<(&'a str, Round<'a>)>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(title: &'a str, operations: usize) -> Self {
        Contest { title, operations, contenders: Vec::new() }
    }

    /// Adds a contender; `round` returns how long its `operations` took.
    pub(crate) fn with(mut self, name: &'a str, round: impl FnMut() -> Duration + 'a) -> Self {
        self.contenders.push((name, Box::new(round)));
        self
    }

    /// Runs all in turn, and prints the table. With words on the command line (`cargo bench --bench
    /// wake -- "one core"`), only if the title contains one of them.
    pub(crate) fn run(mut self, rounds: usize) {
        if !is_wanted(self.title) {
            return;
        }
        let (rounds, warm_up) = (scaled(rounds, 1), scaled(2, 0));
        let count = self.contenders.len();
        let mut times = vec![Vec::with_capacity(rounds); count];
        for round in 0..warm_up + rounds {
            for turn in 0..count {
                // Every second round runs backwards, so that no way always runs after the same
                // other way.
                let turn = if round % 2 == 0 { turn } else { count - 1 - turn };
                let which = (turn + round / 2) % count;
                let (_, contender) = &mut self.contenders[which];
                let time = contender().as_secs_f64() * 1e9 / self.operations as f64;
                if round >= warm_up {
                    times[which].push(time);
                }
            }
        }
        self.print(&times);
    }

    fn print(&self, times: &[Vec<f64>]) {
        println!("\n{}", self.title);
        println!("| {:<34} | {:>9} | {:>9} | {:>11} | {:>9} |", "", "median ns", "min ns", "ours/theirs", "least");
        println!("|{:-<36}|{:->11}|{:->11}|{:->13}|{:->11}|", "", ":", ":", ":", ":");
        for (which, (name, _)) in self.contenders.iter().enumerate() {
            let (median, min) = summary(&times[which]);
            if which == 0 {
                println!("| {name:<34} | {median:>9.1} | {min:>9.1} | {:>11} | {:>9} |", "", "");
            } else {
                let ratios: Vec<f64> = times[0].iter().zip(&times[which]).map(|(ours, theirs)| ours / theirs).collect();
                let (ratio, least) = summary(&ratios);
                println!("| {name:<34} | {median:>9.1} | {min:>9.1} | {ratio:>11.2} | {least:>9.2} |");
            }
        }
    }
}

/// Median and minimum.
fn summary(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[sorted.len() / 2], sorted[0])
}

/// The time of `n` calls of `operation`, whose result is not optimized away.
pub(crate) fn time<R>(n: usize, mut operation: impl FnMut() -> R) -> Duration {
    let begin = Instant::now();
    for _ in 0..n {
        black_box(operation());
    }
    begin.elapsed()
}

/// How many threads move how many values.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    pub(crate) messages: usize,
}

impl Traffic {
    /// The time from when the first thread begins until the last has ended, by their own clocks:
    /// the thread that waits for them may not get a core before they are done. `produce` sends its
    /// values, the last producer hands its end to `finish`, `consume` receives to the end and
    /// returns the sum.
    pub(crate) fn time<S, R>(
        self,
        (sending, receiving): (S, R),
        produce: impl Fn(&S, Range<u64>) + Sync,
        consume: impl Fn(&R) -> u64 + Sync,
        finish: impl Fn(S) + Sync,
    ) -> Duration
    where
        S: Clone + Send,
        R: Clone + Send,
    {
        let ready = Barrier::new(self.producers + self.consumers);
        let share = (self.messages / self.producers) as u64;
        let left = AtomicUsize::new(self.producers);
        let (ready, left, produce, consume, finish) = (&ready, &left, &produce, &consume, &finish);
        thread::scope(|s| {
            let mut senders = Vec::new();
            for n in 0..self.producers as u64 {
                let sending = sending.clone();
                senders.push(s.spawn(move || {
                    ready.wait();
                    let begin = Instant::now();
                    produce(&sending, n * share..(n + 1) * share);
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        finish(sending);
                    }
                    begin
                }));
            }
            let mut receivers = Vec::new();
            for _ in 0..self.consumers {
                let receiving = receiving.clone();
                receivers.push(s.spawn(move || {
                    ready.wait();
                    let sum = consume(&receiving);
                    (sum, Instant::now())
                }));
            }
            drop((sending, receiving));
            let begin = senders.into_iter().map(|sender| sender.join().expect("a producer")).min();
            let (sums, ends): (Vec<u64>, Vec<Instant>) =
                receivers.into_iter().map(|receiver| receiver.join().expect("a consumer")).unzip();
            let sum: u64 = sums.into_iter().sum();
            let sent = share * self.producers as u64;
            assert_eq!(sum, sent * (sent - 1) / 2, "every value arrives once");
            ends.into_iter().max().zip(begin).map_or(Duration::ZERO, |(end, begin)| end - begin)
        })
    }
}
