//! Programs that do not go on, to be looked at from outside: `dump_subject SCENARIO [CONFIG]`.
//!
//! Each says "ready" on stdout when each thread is where a test expects it.

use crate::wait::until;
use selvedge::{Builder, Config, Lock, Queue, Signal, Thread, spawn};
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let config = args.next().map_or_else(|| Config::new("subject"), Config::from);
    if scenario == "blocked-log" {
        log::set_boxed_logger(Box::new(BlockedLogger)).expect("the first");
        log::set_max_level(log::LevelFilter::Info);
    }
    if scenario == "many" {
        return many(args.next().and_then(|count| count.parse().ok()).unwrap_or(1000));
    }
    selvedge::run(config, |please_stop| -> Result<(), Box<dyn Error>> {
        match scenario.as_str() {
            "spins" => spins(),
            "reads" => drop(spawn("reader", |_| read_an_empty_pipe())),
            "cycle" => cycle(),
            "alone" => drop(spawn("listener", |_| Signal::new("a bell").wait_for_go())),
            "several" => several(),
            "blocked-log" => {}
            "hangs" => {
                ready();
                wait_without_end();
            }
            other => return Err(format!("no scenario \"{other}\"").into()),
        }
        settle(&Thread::current());
        ready();
        please_stop.wait_for_go();
        Ok(())
    })
}

fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

/// Returns once each thread below this one waits, has ended, or does what it does to its end.
fn settle(thread: &Thread) {
    const NEVER_WAIT: [&str; 3] = ["spinner", "reader", "burner"];
    for child in thread.children() {
        until(child.path(), || {
            !child.is_alive() || child.waiting_for().is_some() || NEVER_WAIT.contains(&child.name())
        });
        settle(&child);
    }
}

/// Its thread has a patience of its own, so that a test may give `main` another one. It has used enough CPU
/// time to be in a profile.
fn spins() {
    let builder = Builder::new("spinner").patience(Duration::from_millis(100));
    let spinner = builder.spawn(|_| spin_forever()).expect("a thread");
    until("it has run", || spinner.thread().cpu_time() > Some(Duration::from_millis(50)));
}

#[inline(never)]
fn spin_forever() {
    let mut sum = 0_u64;
    loop {
        sum = black_box(sum.wrapping_add(1));
    }
}

#[inline(never)]
fn read_an_empty_pipe() {
    let (mut reader, _writer) = std::io::pipe().expect("a pipe");
    let mut byte = [0];
    let _ = std::io::Read::read(&mut reader, &mut byte);
    black_box(byte);
}

#[inline(never)]
fn wait_without_end() {
    loop {
        std::thread::park();
    }
}

fn cycle() {
    let (left, right) = (Arc::new(Lock::new("left", ())), Arc::new(Lock::new("right", ())));
    let (has_left, has_right) = (Signal::new("has left"), Signal::new("has right"));
    let (first, second) = (left.clone(), right.clone());
    let (mine, theirs) = (has_left.clone(), has_right.clone());
    drop(spawn("takes-left", move |_| take_both(&first, &second, &mine, &theirs)));
    drop(spawn("takes-right", move |_| take_both(&right, &left, &has_right, &has_left)));
}

#[inline(never)]
fn take_both(first: &Lock<()>, second: &Lock<()>, mine: &Signal, theirs: &Signal) {
    let _held = first.lock();
    mine.go();
    theirs.wait_for_go();
    drop(second.lock());
}

fn several() {
    let jobs: Queue<u32> = Queue::bounded("jobs", 4);
    let pool = spawn("pool", move |please_stop| {
        for n in 0..8 {
            let jobs = jobs.clone();
            drop(spawn(format!("worker-{n}"), move |please_stop| while jobs.pop_till(please_stop).is_ok() {}));
        }
        please_stop.wait_for_go();
    });
    drop(pool);
    drop(spawn("burner", |please_stop| {
        while !please_stop.is_go() {
            black_box(0);
        }
    }));
    let failed = spawn("unlucky", |_| panic!("out of luck"));
    failed.thread().stopped().wait_for_go();
    std::mem::forget(failed);
}

/// How long dumps of so many threads take.
fn many(count: usize) -> ExitCode {
    let stop = Signal::new("stop");
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let stop = stop.clone();
            Builder::new(format!("waits-{n}")).stack_size(128 * 1024).spawn(move |_| stop.wait_for_go()).unwrap()
        })
        .collect();
    settle(&Thread::current());
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let dump = selvedge::dump();
        let took = began.elapsed();
        let (text, json) = (dump.to_string(), dump.to_json());
        println!("{took:?}, and {:?} to write {} and {} bytes", began.elapsed() - took, text.len(), json.len());
        if threads.len() < 20 {
            println!("{text}");
        }
        let inner: serde_json::Value = serde_json::from_str(&json).unwrap();
        println!("collected in {}", inner["took_s"]);
    }
    stop.go();
    ExitCode::SUCCESS
}

/// Takes nothing of level WARN or above, ever.
struct BlockedLogger;

impl log::Log for BlockedLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            Signal::never().wait_for_go();
        }
    }

    fn flush(&self) {}
}
