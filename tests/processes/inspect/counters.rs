//! No counter of `/metrics` falls while the program lives: a server takes that for a restart, and adds the
//! whole counter once more.

use super::{Home, Inspected, UNIX};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

/// All series of counters, with their values, whatever their names.
fn counters(program: &Inspected) -> BTreeMap<String, f64> {
    let text = program.get("/metrics").text();
    let (mut is_counter, mut found) = (false, BTreeMap::new());
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            is_counter = family.ends_with(" counter");
        } else if !line.starts_with('#') && is_counter {
            let (series, value) = line.rsplit_once(' ').unwrap();
            found.insert(series.to_owned(), value.parse().unwrap());
        }
    }
    found
}

#[test]
fn no_counter_falls_whatever_happens() {
    let home = Home::new();
    let mut program = home.start_reading("changing", UNIX, Stdio::piped());
    let (_errors, mut input) = (program.process.watch_stderr(), program.process.input());
    let mut before = counters(&program);
    for event in [
        "a thread waits",
        "main waits",
        "threads end",
        "queues are dropped",
        "another queue is dropped",
        "a recording ends",
        "a recording begins",
        "main waits",
        "a recording ends",
    ] {
        writeln!(input, "{event}").unwrap();
        program.process.wait_for("done");
        let after = counters(&program);
        for (series, was) in &before {
            let now = after.get(series).unwrap_or_else(|| panic!("{event}: {series} is gone"));
            assert!(now >= was, "{event}: {series} was {was} and is {now}");
        }
        before = after;
    }
    let of = |family: &str| before.keys().filter(|series| series.starts_with(family)).count();
    // Each limit was met.
    for family in ["selvedge_waits_total{", "selvedge_wait_seconds_total{", "selvedge_queue_dropped_values_total{"] {
        assert_eq!(of(family), 201, "{family}");
    }
    assert_eq!(of("selvedge_threads_started_total{"), 201);
    drop(input);
    program.stop();
}
