//! A forked child is a process of one thread: it ends as any process does, and what this crate
//! offers works in it.
#![cfg(unix)]

use crate::support::{Folder, Process, program};
use std::process::Command;
use std::time::Duration;

/// Each line of stdout is a check of `tests/programs/forking.rs`.
fn checks(scenario: &str, arguments: &[&str]) -> String {
    let process = Process::start(Command::new(program("forking")).arg(scenario).args(arguments));
    // Longer than what the program itself takes for a hang.
    let ended = process.end_within(Duration::from_secs(900));
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
    let checks: Vec<_> = ended.stdout.lines().collect();
    assert!(!checks.is_empty(), "{}", ended.stderr);
    let wrong: Vec<_> = checks.iter().filter(|line| !line.ends_with(": ok")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_child_without_a_runtime_can_do_everything() {
    checks("plain", &[]);
}

#[test]
fn a_busy_programs_child_can_do_everything() {
    checks("runtime", &[]);
}

#[test]
fn a_child_ends_by_signal_and_by_return() {
    let stderr = checks("ends", &[]);
    assert!(stderr.contains("the child could not") && stderr.contains("the child panics"), "{stderr}");
}

#[test]
fn the_thread_that_forked_is_the_childs_main() {
    let stderr = checks("spawned", &[]);
    assert!(stderr.contains("a forked child failed") && stderr.contains("the child could not"), "{stderr}");
}

#[test]
fn a_daemon_forks_twice_before_its_runtime() {
    checks("daemon", &[]);
}

#[test]
fn records_of_children_are_in_the_log_once() {
    let folder = Folder::new("fork-log");
    let config = folder.config("");
    checks("log", &[&config.display().to_string()]);
    let log = folder.read("app.log");
    for n in 0..20 {
        for record in [format!("parent {n}"), format!("child {n}"), format!("thread of child {n}")] {
            let is_it = |line: &&str| line.splitn(3, ' ').nth(2) == Some(&*record);
            let count = log.lines().filter(is_it).count();
            assert_eq!(count, 1, "{record}\n{log}");
        }
    }
}

#[cfg(feature = "profiling")]
#[test]
fn a_child_records_itself() {
    checks("record", &[]);
}
