//! A program that is looked at all the time keeps its memory, its descriptors and the order of its
//! end: with a page open, metrics each second, dumps, and recordings now and then.
//!
//! Ten seconds with the other tests. For ten minutes:
//! `SELVEDGE_SOAK=600 cargo test --all-features --test processes inspect::soak -- --nocapture`

use super::{Home, Inspected, UNIX};
use crate::support::until;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What the program holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    at: u64,
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
}

fn held(program: &Inspected, began: Instant) -> Held {
    let folder = format!("/proc/{}", program.process.id());
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let count = |name: &str| std::fs::read_dir(format!("{folder}/{name}")).unwrap().count();
    Held {
        at: began.elapsed().as_secs(),
        resident_kib: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
        descriptors: count("fd"),
        threads: count("task"),
    }
}

/// The names of the events that come, until the connection ends.
fn page(mut stream: UnixStream) -> Vec<String> {
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("event: ").map(str::to_owned)).collect()
}

/// What else is asked for in that round, besides the metrics.
fn now_and_then(round: u64) -> Option<&'static str> {
    match round % 30 {
        3 => Some("/dump"),
        5 => Some("/threads?stacks=1"),
        6 => Some("/folded?seconds=1"),
        13 => Some("/timeline?seconds=1"),
        18 => Some("/folded?seconds=1&clock=waits"),
        21 => Some("/debug/pprof/goroutine?debug=2"),
        23 => Some("/folded?seconds=1&clock=wall"),
        27 => Some("/accounts?seconds=1"),
        _ => None,
    }
}

#[test]
fn memory_stays_flat_while_it_is_watched() {
    let seconds = std::env::var("SELVEDGE_SOAK").ok().map_or(10, |text| text.parse().expect("seconds"));
    let home = Home::new();
    let mut program = home.start("service", UNIX, 1);
    let errors = program.process.watch_stderr();
    let stream = program.connect();
    let reader = std::thread::spawn(move || page(stream));
    let began = Instant::now();
    let (mut answers, mut round, mut seen) = (0u64, 0, Vec::new());
    while began.elapsed() < Duration::from_secs(seconds) {
        for path in std::iter::once("/metrics").chain(now_and_then(round)) {
            if cfg!(feature = "profiling") || !path.contains("seconds") {
                let answer = program.get(path);
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                answers += 1;
            }
        }
        if seen.last().is_none_or(|last: &Held| last.at + 30 <= began.elapsed().as_secs()) {
            seen.push(held(&program, began));
        }
        round += 1;
        // A round with a recording takes longer than a second.
        std::thread::sleep(Duration::from_secs(round).saturating_sub(began.elapsed()));
    }
    seen.push(held(&program, began));
    for held in &seen {
        println!("{held:?}");
    }
    // The first two minutes fill what is kept: the tail of the log, names of functions, the allocator.
    let (last, settled) = (seen[seen.len() - 1], seen.iter().find(|held| held.at >= 120));
    if let Some(settled) = settled.filter(|settled| settled.at + 120 <= last.at) {
        assert!(last.resident_kib <= settled.resident_kib + settled.resident_kib / 20, "{settled:?} {last:?}");
        assert!(last.descriptors <= settled.descriptors + 2, "{settled:?} {last:?}");
        // A task may just run.
        assert!(last.threads <= settled.threads + 2, "{settled:?} {last:?}");
    }
    program.process.signal(libc::SIGTERM);
    let ended = program.process.end();
    assert_eq!(ended.code(), 0, "{}", errors.lock().unwrap());
    // The youngest first, and each before the thread that has started it.
    let order: Vec<&str> = ended.stdout.lines().filter_map(|line| line.strip_prefix("stopped ")).collect();
    assert_eq!(order, ["main/line/step-3", "main/line/step-2", "main/line/step-1", "main/line"]);
    let events = reader.join().unwrap();
    assert_eq!(
        (events.first().map(String::as_str), events.last().map(String::as_str)),
        (Some("snapshot"), Some("end"))
    );
    until("the socket is gone", || !program.socket.exists());
    println!("{seconds} s: {answers} answers, {} events, exit code 0, order of the end kept", events.len());
}
