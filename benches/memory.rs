//! Claim: an idle thread of the tree takes at most 1 KiB more than a bare one, and a sampled thread at
//! most 32 KiB more than that, which it gives back when the recording ends.
//!
//! Each kind of thread has a process of its own, since memory that was freed is used again.

#[path = "support/counting.rs"]
mod counting;
mod support;

use selvedge::profile::{self, Engine, Options};
use selvedge::{Signal, spawn};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::scaled;

/// Bytes of heap, bytes of memory that belong to this process alone, or a share of it (Pss), and the
/// number of mappings, of which a process has 65,530 unless the system is told otherwise.
#[derive(Clone, Copy)]
struct Memory {
    heap: i64,
    resident: i64,
    mappings: i64,
}

impl Memory {
    fn now() -> Memory {
        let heap = counting::bytes();
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let pss =
            text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok());
        let mappings = std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count() as i64;
        Memory { heap, resident: pss.unwrap_or(0) * 1024, mappings }
    }
}

fn main() {
    let kind = std::env::args().skip_while(|arg| arg != "--kind").nth(1);
    match kind.as_deref() {
        Some("std") => std_threads(),
        Some("tree") => threads_of_the_tree(false),
        Some("sampled") => threads_of_the_tree(true),
        _ => compare(),
    }
}

/// Prints what one thread takes, from what the processes print.
fn compare() {
    let [std, tree, sampled] = ["std", "tree", "sampled"].map(|kind| {
        let mut process = Command::new(std::env::current_exe().expect("this program"));
        let mode = if support::measuring() { "--bench" } else { "--test" };
        let output = process.args([mode, "--kind", kind]).output().expect("it runs");
        assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<f64>>()
    });
    println!("\nmemory of one thread, KiB; mappings\n");
    println!("| {:<40} | {:>7} | {:>8} | {:>8} |", "", "heap", "resident", "mappings");
    println!("|{:-<42}|{:->9}|{:->10}|{:->10}|", "", ":", ":", ":");
    let row = |name: &str, of: &[f64]| {
        println!("| {name:<40} | {:>7.2} | {:>8.2} | {:>8.2} |", of[0] / 1024.0, of[1] / 1024.0, of[2]);
    };
    let above = |these: &[f64], those: &[f64]| -> Vec<f64> { these.iter().zip(those).map(|(a, b)| a - b).collect() };
    let [with_samples, idle, afterwards] = [0, 1, 2].map(|part| &sampled[3 * part..3 * part + 3]);
    row("std, parked", &std);
    row("selvedge, waits for its please_stop", &tree);
    row("the same, above std's", &above(&tree, &std));
    row("selvedge, sampled", with_samples);
    row("the same, above an idle one", &above(with_samples, idle));
    row("kept when the recording has ended", &above(afterwards, idle));
}

/// Prints what came from `before` to `now`, for each of `count` threads.
fn print(before: Memory, now: Memory, count: usize) {
    let each = |before: i64, now: i64| (now - before) as f64 / count as f64;
    let (heap, resident) = (each(before.heap, now.heap), each(before.resident, now.resident));
    println!("{heap} {resident} {}", each(before.mappings, now.mappings));
}

fn until(what: &str, is_true: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_true() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{what} did not come to be");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Each thread counts itself here when it runs.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

fn all_have_begun(count: usize) {
    until("all threads", || BEGUN.load(Ordering::SeqCst) == count);
    // And sleep by now.
    thread::sleep(Duration::from_millis(scaled(300, 10) as u64));
}

fn std_threads() {
    let count = scaled(1000, 10);
    thread::Builder::new().name("first".into()).spawn(|| ()).expect("a thread").join().expect("no panic");
    let before = Memory::now();
    for n in 0..count {
        let parked = move || {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        };
        thread::Builder::new().name(format!("parked-{n}")).spawn(parked).expect("a thread");
    }
    all_have_begun(count);
    print(before, Memory::now(), count);
}

/// With samples: threads that have computed for a while, and wait again.
fn threads_of_the_tree(sampled: bool) {
    let count = if sampled { scaled(100, 4) } else { scaled(1000, 10) };
    spawn("first", |_please_stop| ()).join().expect("no panic");
    if sampled {
        // What the first recording of a process makes, and keeps.
        drop(profile::start(Options::new().engine(Engine::Timer)).expect("it starts"));
    }
    let before = Memory::now();
    let compute = Signal::new("compute");
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let compute = compute.clone();
            spawn(format!("waits-{n}"), move |please_stop| {
                if sampled {
                    BEGUN.fetch_add(1, Ordering::SeqCst);
                    compute.wait_for_go();
                    let begin = Instant::now();
                    while begin.elapsed() < Duration::from_millis(100) {
                        std::hint::spin_loop();
                    }
                }
                BEGUN.fetch_add(1, Ordering::SeqCst);
                please_stop.wait_for_go();
            })
        })
        .collect();
    all_have_begun(count);
    if !sampled {
        return print(before, Memory::now(), count);
    }
    let idle = Memory::now();
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(100)).expect("it starts");
    compute.go();
    all_have_begun(2 * count);
    print(before, Memory::now(), count);
    print(before, idle, count);
    drop(recording);
    print(before, Memory::now(), count);
    drop(threads);
}
