//! Claim: ten thousand threads at once are spawned, asked to stop and joined as fast as bare ones
//! are.

mod support;

use selvedge::spawn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Contest, scaled};

fn main() {
    let crowd = scaled(10_000, 20);
    Contest::new("10,000 threads alive at once: spawn, stop, join; per thread", crowd)
        .with("selvedge, youngest asked first", || ours(crowd, || ()))
        // Each thread is woken by itself, like a thread with its own signal. The kernel finds the
        // longest waiter first.
        .with("std, unpark, youngest first", || bare(crowd, true))
        .with("std, unpark, oldest first", || bare(crowd, false))
        .run(15);

    // Without stacks, unless this is built with the feature `profiling`.
    let dump = || {
        let begin = Instant::now();
        let dump = selvedge::dump();
        let (made, begin) = (begin.elapsed(), Instant::now());
        let text = dump.to_string();
        println!("a dump of them: made in {made:.1?}, written as {} bytes in {:.1?}", text.len(), begin.elapsed());
    };
    for crowd in [scaled(1_000, 20), crowd] {
        println!("\n{crowd} threads that wait");
        ours(crowd, dump);
    }
}

/// `meanwhile` runs while all of them wait.
fn ours(crowd: usize, meanwhile: impl Fn()) -> Duration {
    let up = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let is_up = up.clone();
    let parent = spawn("crowd", move |please_stop| {
        for number in 0..crowd {
            let is_up = is_up.clone();
            drop(spawn(format!("member-{number}"), move |please_stop| {
                is_up.fetch_add(1, Ordering::SeqCst);
                please_stop.wait_for_go();
            }));
        }
        please_stop.wait_for_go();
    });
    until(|| up.load(Ordering::SeqCst) == crowd);
    meanwhile();
    parent.stop();
    parent.join().unwrap();
    begin.elapsed()
}

fn bare(crowd: usize, youngest_first: bool) -> Duration {
    let (up, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let begin = Instant::now();
    let spawn_one = |number| {
        let (up, stop) = (up.clone(), stop.clone());
        let wait = move || {
            up.fetch_add(1, Ordering::SeqCst);
            while !stop.load(Ordering::SeqCst) {
                thread::park();
            }
        };
        thread::Builder::new().name(format!("member-{number}")).spawn(wait).expect("a thread")
    };
    let mut threads: Vec<_> = (0..crowd).map(spawn_one).collect();
    until(|| up.load(Ordering::SeqCst) == crowd);
    stop.store(true, Ordering::SeqCst);
    if youngest_first {
        threads.reverse();
    }
    threads.iter().for_each(|thread| thread.thread().unpark());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    begin.elapsed()
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_micros(500));
    }
}
