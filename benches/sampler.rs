//! What the sampler gives and what it costs, by signals and by the kernel's rings, beside the pprof
//! crate (`Engine::Process`) in the same run: `cargo bench --features pprof-engine --bench sampler
//! [-- SECTION…]`; `benches/sampler.sh [SECTION…]` adds dial9-perf-self-profile. Sections: table,
//! cost, handler, spawn, memory, wall. Prints tables; asserts nothing.

#[path = "support/counting.rs"]
mod counting;
#[path = "../tests/support/split.rs"]
mod split;

use selvedge::profile::{self, Clock, Engine, Options, Profile};
use selvedge::{JoinHandle, Signal, spawn};
use split::{one_part, three_parts};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let sections: [(&str, fn()); 6] = [
        ("table", table),
        ("cost", cost),
        ("handler", handler),
        ("spawn", spawning),
        ("memory", memory),
        ("wall", wall),
    ];
    for (name, section) in sections {
        if named.is_empty() || named.iter().any(|named| named == name) {
            section();
        }
    }
}

/// `full` when measuring, else as little as still passes through everything.
fn scaled(full: u64, quick: u64) -> u64 {
    let quickly = std::env::args().any(|arg| arg == "--test") || cfg!(debug_assertions);
    if quickly { quick } else { full }
}

fn thread_clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The share of `three_parts`, by the clock.
fn truth() -> f64 {
    let timed = |part: fn() -> u64| {
        let mut times: Vec<f64> = (0..2001)
            .map(|_| {
                let began = Instant::now();
                part();
                began.elapsed().as_secs_f64()
            })
            .collect();
        middle(&mut times)
    };
    let (three, one) = (timed(three_parts), timed(one_part));
    three / (three + one)
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[derive(Clone, Copy, PartialEq)]
enum Contender {
    None,
    Ours,
    Ring,
    Pprof,
    #[cfg(dial9)]
    Dial9,
}

impl Contender {
    const ALL: &[Contender] = &[
        Contender::None,
        Contender::Ours,
        Contender::Ring,
        Contender::Pprof,
        #[cfg(dial9)]
        Contender::Dial9,
    ];

    fn name(self) -> &'static str {
        match self {
            Contender::None => "none",
            Contender::Ours => "signals",
            Contender::Ring => "ring",
            Contender::Pprof => "pprof",
            #[cfg(dial9)]
            Contender::Dial9 => "dial9",
        }
    }
}

/// Of one contender, added up over the rounds.
#[derive(Default)]
struct Sums {
    cpu: f64,
    samples: u64,
    lost: u64,
    weights: f64,
    three: f64,
    one: f64,
    /// CPU time of the sampler's own thread.
    own: f64,
    /// CPU time beside that without a sampler, of each round.
    ratios: Vec<f64>,
}

fn workers(threads: u64, rounds: u64) -> Vec<JoinHandle<Duration>> {
    let run = move |_: &Signal| {
        #[cfg(dial9)]
        let _ = dial9_perf_self_profile::register_current_thread();
        let began = thread_clock();
        for _ in 0..rounds / threads {
            three_parts();
            one_part();
        }
        let used = thread_clock() - began;
        #[cfg(dial9)]
        dial9_perf_self_profile::unregister_current_thread();
        used
    };
    (0..threads).map(|n| spawn(format!("w-{n}"), run)).collect()
}

/// Waits, coming by now and then.
fn joined(workers: Vec<JoinHandle<Duration>>, mut meanwhile: impl FnMut()) -> f64 {
    while workers.iter().any(|worker| worker.thread().is_alive()) {
        std::thread::sleep(Duration::from_millis(20));
        meanwhile();
    }
    workers.into_iter().map(|worker| worker.join().expect("no panic").as_secs_f64()).sum()
}

/// All rounds of work, shared out among the threads, under that sampler.
fn measure(contender: Contender, threads: u64, frequency: u32, work: u64, sums: &mut Sums) -> f64 {
    let cpu = match contender {
        Contender::None => joined(workers(threads, work), || ()),
        Contender::Ours => recorded(Engine::Timer, threads, frequency, work, sums),
        Contender::Ring => recorded(Engine::Ring, threads, frequency, work, sums),
        Contender::Pprof => recorded(Engine::Process, threads, frequency, work, sums),
        #[cfg(dial9)]
        Contender::Dial9 => dial9(threads, frequency, work, sums),
    };
    sums.cpu += cpu;
    cpu
}

fn recorded(engine: Engine, threads: u64, frequency: u32, work: u64, sums: &mut Sums) -> f64 {
    let recording = profile::start(Options::new().engine(engine).frequency(frequency)).expect("it starts");
    let cpu = joined(workers(threads, work), || ());
    let profile = recording.finish();
    assert_eq!(profile.engine(), engine, "the system refuses it");
    for thread in profile.threads() {
        if thread.path().contains("/w-") {
            sums.samples += thread.samples();
            sums.lost += thread.lost();
            sums.weights += (thread.sampled_time() + thread.unsampled_time()).as_secs_f64();
        } else if thread.path().ends_with("/sampler") {
            sums.own += thread.cpu_time().as_secs_f64();
        }
    }
    sums.three += weight(&profile, "three_parts");
    sums.one += weight(&profile, "one_part");
    cpu
}

fn weight(profile: &Profile, part: &str) -> f64 {
    let mut text = Vec::new();
    profile.write_folded(&mut text).expect("a Vec takes it");
    let text = String::from_utf8(text).expect("text");
    let lines = text.lines().filter(|line| line.contains(part));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(dial9)]
fn dial9(threads: u64, frequency: u32, work: u64, sums: &mut Sums) -> f64 {
    use dial9_perf_self_profile::{EventSource, PerfSampler, SamplerConfig, SamplingMode};
    // By frequency: with a period it samples the thread alone that starts it.
    let rate = SamplingMode::FrequencyHz(u64::from(frequency));
    let config = SamplerConfig::default().event_source(EventSource::SwCpuClock).sampling(rate);
    let mut sampler = PerfSampler::start(config.include_kernel(false)).expect("dial9 starts");
    let mut samples = Vec::new();
    let workers = workers(threads, work);
    let cpu = joined(workers, || samples.extend(sampler.drain_samples()));
    sampler.disable();
    samples.extend(sampler.drain_samples());
    let starts = [three_parts as fn() -> u64 as usize as u64, one_part as fn() -> u64 as usize as u64];
    for sample in samples {
        let within = |start: u64| sample.callchain.iter().any(|&address| address > start && address < start + 40);
        sums.samples += 1;
        sums.weights += sample.period as f64 / 1e9;
        sums.three += f64::from(u8::from(within(starts[0])));
        sums.one += f64::from(u8::from(within(starts[1])));
    }
    cpu
}

/// All contenders in turn, in turning order, in each round.
fn rounds(threads: u64, frequency: u32, work: u64, rounds: u64) -> Vec<(Contender, Sums)> {
    let mut sums: Vec<(Contender, Sums)> =
        Contender::ALL.iter().map(|&contender| (contender, Sums::default())).collect();
    let count = sums.len();
    for round in 0..rounds as usize {
        let mut times = vec![0.0; count];
        for turn in 0..count {
            let which = (turn + round) % count;
            let (contender, sums) = &mut sums[which];
            times[which] = measure(*contender, threads, frequency, work, sums);
        }
        for (which, (_, sums)) in sums.iter_mut().enumerate() {
            sums.ratios.push(times[which] / times[0]);
        }
    }
    sums
}

fn table() {
    let truth = truth();
    println!(
        "\nof fixed work: samples got of those due at the rate asked for, those counted as lost, the sum of the weights"
    );
    println!("beside the CPU clocks, error of a known split in points, CPU time beside none (median of the rounds)\n");
    println!("| threads |   Hz | sampler  | samples | got/due | lost | weights | split off by | CPU beside none |");
    println!("|--------:|-----:|----------|--------:|--------:|-----:|--------:|-------------:|----------------:|");
    for threads in [1, 2, 8, 64] {
        for frequency in [100, 250, 1000] {
            let measured = rounds(threads, frequency, scaled(24_000, 64), scaled(5, 1));
            for (contender, mut sums) in measured.into_iter().filter(|(contender, _)| *contender != Contender::None) {
                println!(
                    "| {threads:>7} | {frequency:>4} | {:<8} | {:>7} | {:>6.1}% \
                     | {:>4} | {:>6.2}% | {:>12.2} | {:>+14.2}% |",
                    contender.name(),
                    sums.samples,
                    100.0 * sums.samples as f64 / (sums.cpu * f64::from(frequency)),
                    sums.lost,
                    100.0 * sums.weights / sums.cpu,
                    100.0 * (sums.three / (sums.three + sums.one) - truth).abs(),
                    100.0 * (middle(&mut sums.ratios) - 1.0),
                );
            }
        }
    }
}

/// The slow-down of a fixed amount of work on two threads, in many short rounds.
fn cost() {
    println!("\nslow-down of fixed work on two threads: quartiles of CPU time beside that without, within each round;");
    println!("accounted: the sampler's own thread, and the handler's calls at what one takes\n");
    println!("|   Hz | sampler  |     25 % |   median |     75 % | own thread | calls |");
    println!("|-----:|----------|---------:|---------:|---------:|-----------:|------:|");
    let call = one_call().0;
    let mut medians = Vec::new();
    for frequency in [100, 250, 1000] {
        for (contender, mut sums) in rounds(2, frequency, scaled(8_000, 64), scaled(40, 1)) {
            if contender == Contender::None {
                continue;
            }
            let median = middle(&mut sums.ratios);
            medians.push((contender, median));
            let quartile = |n: usize| 100.0 * (sums.ratios[sums.ratios.len() * n / 4] - 1.0);
            print!("| {frequency:>4} | {:<8} | {:>+7.2}% |", contender.name(), quartile(1));
            print!(" {:>+7.2}% | {:>+7.2}% |", 100.0 * (median - 1.0), quartile(3));
            if contender == Contender::Ours {
                let calls = sums.samples as f64 * call / 1e6;
                println!(" {:>9.2}% | {:>4.2}% |", 100.0 * sums.own / sums.cpu, 100.0 * calls / sums.cpu);
            } else if contender == Contender::Ring {
                println!(" {:>9.2}% | {:>5} |", 100.0 * sums.own / sums.cpu, "");
            } else {
                println!(" {:>10} | {:>5} |", "", "");
            }
        }
    }
    // The last ones are those of 1000 Hz.
    let last = |wanted| medians.iter().rev().find(|(contender, _)| *contender == wanted).map(|(_, median)| median);
    #[cfg(dial9)]
    if let (Some(ring), Some(dial9)) = (last(Contender::Ring), last(Contender::Dial9)) {
        println!("\nat 1000 Hz, slow-down by the ring less that by dial9: {:+.2} points", 100.0 * (ring - dial9));
    }
    if let (Some(ring), Some(signals)) = (last(Contender::Ring), last(Contender::Ours)) {
        println!("\nat 1000 Hz, slow-down by the ring less that by signals: {:+.2} points", 100.0 * (ring - signals));
    }
}

#[inline(never)]
fn deep(depth: u32, leaf: &mut dyn FnMut()) {
    if depth == 0 {
        leaf()
    } else {
        deep(depth - 1, black_box(leaf))
    }
    black_box(depth);
}

/// SIGPROF to oneself, at depth 25, with a recording and after it: the two times in microseconds.
fn one_call() -> (f64, f64) {
    fn hits() -> f64 {
        let mut times = Vec::new();
        for _ in 0..scaled(100, 2) {
            deep(20, &mut || {
                // SAFETY: a signal to the calling thread, which has a handler for it.
                let hit = || unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGPROF) };
                hit();
                let began = Instant::now();
                for _ in 0..20 {
                    hit();
                }
                times.push(began.elapsed().as_nanos() as f64 / 20_000.0);
            });
            std::thread::sleep(Duration::from_millis(10));
        }
        middle(&mut times)
    }
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(1000)).expect("it starts");
    let sampled = spawn("hits", |_| hits()).join().expect("no panic");
    recording.finish();
    let inert = spawn("hits", |_| hits()).join().expect("no panic");
    (sampled, inert)
}

fn handler() {
    let (sampled, inert) = one_call();
    println!(
        "\na signal to oneself that takes a sample at depth 25: {sampled:.2} µs; that finds nothing: {inert:.2} µs."
    );
    println!("The sample: {:.2} µs", sampled - inert);
}

/// With and without in turn, in short rounds.
fn spawning() {
    fn each() -> f64 {
        let mut times: Vec<f64> = (0..scaled(8000, 5))
            .map(|n| {
                let began = Instant::now();
                spawn("s", move |_| n).join().expect("no panic");
                began.elapsed().as_nanos() as f64 / 1000.0
            })
            .collect();
        middle(&mut times)
    }
    println!("\nspawn and join, medians of rounds in turn\n");
    println!(
        "|   Hz | sampler | plain µs | recorded µs | recorded/plain | least |\n\
         |-----:|---------|---------:|------------:|---------------:|------:|"
    );
    each();
    let engines = [(100, Engine::Timer), (250, Engine::Timer), (1000, Engine::Timer), (1000, Engine::Ring)];
    for (frequency, engine) in engines {
        let (mut plain, mut recorded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..scaled(12, 1) {
            let without = each();
            let recording = profile::start(Options::new().engine(engine).frequency(frequency)).expect("it starts");
            let with = each();
            drop(recording);
            plain.push(without);
            recorded.push(with);
            ratios.push(with / without);
        }
        let ratio = middle(&mut ratios);
        let (plain, recorded) = (middle(&mut plain), middle(&mut recorded));
        println!(
            "| {frequency:>4} | {:<7} | {plain:>8.1} | {recorded:>11.1} | {ratio:>14.2} | {:>5.2} |",
            engine.to_string(),
            ratios[0]
        );
    }
}

fn memory() {
    const THREADS: usize = 200;
    let threads: Vec<_> =
        (0..THREADS).map(|n| spawn(format!("parked-{n}"), |please_stop| please_stop.wait_for_go())).collect();
    let before = counting::bytes();
    let recording = profile::start(Options::new().engine(Engine::Timer)).expect("it starts");
    let after = counting::bytes();
    println!("\nmemory for each of {THREADS} threads: {} KiB", (after - before) / 1024 / THREADS as i64);
    drop(recording);
    for thread in threads {
        thread.stop();
        thread.join().expect("no panic");
    }
}

/// What the sampler uses of a core while a thousand threads wait, in this crate and elsewhere.
fn wall() {
    println!("\nblocked threads: CPU time of the sampler's thread, of one core\n");
    println!("| threads | clock |   Hz | wait in           |  of a core |");
    println!("|--------:|-------|-----:|-------------------|-----------:|");
    let clocks = [(Clock::Wall, 100), (Clock::Wall, 1000), (Clock::Cpu, 100), (Clock::Cpu, 1000)];
    let counts = [scaled(1000, 10), scaled(8000, 20)];
    for (threads, (clock, frequency)) in counts.into_iter().flat_map(|threads| clocks.map(|clock| (threads, clock))) {
        for (place, foreign) in [("this crate", 0), ("half in each", threads / 2), ("foreign calls", threads)] {
            let (read, write) = std::io::pipe().expect("a pipe");
            let write = std::sync::Arc::new(write);
            let spawned: Vec<_> = (0..threads)
                .map(|n| {
                    let mut read = read.try_clone().expect("a file");
                    spawn(format!("b-{n}"), move |please_stop| {
                        if n < foreign {
                            let _ = std::io::Read::read(&mut read, &mut [0]);
                        } else {
                            please_stop.wait_for_go();
                        }
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300));
            let recording = profile::start(Options::new().clock(clock).frequency(frequency)).expect("it starts");
            // What they answer at first is not what they cost.
            std::thread::sleep(Duration::from_millis(scaled(500, 20)));
            let of_sampler = |profile: &Profile| {
                let found = profile.threads().iter().find(|thread| thread.path().ends_with("/sampler"));
                found.map_or(0.0, |thread| thread.cpu_time().as_secs_f64())
            };
            let before = of_sampler(&recording.snapshot());
            let began = Instant::now();
            std::thread::sleep(Duration::from_millis(scaled(3000, 50)));
            let profile = recording.finish();
            let share = (of_sampler(&profile) - before) / began.elapsed().as_secs_f64();
            println!("| {threads:>7} | {clock:<5} | {frequency:>4} | {place:<17} | {:>9.2}% |", 100.0 * share);
            spawned.iter().for_each(|thread| thread.stop());
            drop(std::sync::Arc::into_inner(write));
            spawned.into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}
