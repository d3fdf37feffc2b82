//! What the crate logs by itself: a thread that does not stop, again and again; a restart, if there
//! is one; values left in queues, but not each time; a queue that stays full.

use crate::support::DEADLINE;
use selvedge::{Builder, Queue, Restart, Signal, spawn};
use std::sync::Mutex;
use std::time::{Duration, Instant};

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// The logger of a process in which one test runs.
fn capture() {
    log::set_logger(&Capture).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
}

fn logged(part: &str) -> Vec<String> {
    LOGGED.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
}

#[test]
fn an_unstopped_thread_is_reported_again() {
    if crate::support::in_own_process(module_path!(), "an_unstopped_thread_is_reported_again") {
        return;
    }
    capture();
    let parent = spawn("parent", |_| {
        // It ends by its own reports: at its patience, and then each time after twice as long.
        let slow = |_: &Signal| {
            let deadline = Instant::now() + DEADLINE;
            while logged("main/parent has waited ").len() < 4 && Instant::now() < deadline {
                std::thread::yield_now();
            }
        };
        drop(Builder::new("slow").patience(Duration::from_millis(1)).spawn(slow).unwrap());
    });
    parent.join().unwrap();
    let reports = logged("main/parent has waited ");
    assert!(reports.len() >= 4, "{reports:#?}");
    assert!(reports.iter().all(|report| report.contains(" for main/parent/slow to stop; it is in no blocking call")));
}

#[test]
fn a_failure_after_a_stop_announces_no_restart() {
    if crate::support::in_own_process(module_path!(), "a_failure_after_a_stop_announces_no_restart") {
        return;
    }
    capture();
    let fails = |please_stop: &Signal| {
        please_stop.wait_for_go();
        Err::<(), _>("could not end well")
    };
    let stopped = Builder::new("stopped").restart(Restart::up_to(5)).spawn_fallible(fails).unwrap();
    stopped.stop();
    stopped.join().unwrap_err();
    assert_eq!(logged("restart"), [""; 0]);
    // The record that would have come.
    let restarted = Builder::new("restarted").restart(Restart::up_to(1)).spawn_fallible(|_| Err::<(), _>("no disk"));
    restarted.unwrap().join().unwrap_err();
    assert_eq!(logged("restart 1 of at most 1").len(), 1);
}

#[test]
fn few_of_many_nonempty_queues_are_logged() {
    if crate::support::in_own_process(module_path!(), "few_of_many_nonempty_queues_are_logged") {
        return;
    }
    capture();
    for _ in 0..9 {
        let queue = Queue::unbounded("chores");
        queue.extend(["sweep", "mop"]).unwrap();
    }
    let logged = logged("\"chores\"");
    let counts: Vec<_> = logged.iter().map(|line| line.split_once("; ").map_or("", |(_, all)| all)).collect();
    let in_queues = |values, queues| format!("{values} values in {queues} queues of this name so far");
    assert_eq!(counts[1..], [in_queues(4, 2), in_queues(8, 4), in_queues(16, 8)], "{logged:#?}");
    assert!(logged[0].contains(" was dropped with 2 values, which nothing has popped ("), "{logged:#?}");
}

#[test]
fn a_full_queue_logs_its_waiting_producer() {
    if crate::support::in_own_process(module_path!(), "a_full_queue_logs_its_waiting_producer") {
        return;
    }
    capture();
    let queue = Queue::bounded("parcels", 2);
    queue.extend([1, 2]).unwrap();
    let begin = Instant::now();
    let sender = {
        let queue = queue.clone();
        spawn("sender", move |_| queue.add(3))
    };
    let path = sender.thread().path().to_owned();
    let about_us = || logged("\"parcels\"").pop();
    while about_us().is_none() {
        assert!(begin.elapsed() < DEADLINE, "no warning");
        std::thread::yield_now();
    }
    assert!(begin.elapsed() >= Duration::from_secs(5));
    let line = about_us().unwrap();
    let time = line
        .strip_prefix(&format!("{path} has waited "))
        .and_then(|rest| rest.strip_suffix("s for room in queue \"parcels\", which is full with 2 values"))
        .unwrap_or_else(|| panic!("{line}"));
    // Later than asked on a busy machine, never earlier.
    assert!((5..DEADLINE.as_secs()).contains(&time.parse::<u64>().unwrap()), "{line}");
    assert_eq!(queue.pop(), Some(1));
    sender.join().unwrap().unwrap();
}
