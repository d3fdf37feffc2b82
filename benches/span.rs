//! Claim: a span costs at most 25 ns while a recording runs, and nearly nothing while none does. A
//! context costs little more than its entry in the map of log-mdc, which the log reads.

mod support;

use selvedge::profile::{self, Options};
use selvedge::{context, span};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::{Contest, scaled, time};

fn main() {
    let n = scaled(500_000, 100);
    Contest::new("a span, begin to end", n)
        .with("span, recording", || recorded(|| time(n, || span("parse"))))
        .with("span, no recording", || time(n, || span("parse")))
        .with("Instant::now, twice", || {
            time(n, || {
                let begin = Instant::now();
                begin.elapsed()
            })
        })
        .with("the processor's counter, twice", || time(n, counter_twice))
        .run(30);
    Contest::new("a span in a span in a span", n * 3)
        .with("span, recording", || {
            recorded(|| {
                time(n, || {
                    let _outer = span("outer");
                    let _middle = span("middle");
                    let _inner = span("inner");
                })
            })
        })
        .with("the processor's counter, twice each", || {
            time(n, || {
                for _ in 0..3 {
                    black_box(counter_twice());
                }
            })
        })
        .run(30);
    let n = scaled(200_000, 100);
    let number = || black_box("17");
    Contest::new("a context, begin to end", n)
        .with("context, recording", || recorded(|| time(n, || context("request", number()))))
        .with("context, no recording", || time(n, || context("request", number())))
        .with("log_mdc::insert_scoped", || time(n, || log_mdc::insert_scoped("request", number())))
        .run(30);
    Contest::new("a context in a context", n)
        .with("context, no recording", || {
            time(n, || {
                let _request = context("request", number());
                let _step = context("step", number());
            })
        })
        .with("log_mdc::insert_scoped", || {
            time(n, || {
                let _request = log_mdc::insert_scoped("request", number());
                let _step = log_mdc::insert_scoped("step", number());
            })
        })
        .run(30);
}

fn recorded(work: impl FnOnce() -> Duration) -> Duration {
    let recording = profile::start(Options::new().frequency(100)).expect("a recording starts");
    let taken = work();
    black_box(recording.finish());
    taken
}

/// What any span must do that is timed by the processor's counter.
#[cfg(target_arch = "x86_64")]
fn counter_twice() -> u64 {
    // SAFETY: reads a register of the processor.
    let read = || unsafe { std::arch::x86_64::_rdtsc() };
    let begin = read();
    read() - begin
}

#[cfg(not(target_arch = "x86_64"))]
fn counter_twice() -> Duration {
    let begin = Instant::now();
    begin.elapsed()
}
