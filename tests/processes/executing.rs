//! A recording ends no other program: not the one that this program becomes, and none that it starts.
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
fn a_program_that_another_one_becomes_is_not_ended() {
    for round in 0..20 {
        for clock in ["cpu", "wall"] {
            assert_eq!(executing("becomes", clock), "new\n", "round {round}");
        }
    }
}

#[test]
fn a_recording_goes_on_if_the_other_program_is_not_there() {
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
