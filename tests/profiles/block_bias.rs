//! Few long waits and many short ones that took as long in all: the block profile has as much delay
//! for the ones as for the others. As Go's `TestBlockProfileBias`, of a whole program.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::wait_stacks::{GoProfile, alone, record};
use selvedge::profile::Profile;
use selvedge::{Queue, spawn};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Far below the length from which each wait gets a stack, and far above it.
const SHORT: Duration = Duration::from_micros(200);
const LONG: Duration = Duration::from_millis(20);

/// How long the waits of one kind take in all.
const TOTAL: Duration = Duration::from_secs(1);

/// Half of Go's bound. One short wait in each 5 ms of them is drawn, so chance makes a hundredth here.
/// The way from a stopwatch into its wait makes up to three.
const MOST_BIAS: f64 = 0.1;
/// Go's bound. Numbers of waits are estimated from the lengths of those that got a stack.
const MOST_BIAS_OF_COUNTS: f64 = 0.2;

#[inline(never)]
fn short_wait(answers: &Queue<Instant>) -> Instant {
    let sent = answers.pop().unwrap();
    black_box(sent)
}

#[inline(never)]
fn long_wait(answers: &Queue<Instant>) -> Instant {
    let sent = answers.pop().unwrap();
    // Another body than the other one's: the compiler makes one function of two equal ones.
    black_box((sent, LONG)).0
}

/// How often, and how long.
#[derive(Clone, Copy, Debug, Default)]
struct Stopwatch {
    count: u32,
    time: Duration,
}

/// One thread waits, and another one ends the waits: short ones and long ones for the same queue.
fn program() -> (Profile, Stopwatch, Stopwatch) {
    let (mut short, mut long) = (Stopwatch::default(), Stopwatch::default());
    let profile = record(|| {
        let (questions, answers) = (Queue::<Duration>::unbounded("questions"), Queue::unbounded("answers"));
        let ender = spawn("ender", {
            let (questions, answers) = (questions.clone(), answers.clone());
            move |_| {
                for length in questions.iter() {
                    std::thread::sleep(length);
                    answers.add(Instant::now()).unwrap();
                }
            }
        });
        while short.time.min(long.time) < TOTAL {
            let is_short = short.time <= long.time;
            questions.add(if is_short { SHORT } else { LONG }).unwrap();
            let asked = Instant::now();
            let sent = if is_short { short_wait(&answers) } else { long_wait(&answers) };
            let watch = if is_short { &mut short } else { &mut long };
            // On a busy machine the answer may come before the wait: that is none.
            watch.count += u32::from(sent > asked);
            watch.time += sent.saturating_duration_since(asked);
        }
        questions.close();
        ender.join().unwrap();
    });
    (profile, short, long)
}

#[test]
fn the_delays_of_short_and_long_waits_are_not_biased() {
    let _alone = alone();
    let begin = Instant::now();
    loop {
        let (profile, short, long) = program();
        let block = GoProfile::block(&profile);
        let [short_count, short_delay] = block.through("block_bias::short_wait");
        let [long_count, long_delay] = block.through("block_bias::long_wait");
        let account = profile.accounts().iter().find(|account| account.path() == "main/test").unwrap();
        let wait = account.waits().iter().find(|wait| wait.name() == "answers").unwrap();
        // Each wait of it has one of the two stacks, so the sums are exact.
        assert_eq!(short_delay + long_delay, wait.total().as_nanos() as i64, "{account:#?}");
        assert_eq!(short_count + long_count, wait.count() as i64, "{account:#?}");
        let bias = |found: i64, right: u128| found as f64 / right as f64 - 1.0;
        let delays = [bias(short_delay, short.time.as_nanos()), bias(long_delay, long.time.as_nanos())];
        let counts = [bias(short_count, short.count.into()), bias(long_count, long.count.into())];
        let shown = format!("delays {delays:.3?}, counts {counts:.3?} beside short {short:?}, long {long:?}");
        println!("{shown}");
        let are_within = |biases: [f64; 2], most| biases.iter().all(|bias: &f64| bias.abs() <= most);
        if are_within(delays, MOST_BIAS) && are_within(counts, MOST_BIAS_OF_COUNTS) {
            return;
        }
        // A thread that loses its processor between its stopwatch and its wait spoils the measurement.
        assert!(begin.elapsed() < Duration::from_secs(60), "{shown}");
    }
}
