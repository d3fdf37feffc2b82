//! Pipelines with a planted bottleneck: the critical path and the blame name it first, and what it
//! costs is what a stopwatch in it says, in each recording. The bottlenecks mostly sleep in code of
//! their own, so that a loaded machine changes the cost, which the stopwatch measures, and not the
//! culprit. `SELVEDGE_PIPELINE_ROUNDS` says how often each is recorded.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::retried;
use parking_lot::MutexGuard;
use selvedge::profile::{self, Clock, Options, Profile};
use selvedge::{Lock, Progress, Promise, Queue, Signal, Thread, Till, spawn};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The calling thread is `main/test` from here on.
fn alone() -> (selvedge::Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

/// What a bottleneck costs, by its own stopwatch.
#[derive(Default)]
struct Stopwatch(AtomicU64);

impl Stopwatch {
    fn time<R>(&self, work: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = work();
        self.add(began.elapsed());
        result
    }

    fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

// Each bottleneck is a function of its own, so that the tables can name it.

#[inline(never)]
fn culprit(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
    black_box(());
}

/// Uses its processor for that time. On a loaded machine it takes longer.
#[inline(never)]
fn culprit_computes(ms: u64) {
    let clock = || Thread::current().cpu_time().expect("a CPU clock");
    let end = clock() + Duration::from_millis(ms);
    while clock() < end {
        (0..20_000).for_each(|n| _ = black_box(n));
    }
}

#[inline(never)]
fn bystander(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
    // Another body than the culprit's: the compiler makes one function of two equal ones.
    black_box(ms);
}

fn record(body: impl FnOnce()) -> Profile {
    let options = Options::new().clock(Clock::Wall).frequency(500).waits(true);
    let recording = profile::start(options).unwrap();
    body();
    recording.finish()
}

/// Records the pipeline. The first line of the critical path has `what`, and was done by threads whose
/// paths begin with `path`; blame names the same first. It took what the stopwatch says, within a
/// twentieth.
///
/// Other programs may take the processors from the sampler and from the pipeline. Then the pipeline
/// takes longer, and the stopwatch says so too. Time in which a thread that was woken had no processor
/// yet, `runnable`, is no part of the pipeline, and may be the longest on such a machine. The run had
/// to wait for that then, and what the culprit did meanwhile cost nothing.
///
/// A disturbed run is made again: by the stopwatch, the culprit did not take most of the time, or the
/// sampler never met it. A run with another cost is made again, too: the clock's ticks may be late on
/// such a machine. Each round has a minute for that.
#[track_caller]
fn check(path: &str, what: &str, pipeline: impl Fn(&Arc<Stopwatch>)) -> Profile {
    let rounds = std::env::var("SELVEDGE_PIPELINE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2);
    let (mut last, mut round, mut began) = (None, 1, Instant::now());
    while round <= rounds {
        let watch = Arc::new(Stopwatch::default());
        let profile = record(|| pipeline(&watch));
        let critical = profile.critical_path();
        let blame = profile.blame();
        let shown = || format!("round {round}, {:?}\n{critical}\n{blame}", watch.total());
        let sum: Duration = critical.functions().iter().map(|function| function.time()).sum();
        assert_eq!(sum, critical.length(), "{}", shown());
        let is_met = profile.threads().iter().any(|thread| thread.path().starts_with(path) && thread.samples() > 0);
        if is_met && watch.total() >= critical.length().mul_f64(0.6) {
            let first = critical.functions().iter().find(|function| function.what() != "runnable").unwrap();
            let cause = blame.causes().iter().find(|cause| cause.what() != "runnable").unwrap();
            assert!(first.what().contains(what), "{}", shown());
            assert!(first.threads().iter().all(|(thread, _)| thread.starts_with(path)), "{}", shown());
            assert!(cause.what().contains(what) && cause.path().starts_with(path), "{}", shown());
            // On a processor and outside are two lines.
            let time_of = |is_it: &dyn Fn(&str) -> bool| -> f64 {
                let those = critical.functions().iter().filter(|function| is_it(function.what()));
                those.map(|function| function.time()).sum::<Duration>().as_secs_f64() / watch.total().as_secs_f64()
            };
            let (share, hidden) = (time_of(&|name| name.contains(what)), time_of(&|name| name == "runnable"));
            println!("{share:.3} of {:?}: {}; {} {}", watch.total(), first.what(), cause.path(), cause.what());
            if share < 1.05 && share + hidden > 0.95 {
                last = Some(profile);
                round += 1;
                began = Instant::now();
                continue;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{is_met}: {}", shown());
    }
    last.expect("at least one round")
}

/// Four threads do something under one lock, each for a short time.
fn clerks(watch: &Arc<Stopwatch>, work: fn()) {
    let ledger = Arc::new(Lock::new("ledger", 0));
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let (ledger, watch) = (ledger.clone(), watch.clone());
            spawn(format!("clerk-{n}"), move |_| {
                for _ in 0..12 {
                    let mut ledger = ledger.lock();
                    watch.time(work);
                    *ledger += 1;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_lock_convoy_is_the_work_under_the_lock() {
    let _alone = alone();
    check("main/test/clerk-", "lost_time::culprit", |watch| clerks(watch, || culprit(10)));
}

/// The same with threads that compute: what they are kept from their processors is part of the cost.
#[test]
fn work_under_a_lock_counts_with_its_time_without_a_processor() {
    let _alone = alone();
    check("main/test/clerk-", "lost_time::culprit_computes", |watch| clerks(watch, || culprit_computes(8)));
}

#[test]
fn a_slow_consumer_behind_a_bounded_queue_is_named_and_not_the_producer() {
    let _alone = alone();
    let profile = check("main/test/consumer", "lost_time::culprit", |watch| {
        let jobs = Queue::bounded("jobs", 4);
        let producer = spawn("producer", {
            let jobs = jobs.clone();
            move |_| {
                (0..100).for_each(|n| jobs.add(n).unwrap());
                jobs.close();
            }
        });
        let consumer = spawn("consumer", {
            let watch = watch.clone();
            move |_| {
                while jobs.pop().is_some() {
                    watch.time(|| culprit(5));
                }
            }
        });
        producer.join().unwrap();
        consumer.join().unwrap();
    });
    let blame = profile.blame();
    let producer = blame.waiting().iter().find(|thread| thread.path() == "main/test/producer").unwrap();
    assert_eq!(producer.causes()[0].path(), "main/test/consumer", "{blame}");
}

#[test]
fn one_slow_reader_of_eight_is_named() {
    let _alone = alone();
    check("main/test/reader-5", "lost_time::culprit", |watch| {
        let readers: Vec<_> = (0..8)
            .map(|n| {
                let watch = watch.clone();
                spawn(format!("reader-{n}"), move |_| {
                    for _ in 0..20 {
                        if n == 5 { watch.time(|| culprit(20)) } else { bystander(2) }
                    }
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// In each round one thread comes late to where all meet. What it did in a round in which another thread
/// came later still cost nothing.
#[test]
fn the_late_one_at_a_barrier_is_named() {
    const ROUNDS: usize = 15;
    let _alone = alone();
    check("main/test/member-2", "lost_time::culprit", |watch| {
        let arrived = Arc::new(Progress::new("arrived"));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let arrived = arrived.clone();
                spawn(format!("member-{n}"), move |_| {
                    let round = |round| {
                        let began = Instant::now();
                        if n == 2 {
                            culprit(30)
                        } else {
                            bystander(3)
                        }
                        let came = Instant::now();
                        arrived.advance(1);
                        arrived.wait_for(4 * (round as u64 + 1));
                        (came, came - began)
                    };
                    (0..ROUNDS).map(round).collect::<Vec<_>>()
                })
            })
            .collect();
        let times: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for round in 0..ROUNDS {
            let (came, took) = times[2][round];
            if times.iter().all(|times| times[round].0 <= came) {
                watch.add(took);
            }
        }
    });
}

#[test]
fn a_timer_that_paces_the_work_is_named() {
    const PACE: Duration = Duration::from_millis(10);
    let _alone = alone();
    check("main/test/pacer", "ended by the clock", |watch| {
        let beats = Queue::unbounded("beats");
        let pacer = spawn("pacer", {
            let (beats, watch) = (beats.clone(), watch.clone());
            move |_| {
                for n in 0..40 {
                    // Until the clock ends the wait; what the thread then waits for a processor is not
                    // the clock's.
                    watch.add(PACE);
                    Till::after(PACE).wait_for_go();
                    beats.add(n).unwrap();
                }
            }
        });
        (0..40).for_each(|n| assert_eq!(beats.pop(), Some(n)));
        pacer.join().unwrap();
    });
}

#[test]
fn a_thread_that_is_stuck_outside_is_named_with_the_call() {
    let _alone = alone();
    check("main/test/asker", "nanosleep` of `profiles::lost_time::culprit", |watch| {
        let answer = Arc::new(Promise::new("answer"));
        let claim = answer.claim().unwrap();
        let asker = spawn("asker", {
            let watch = watch.clone();
            move |_| {
                watch.time(|| culprit(400));
                claim.fulfil(7);
            }
        });
        assert_eq!(*answer.wait().unwrap(), 7);
        asker.join().unwrap();
    });
}

/// `high` needs a lock that `low` holds, which waits for `middle`.
#[test]
fn a_holder_that_waits_itself_is_followed_to_the_thread_that_it_waits_for() {
    let _alone = alone();
    let profile = check("main/test/middle", "lost_time::culprit", |watch| {
        let disk = Arc::new(Lock::new("disk", ()));
        let (held, done) = (Signal::new("held"), Signal::new("done"));
        let middle = spawn("middle", {
            let (watch, held, done) = (watch.clone(), held.clone(), done.clone());
            move |_| {
                held.wait_for_go();
                watch.time(|| culprit(400));
                done.go();
            }
        });
        let low = spawn("low", {
            let (disk, held) = (disk.clone(), held.clone());
            move |_| {
                let disk = disk.lock();
                held.go();
                done.wait_for_go();
                drop(disk);
            }
        });
        let high = spawn("high", move |_| {
            held.wait_for_go();
            drop(disk.lock());
        });
        high.join().unwrap();
        low.join().unwrap();
        middle.join().unwrap();
    });
    let blame = profile.blame();
    let high = blame.waiting().iter().find(|thread| thread.path() == "main/test/high").unwrap();
    assert_eq!(high.causes()[0].path(), "main/test/middle", "{blame}");
}

/// The watcher waits longest by far, and nothing waits for it.
#[test]
fn a_long_wait_that_harms_nothing_is_not_named() {
    let _alone = alone();
    check("main/test/worker", "lost_time::culprit", |watch| {
        let stop = Signal::new("stop");
        let watchers: Vec<_> =
            (0..3)
                .map(|n| {
                    let stop = stop.clone();
                    spawn(format!("watcher-{n}"), move |_| {
                        while !stop.wait_for_go_till(&Till::after(Duration::from_secs(10))) {}
                    })
                })
                .collect();
        let results = Queue::unbounded("results");
        let worker = spawn("worker", {
            let (results, watch) = (results.clone(), watch.clone());
            move |_| {
                for n in 0..60 {
                    watch.time(|| culprit(5));
                    results.add(n).unwrap();
                }
            }
        });
        (0..60).for_each(|n| assert_eq!(results.pop(), Some(n)));
        worker.join().unwrap();
        stop.go();
        watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
    });
}

#[test]
fn the_pictures_and_the_timeline_have_what_the_tables_have() {
    let _alone = alone();
    retried(Duration::from_millis(300), check_pictures);
}

/// Objects if the blame misses the time for which the culprit kept the other thread waiting.
fn check_pictures(length: Duration) -> Result<(), String> {
    let mut kept = Duration::ZERO;
    let profile = record(|| {
        let results = Queue::unbounded("results");
        let worker = spawn("worker", {
            let results = results.clone();
            move |_| {
                culprit(length.as_millis() as u64);
                let done = Instant::now();
                results.add(1).unwrap();
                done
            }
        });
        let began = Instant::now();
        assert_eq!(results.pop(), Some(1));
        kept = worker.join().unwrap().saturating_duration_since(began);
    });
    let text = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let path = text(&|out| profile.critical_path().write_folded(out).unwrap());
    let all: u64 = path.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(u128::from(all), profile.critical_path().length().as_nanos());
    let folded = text(&|out| profile.write_blame_folded(out).unwrap());
    let worker = folded.lines().filter(|line| line.starts_with("main;test;worker;"));
    let nanos: u64 = worker.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    if nanos as f64 <= 0.9 * kept.as_nanos() as f64 || !folded.contains("culprit") {
        return Err(format!("{nanos} ns of {kept:?}: {folded}"));
    }
    let svg = text(&|out| profile.write_blame(out, &profile::FlameOptions::new()).unwrap());
    assert!(svg.contains("culprit") && svg.contains("while others waited"), "{svg}");
    let timeline = text(&|out| profile.write_timeline(out).unwrap());
    for part in ["\"name\":\"main/test/worker\"", "queue \\\"results\\\"", "terminating-flow-id", "culprit"] {
        assert!(timeline.contains(part), "{part}");
    }
    Ok(())
}

#[test]
fn without_counted_waits_all_of_it_is_empty() {
    let _alone = alone();
    let recording = profile::start(Options::new()).unwrap();
    spawn("worker", |_| ()).join().unwrap();
    let profile = recording.finish();
    assert!(profile.blame().causes().is_empty() && profile.blame().waiting().is_empty());
    assert!(profile.critical_path().steps().is_empty() && profile.critical_path_of("x").is_none());
    assert!(profile.critical_path().to_string().contains("waits were not recorded"));
    profile.write_blame(std::io::sink(), &profile::FlameOptions::new()).unwrap();
    profile.write_timeline(std::io::sink()).unwrap();
}
