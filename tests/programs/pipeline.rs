//! A pipeline of two queues that is told to stop at a random moment, and says how many values were
//! added, taken and left.
//!
//! `pipeline SIGINT|SIGTERM|subtree|failure SEED RUNS`. Prints a line for each run:
//! `drains=BOOL numbers added=N popped=N left=N squares added=N popped=N left=N`.

use crate::random::Random;
use selvedge::{Builder, Config, OnChildFailure, Popper, Queue, Signal, left_in_queues, spawn, spawn_fallible};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const NAMES: [&str; 2] = ["numbers", "squares"];

/// How one run goes.
#[derive(Clone, Copy)]
struct Plan {
    capacity: usize,
    /// The consumers drain after the stop; otherwise they end at once.
    drains: bool,
    stops_after: Duration,
    /// The value at which a thread fails, and which of the three stages.
    fails_at: Option<(u64, u64)>,
    panics: bool,
}

#[derive(Default)]
struct Counts {
    added: [AtomicU64; 2],
    popped: [AtomicU64; 2],
}

fn draw_plan(random: &mut Random, fails: bool) -> Plan {
    let stage = random.below(3);
    Plan {
        capacity: 1 + random.below(40) as usize,
        drains: random.one_in(2),
        stops_after: Duration::from_micros(random.below(5_000)),
        fails_at: fails.then(|| (random.below(500), stage)),
        panics: random.one_in(8),
    }
}

pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, how, seed, runs] = args.as_slice() else { panic!("pipeline HOW SEED RUNS") };
    let mut random = Random(seed.parse().unwrap());
    let runs: u64 = runs.parse().unwrap();
    let counts = Arc::new(Counts::default());
    let plan = draw_plan(&mut random, false);
    let code = selvedge::run(Config::new("pipeline"), |please_stop: &Signal| {
        match how.as_str() {
            "SIGINT" | "SIGTERM" => {
                let signal = if how == "SIGINT" { libc::SIGINT } else { libc::SIGTERM };
                let killer = spawn("killer", move |_| {
                    // The moment is random on purpose.
                    std::thread::sleep(plan.stops_after);
                    // SAFETY: kill takes no pointers.
                    assert_eq!(unsafe { libc::kill(std::process::id() as i32, signal) }, 0);
                });
                pipeline(plan, &counts, please_stop);
                killer.join()?;
            }
            _ => {
                for _ in 0..runs {
                    let (plan, before, counts) =
                        (draw_plan(&mut random, how == "failure"), left(), Arc::new(Counts::default()));
                    let of_thread = counts.clone();
                    let thread = Builder::new("pipeline")
                        .on_child_failure(OnChildFailure::StopSiblings)
                        .spawn(move |please_stop| pipeline(plan, &of_thread, please_stop))?;
                    if plan.fails_at.is_none() {
                        std::thread::sleep(plan.stops_after);
                        thread.stop();
                    }
                    let failed = thread.join().is_err();
                    assert_eq!(failed, plan.fails_at.is_some());
                    let after = left();
                    print(plan, &counts, [after[0] - before[0], after[1] - before[1]]);
                }
            }
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    });
    if how.starts_with("SIG") {
        print(plan, &counts, left());
    }
    code
}

/// Ends when it is told to, or when one of its threads fails.
fn pipeline(plan: Plan, counts: &Arc<Counts>, please_stop: &Signal) {
    let numbers = Queue::bounded(NAMES[0], plan.capacity);
    let squares = Queue::bounded(NAMES[1], plan.capacity);
    let adders = [numbers.adder(), numbers.adder()];
    let workers = [(numbers.popper(), squares.adder()), (numbers.popper(), squares.adder())];
    let results = squares.popper();

    let all = counts.clone();
    drop(spawn_fallible("sink", move |please_stop| {
        while let Some(square) = next(&results, plan, please_stop) {
            all.popped[1].fetch_add(1, SeqCst);
            plan.fail(square, 2)?;
        }
        Ok::<(), String>(())
    }));
    for (number, (from, to)) in workers.into_iter().enumerate() {
        let all = counts.clone();
        drop(spawn_fallible(format!("worker-{number}"), move |please_stop| {
            while let Some(value) = next(&from, plan, please_stop) {
                all.popped[0].fetch_add(1, SeqCst);
                plan.fail(value, 1)?;
                if to.add(value * value).is_err() {
                    break;
                }
                all.added[1].fetch_add(1, SeqCst);
            }
            Ok::<(), String>(())
        }));
    }
    for (number, adder) in adders.into_iter().enumerate() {
        let all = counts.clone();
        drop(spawn_fallible(format!("producer-{number}"), move |please_stop| {
            for value in (0..).take_while(|_| !please_stop.is_go()) {
                plan.fail(value, 0)?;
                if adder.add(value).is_err() {
                    break;
                }
                all.added[0].fetch_add(1, SeqCst);
            }
            Ok::<(), String>(())
        }));
    }
    let failed = selvedge::Thread::current().child_failed().clone();
    (please_stop | &failed).wait_for_go();
}

fn next(from: &Popper<u64>, plan: Plan, please_stop: &Signal) -> Option<u64> {
    if plan.drains { from.pop_draining(please_stop) } else { from.pop_till(please_stop).ok() }
}

impl Plan {
    fn fail(self, value: u64, stage: u64) -> Result<(), String> {
        match self.fails_at {
            Some((at, of)) if of == stage && value >= at => {
                assert!(!self.panics, "told to panic at {value}");
                Err(format!("told to fail at {value}"))
            }
            _ => Ok(()),
        }
    }
}

fn left() -> [u64; 2] {
    let left = left_in_queues();
    NAMES.map(|name| left.iter().find(|left| left.name() == name).map_or(0, |left| left.values()))
}

fn print(plan: Plan, counts: &Counts, left: [u64; 2]) {
    let of = |queue: usize| {
        let (added, popped) = (counts.added[queue].load(SeqCst), counts.popped[queue].load(SeqCst));
        format!("{} added={added} popped={popped} left={}", NAMES[queue], left[queue])
    };
    println!("drains={} {} {}", plan.drains, of(0), of(1));
}
