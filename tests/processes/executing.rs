//! A recording ends no other program: neither the program that replaces this one, nor a program
//! that it starts.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::support::{program, run};
use std::process::Command;

fn executing(scenario: &str, clock: &str) -> String {
    let ended = run(Command::new(program("executing")).args([scenario, clock]));
    assert_eq!(ended.code(), 0, "{scenario} {clock}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// With the standard library's `exec`, a third of them or more died of SIGPROF.
#[test]
fn a_program_after_exec_lives_on() {
    for round in 0..20 {
        for clock in ["cpu", "wall"] {
            assert_eq!(executing("becomes", clock), "new\n", "round {round}");
        }
    }
}

#[test]
fn a_failed_exec_keeps_the_recording() {
    for clock in ["cpu", "wall"] {
        let said = executing("fails", clock);
        let samples = said.split_once("; ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
        assert!(said.starts_with("No such file") && samples > Some(10), "{said}");
    }
}

#[test]
fn programs_that_are_started_are_not_ended() {
    for clock in ["cpu", "wall"] {
        assert!(executing("starts", clock).starts_with("40 started"));
    }
}
