//! Programs that are looked at through their socket: `inspected SCENARIO CONFIG [COUNT]`.
//!
//! Each says "ready" on stdout when each thread is where a test expects it, and ends on SIGTERM.

use crate::wait::until;
use selvedge::{Builder, Config, Lock, Queue, Signal, StopOrder, Thread, spawn};
use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let config = args.next().map_or_else(|| Config::new("inspected"), Config::from);
    let count = args.next().and_then(|count| count.parse().ok()).unwrap_or(4);
    if scenario == "blocked-log" {
        log::set_boxed_logger(Box::new(BlockedLogger)).expect("the first");
        log::set_max_level(log::LevelFilter::Info);
    }
    selvedge::run(config, |please_stop| {
        match scenario.as_str() {
            "threads" => (0..count).for_each(|number| drop(spawn(format!("waiter-{number}"), wait))),
            "busy" => (0..count).for_each(|number| drop(spawn(format!("burner-{number}"), burn))),
            "lingering" => {
                drop(spawn("burner-0", burn));
                drop(spawn("lingerer", linger));
            }
            "names" => names(),
            "contended" => contended(),
            "service" => service(),
            "stuck" => drop(spawn("deaf", |_| Signal::new("a bell").wait_for_go())),
            "deadlock" => deadlock(),
            #[cfg(feature = "profiling")]
            "changing" => crate::changing::main(),
            "blocked-log" => drop(spawn("talker", |_| log::info!("this one hangs"))),
            "hangs" => {
                ready();
                loop {
                    std::thread::sleep(Duration::from_secs(3600));
                }
            }
            other => return Err(format!("no scenario \"{other}\"")),
        }
        log::warn!("<b>ready</b> & waiting");
        if scenario == "threads" {
            let children = Thread::current().children();
            until("each thread waits", || children.iter().all(|child| child.waiting_for().is_some()));
        }
        ready();
        please_stop.wait_for_go();
        Ok(())
    })
}

fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

fn wait(please_stop: &Signal) {
    please_stop.wait_for_go();
}

/// Ends after a line on stdin, not before it is asked to stop.
fn linger(please_stop: &Signal) {
    please_stop.wait_for_go();
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[inline(never)]
fn burn(please_stop: &Signal) {
    while !please_stop.is_go() {
        for _ in 0..100_000 {
            black_box(0);
        }
    }
}

/// A service at work: values go through a queue, threads come and go, records are logged. It says
/// in which order the threads of `line` have stopped.
fn service() {
    let jobs: Queue<u32> = Queue::bounded("jobs", 16);
    let ledger = Arc::new(Lock::new("ledger", 0));
    let adder = jobs.adder();
    for number in 1..=3 {
        let (popper, ledger) = (jobs.popper(), ledger.clone());
        drop(spawn(format!("worker-{number}"), move |please_stop: &Signal| {
            while let Some(job) = popper.pop_draining(please_stop) {
                *ledger.lock() += job;
            }
        }));
    }
    drop(spawn("producer", move |please_stop: &Signal| {
        while !please_stop.wait_for_go_timeout(Duration::from_millis(2)) && adder.add_till(1, please_stop).is_ok() {}
    }));
    drop(spawn("churn", |please_stop: &Signal| {
        let mut number = 0u64;
        while !please_stop.wait_for_go_timeout(Duration::from_millis(20)) {
            number += 1;
            log::info!("task {number} is started");
            // A task that fails would be this thread's failure.
            let _ = spawn(format!("task-{number}"), |_| black_box([0u8; 1000]).len()).join();
        }
    }));
    let line = Builder::new("line").stop_order(StopOrder::OneByOne);
    let line = line.spawn(|please_stop| {
        for number in 1..=3 {
            tell_end(spawn(format!("step-{number}"), wait).thread());
        }
        please_stop.wait_for_go();
    });
    tell_end(line.expect("a thread").thread());
}

fn tell_end(thread: &Thread) {
    let path = thread.path().to_owned();
    drop(thread.stopped().on_go(move || println!("stopped {path}")));
}

/// A thread that computes with a lock held, while another one waits for that lock again and again.
fn contended() {
    let lock = Arc::new(Lock::new("ledger", ()));
    let held = lock.clone();
    drop(spawn("holder", move |please_stop: &Signal| {
        while !please_stop.is_go() {
            let _guard = held.lock();
            let until = Instant::now() + Duration::from_millis(20);
            while Instant::now() < until {
                black_box(0);
            }
        }
    }));
    drop(spawn("waiter", move |please_stop: &Signal| {
        while !please_stop.is_go() {
            drop(lock.lock());
        }
    }));
}

/// Names that could be taken for markup, a label's end, or a line's.
fn names() {
    for name in ["<script>alert(1)</script>", "quote\"back\\slash", "новый\nпоток", "tab\there", "a&b"] {
        let thread = spawn(name, wait).thread().clone();
        until(name, || thread.waiting_for().is_some());
    }
    let queue: Queue<u32> = Queue::bounded("<queue> \"jobs\"\nnext", 8).may_be_left();
    queue.extend([1, 2, 3]).expect("it is open");
    let adder = spawn("keeper", move |please_stop| drop((please_stop.wait_for_go(), queue)));
    drop(adder);
}

fn deadlock() {
    let locks = [Arc::new(Lock::new("left", ())), Arc::new(Lock::new("right", ()))];
    let held = [Signal::new("left is held"), Signal::new("right is held")];
    let threads: Vec<Thread> = (0..2)
        .map(|own| {
            let (first, second) = (locks[own].clone(), locks[1 - own].clone());
            let (mine, theirs) = (held[own].clone(), held[1 - own].clone());
            let body = move |_: &Signal| {
                let _first = first.lock();
                mine.go();
                theirs.wait_for_go();
                drop(second.lock());
            };
            spawn(format!("philosopher-{own}"), body).thread().clone()
        })
        .collect();
    for thread in threads {
        until("a lock", || thread.waiting_for().is_some_and(|wait| wait.kind() == "lock"));
    }
}

/// A logger that takes no record to its end.
struct BlockedLogger;

impl log::Log for BlockedLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().contains("hangs") {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    }

    fn flush(&self) {}
}
