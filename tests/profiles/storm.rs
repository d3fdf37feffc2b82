//! The profiler survives everything that other profilers are known to crash on: each storm in a
//! process of its own, under an alarm.
//!
//! Each takes 1.2 seconds, and ten where `SELVEDGE_LONG` is set; SELVEDGE_STORM_SECONDS says otherwise.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::support::{Ended, Process, long};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

fn seconds() -> f64 {
    let own = std::env::var("SELVEDGE_STORM_SECONDS").ok().and_then(|text| text.parse().ok());
    own.unwrap_or_else(|| long::of(1200, 10_000) as f64 / 1e3)
}

/// What it says at its end.
fn storm(kind: &str, engine: &str) -> String {
    let mut command = Command::new(crate::support::program("storm"));
    command.arg(kind).arg(seconds().to_string()).arg(engine);
    // In a process group of its own: a forked child that hangs keeps the pipes open.
    command.process_group(0);
    let alarm = Duration::from_secs_f64(seconds()) + Duration::from_secs(60);
    let Ended { status, stdout: said, stderr: errors, .. } = Process::start(&mut command).end_within(alarm);
    assert!(status.success(), "{kind}: {status}: {said}{errors}");
    assert!(said.starts_with("calm: "), "{kind}: {said}{errors}");
    eprintln!("{kind}: {said}");
    said
}

macro_rules! storms {
    ($($name:ident $kind:literal)*) => {$(
        #[test]
        fn $name() {
            storm($kind, "timer");
        }
    )*};
}

storms! {
    panics_that_are_caught "panics"
    backtraces_that_are_forced "backtraces"
    memory_taken_and_given_back "malloc"
    libraries_loaded_and_unloaded "dlopen"
    processes_forked_and_run "processes"
    threads_that_come_and_go "churn"
    recursion_to_the_edge_of_the_stack "edge"
    signals_of_other_kinds "signals"
    calls_that_block "blocking"
    snapshots_without_end "snapshots"
    dumps_without_end "dumps"
}

macro_rules! storms_without_signals {
    ($($name:ident $kind:literal)*) => {$(
        #[test]
        fn $name() {
            let alone = crate::measure::alone();
            if crate::measure::rings_are_permitted() {
                drop(alone);
                storm($kind, "ring");
            }
        }
    )*};
}

storms_without_signals! {
    by_ring_panics_that_are_caught "panics"
    by_ring_libraries_loaded_and_unloaded "dlopen"
    by_ring_processes_forked_and_run "processes"
    by_ring_threads_that_come_and_go "churn"
    by_ring_recursion_to_the_edge_of_the_stack "edge"
    by_ring_snapshots_without_end "snapshots"
    by_ring_dumps_without_end "dumps"
}

/// No call at all: there is no signal.
#[test]
fn the_ring_interrupts_no_call() {
    let alone = crate::measure::alone();
    if crate::measure::rings_are_permitted() {
        drop(alone);
        let said = storm("blocking-alone", "ring");
        assert!(said.contains(", 0 interrupted"), "{said}");
    }
}

/// With nothing but the engine's own timers, which fire on running threads only.
#[test]
fn the_engine_interrupts_no_blocking_call() {
    let said = storm("blocking-alone", "timer");
    let number = |unit| -> u64 {
        let part = said.lines().next().unwrap().split(", ").find_map(|part| part.strip_suffix(unit)).unwrap();
        part.trim().parse().unwrap()
    };
    // `read` and `accept` never, or it would not be calm. A timer can fire on the way into a call
    // that the kernel does not restart, of which there are three each time: fewer than one in a
    // hundred of them sees it.
    assert!(number("interrupted") * 100 < number("done") * 3, "{said}");
}
