//! Claims about what a dump and the end of a recording cost: the time, the memory, the size of the
//! picture, and the share of `[unsampled]` where many threads end soon. Prints tables; there is no
//! rival. Sections can be named: `dump`, `naming`, `svg`, `wall`.

mod support;

use selvedge::profile::{self, Clock, FlameOptions, Options, Profile};
use selvedge::{JoinHandle, spawn};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{measuring, scaled};

fn main() {
    let sections: [(&str, fn()); 4] =
        [("dump", dumps), ("naming", naming), ("svg", pictures), ("wall", many_short_waits)];
    let is_named = |name: &str| std::env::args().any(|arg| arg == name);
    let all = !sections.iter().any(|(name, _)| is_named(name));
    let size = std::env::current_exe().and_then(std::fs::metadata).map_or(0, |metadata| metadata.len());
    println!("this program with its debug information: {} MB", size / 1_000_000);
    for (name, section) in sections {
        if all || is_named(name) {
            section();
        }
    }
}

/// What a step took.
struct Taken {
    time: Duration,
    /// The peak of resident memory above what was there, and what stays of that: MiB.
    peak: f64,
    stays: f64,
}

/// Does one step and measures it.
fn measured<T>(step: impl FnOnce() -> T) -> (T, Taken) {
    // Makes the peak what is resident now. Linux only; elsewhere the figures are 0.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (before, begin) = (status("VmRSS:"), Instant::now());
    let made = step();
    let time = begin.elapsed();
    let above = |now: f64| (now - before).max(0.0);
    (made, Taken { time, peak: above(status("VmHWM:")), stays: above(status("VmRSS:")) })
}

/// A line of `/proc/self/status`, in MiB.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn heading(title: &str) {
    println!("\n{title}");
    println!("| {:<54} | {:>9} | {:>14} | {:>12} |", "", "ms", "peak above MiB", "stays MiB");
    println!("|{:-<56}|{:->11}|{:->16}|{:->14}|", "", ":", ":", ":");
}

fn row(name: &str, taken: &Taken) {
    let ms = taken.time.as_secs_f64() * 1e3;
    println!("| {name:<54} | {ms:>9.1} | {:>14.1} | {:>12.1} |", taken.peak, taken.stays);
}

/// Dumps with stacks of 1,000 and of 10,000 threads that wait.
fn dumps() {
    heading("a dump with stacks");
    for crowd in [scaled(1_000, 10), scaled(10_000, 20)] {
        let threads = waiting(crowd, Duration::ZERO);
        let (dump, taken) = measured(selvedge::dump);
        row(&format!("{crowd} threads, first; {}", told(&dump)), &taken);
        let mut again: Vec<_> = (0..scaled(7, 1)).map(|_| measured(selvedge::dump)).collect();
        again.sort_by_key(|(_, taken)| taken.time);
        for (what, place) in [("least of 7", 0), ("median", again.len() / 2)] {
            let (dump, taken) = &again[place];
            row(&format!("{crowd} threads, again, {what}; {}", told(dump)), taken);
        }
        end(threads);
    }
}

fn told(dump: &selvedge::Dump) -> String {
    let text = dump.to_string();
    format!("{} kB, {} without", text.len() / 1000, text.matches("[no stack").count())
}

/// Two snapshots and the end of a recording.
fn naming() {
    heading("names at the end of a recording");
    let recording = profile::start(Options::new().frequency(1000)).expect("a recording starts");
    work(scaled(1_500, 20));
    row("first snapshot and its names", &measured(|| named(recording.snapshot())).1);
    work(scaled(200, 20));
    row("second snapshot and its names", &measured(|| named(recording.snapshot())).1);
    let (profile, taken) = measured(|| named(recording.finish()));
    row("the end and its names", &taken);
    row("its flamegraph", &measured(|| svg(&profile)).1);
}

/// A picture of distinct deep stacks.
fn pictures() {
    heading("a flamegraph of distinct stacks, 60 calls deep");
    let count = scaled(5_000, 5);
    let recording = profile::start(Options::new().frequency(1000)).expect("a recording starts");
    for number in 0..count as u64 {
        left(60, number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    let (profile, taken) = measured(|| named(recording.finish()));
    row(&format!("{count} stacks: the end of the recording"), &taken);
    let (picture, taken) = measured(|| svg(&profile));
    row(&format!("{count} stacks: a picture of {} kB", picture.len() / 1000), &taken);
}

/// The share of `[unsampled]` by the wall clock, where many threads compute, wait, and end soon.
fn many_short_waits() {
    println!("\nby the wall clock: threads that compute 1 ms, wait, and end within 3 s");
    println!("| {:>7} | {:>11} | {:>12} |", "threads", "wall time s", "[unsampled]");
    println!("|{:->9}|{:->13}|{:->14}|", ":", ":", ":");
    for crowd in [scaled(2_500, 10), scaled(4_000, 20)] {
        let recording = profile::start(Options::new().clock(Clock::Wall)).expect("a recording starts");
        let threads = waiting(crowd, Duration::from_millis(1));
        thread::sleep(Duration::from_millis(scaled(1_500, 20) as u64));
        end(threads);
        let profile = recording.finish();
        let of_crowd = || profile.threads().iter().filter(|thread| thread.path().contains("/member-"));
        let wall: f64 = of_crowd().map(|thread| thread.wall_time().as_secs_f64()).sum();
        let unsampled: f64 = of_crowd().map(|thread| thread.unsampled_time().as_secs_f64()).sum();
        println!("| {crowd:>7} | {wall:>11.1} | {:>10.2} % |", 100.0 * unsampled / wall.max(f64::MIN_POSITIVE));
    }
}

/// The profile, with the names of its functions: they are found by the first call that needs one.
fn named(profile: Profile) -> Profile {
    profile.write_folded(std::io::sink()).expect("a sink takes all");
    profile
}

fn svg(profile: &Profile) -> Vec<u8> {
    let mut picture = Vec::new();
    profile.write_flamegraph(&mut picture, &FlameOptions::new()).expect("a picture");
    picture
}

/// Threads that compute for so long, and then wait for their stop. Returns when all of them wait.
fn waiting(crowd: usize, compute: Duration) -> Vec<JoinHandle<()>> {
    let up = Arc::new(AtomicUsize::new(0));
    let one = |number| {
        let up = up.clone();
        spawn(format!("member-{number}"), move |please_stop| {
            let begin = Instant::now();
            while begin.elapsed() < compute {
                black_box(number);
            }
            up.fetch_add(1, Ordering::SeqCst);
            please_stop.wait_for_go();
        })
    };
    let threads = (0..crowd).map(one).collect();
    while up.load(Ordering::SeqCst) < crowd {
        thread::sleep(Duration::from_micros(500));
    }
    threads
}

fn end(threads: Vec<JoinHandle<()>>) {
    threads.iter().for_each(JoinHandle::stop);
    threads.into_iter().for_each(|thread| thread.join().expect("it has only waited"));
}

/// Computes in many functions of the standard library and of this crate.
fn work(milliseconds: usize) {
    let till = Instant::now() + Duration::from_millis(milliseconds as u64);
    let mut round = 0u64;
    while Instant::now() < till {
        round += 1;
        let mut texts: Vec<String> = (0..500).map(|n| format!("{:x}-{:.3}", n * round, n as f64 / 7.0)).collect();
        texts.sort();
        texts.dedup_by(|a, b| a.len() == b.len());
        let map: std::collections::BTreeMap<_, _> = texts.iter().map(|text| (text.as_str(), text.len())).collect();
        black_box(map.values().sum::<usize>());
        black_box(selvedge::Thread::current().path().to_owned());
        black_box("1.5".parse::<f64>().ok());
        if measuring() && round.is_multiple_of(50) {
            spawn("short", |_| black_box(1)).join().expect("it returns");
        }
    }
}

/// Goes down by `left` and `right`, as the bits say, and computes for two milliseconds.
#[inline(never)]
fn left(depth: u32, bits: u64) -> u64 {
    down(depth, bits) + 1
}

#[inline(never)]
fn right(depth: u32, bits: u64) -> u64 {
    down(depth, bits) + 2
}

#[inline(always)]
fn down(depth: u32, bits: u64) -> u64 {
    if depth == 0 {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(2) {
            black_box(bits);
        }
        return bits;
    }
    let next = if bits & 1 == 0 { left } else { right };
    black_box(next(depth - 1, bits >> 1))
}
