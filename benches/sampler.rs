//! What the sampler gives and what it costs, beside the pprof crate (`Engine::Process`) in the same run:
//! `cargo bench --features profiling --bench sampler`. Prints tables; asserts nothing.

use selvedge::profile::{self, Engine, Options, Profile};
use selvedge::spawn;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

static BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

// SAFETY: what is asked is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    accuracy();
    handler();
    spawning();
    memory();
}

#[inline(never)]
fn spin(rounds: u64) -> u64 {
    let mut x = rounds;
    for i in 0..rounds {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    x
}

#[inline(never)]
fn three_parts() -> u64 {
    black_box(spin(30_000))
}

#[inline(never)]
fn one_part() -> u64 {
    black_box(spin(10_000))
}

fn thread_clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// All rounds, shared out among the threads; gives the CPU time of all of them.
fn work(threads: u64, rounds: u64) -> Duration {
    let run = move |_: &selvedge::Signal| {
        let began = thread_clock();
        for _ in 0..rounds / threads {
            three_parts();
            one_part();
        }
        thread_clock() - began
    };
    let handles: Vec<_> = (0..threads).map(|n| spawn(format!("w-{n}"), run)).collect();
    handles.into_iter().map(|handle| handle.join().expect("no panic")).sum()
}

fn weight(profile: &Profile, part: &str) -> f64 {
    let mut text = Vec::new();
    profile.write_folded(&mut text).expect("a Vec takes it");
    let text = String::from_utf8(text).expect("text");
    let lines = text.lines().filter(|line| line.contains(part));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn accuracy() {
    const ROUNDS: u64 = 48_000;
    println!("samples got / due by the rate asked for; weights / CPU clocks; known split; CPU time beside none");
    println!(
        "{:<8} {:>4} {:>3} {:>8} {:>9} {:>9} {:>7} {:>9}",
        "engine", "Hz", "thr", "samples", "got/due", "weights", "split", "cpu"
    );
    work(2, ROUNDS / 4);
    for threads in [1, 2, 8, 64] {
        for frequency in [100, 250, 1000] {
            let plain = work(threads, ROUNDS);
            for engine in [Engine::Timer, Engine::Process] {
                let recording = profile::start(Options::new().engine(engine).frequency(frequency)).expect("it starts");
                let cpu = work(threads, ROUNDS);
                let profile = recording.finish();
                let workers = profile.threads().iter().filter(|thread| thread.path().contains("/w-"));
                let (samples, weights) = workers.fold((0, Duration::ZERO), |(samples, weights), thread| {
                    (samples + thread.samples(), weights + thread.sampled_time() + thread.unsampled_time())
                });
                let due = cpu.as_secs_f64() * f64::from(frequency);
                let (three, one) = (weight(&profile, "three_parts"), weight(&profile, "one_part"));
                println!(
                    "{:<8} {frequency:>4} {threads:>3} {samples:>8} {:>8.1}% {:>8.2}% {:>7.4} {:>+8.1}%",
                    engine.to_string(),
                    100.0 * samples as f64 / due,
                    100.0 * weights.as_secs_f64() / cpu.as_secs_f64(),
                    three / (three + one),
                    100.0 * (cpu.as_secs_f64() / plain.as_secs_f64() - 1.0)
                );
            }
        }
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

/// SIGPROF to oneself, at depth 25, with a recording and after it: the difference is the sample.
fn handler() {
    fn hits() -> f64 {
        let mut times = Vec::new();
        for _ in 0..100 {
            deep(20, &mut || {
                // SAFETY: a signal to the calling thread, which has a handler for it.
                let hit = || unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGPROF) };
                hit();
                let began = Instant::now();
                for _ in 0..20 {
                    hit();
                }
                times.push(began.elapsed().as_nanos() as f64 / 20.0);
            });
            std::thread::sleep(Duration::from_millis(10));
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(1000)).expect("it starts");
    let sampled = spawn("hits", |_| hits()).join().expect("no panic");
    let profile = recording.finish();
    let inert = spawn("hits", |_| hits()).join().expect("no panic");
    let thread = profile.threads().iter().find(|thread| thread.path().ends_with("/hits")).expect("it was there");
    println!(
        "\none sample at depth 25, median: {:.2} µs ({} samples, {} lost)",
        (sampled - inert) / 1000.0,
        thread.samples(),
        thread.lost()
    );
    println!("a signal that finds nothing: {:.2} µs", inert / 1000.0);
}

fn spawning() {
    fn each() -> f64 {
        let mut times: Vec<f64> = (0..3000)
            .map(|n| {
                let began = Instant::now();
                spawn("s", move |_| n).join().expect("no panic");
                began.elapsed().as_nanos() as f64 / 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
    each();
    for frequency in [100, 1000] {
        let plain = each();
        let recording = profile::start(Options::new().engine(Engine::Timer).frequency(frequency)).expect("it starts");
        let recorded = each();
        drop(recording);
        println!(
            "spawn and join, median: {plain:.1} µs; recorded at {frequency} Hz: {recorded:.1} µs = {:.2} times",
            recorded / plain
        );
    }
}

fn memory() {
    const THREADS: usize = 200;
    let threads: Vec<_> =
        (0..THREADS).map(|n| spawn(format!("parked-{n}"), |please_stop| please_stop.wait_for_go())).collect();
    let before = BYTES.load(Ordering::SeqCst);
    let recording = profile::start(Options::new().engine(Engine::Timer)).expect("it starts");
    let after = BYTES.load(Ordering::SeqCst);
    println!("memory for each of {THREADS} threads: {} KiB", (after - before) / 1024 / THREADS as i64);
    drop(recording);
    for thread in threads {
        thread.stop();
        thread.join().expect("no panic");
    }
}
