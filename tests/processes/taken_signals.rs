//! A handler that another library sets after the start of the runtime takes a signal away from it.
//! The runtime says so once, where a person reads it.
#![cfg(unix)]

use crate::support::{Ended, Folder, Process, hear_signals, program, run, undisturbed, until};
use libc::{SIGINT, SIGTERM, SIGUSR1};
use std::process::Command;

fn taking(scenario: &str) -> Command {
    let mut command = Command::new(program("taking"));
    command.arg(scenario);
    hear_signals(&mut command);
    command
}

/// Runs it until stderr has `text`, and ends it with `signal`.
fn until_told(scenario: &str, text: &str, signal: i32) -> Ended {
    let mut process = Process::start(&mut taking(scenario));
    process.wait_for("ready");
    let stderr = process.watch_stderr();
    until(text, || stderr.lock().unwrap().contains(text));
    process.signal(signal);
    let mut ended = process.end();
    ended.stderr = stderr.lock().unwrap().clone();
    ended
}

#[test]
fn a_handler_set_later_is_named_once() {
    let what = "SIGINT is handled by ";
    for scenario in ["handled", "off"] {
        let ended = until_told(scenario, "instead", SIGTERM);
        let stderr = &ended.stderr;
        assert_eq!((ended.code(), stderr.matches(what).count()), (0, 1), "{stderr}");
        assert!(
            stderr.contains("it does not stop the program, unless that handler calls the one before it"),
            "{stderr}"
        );
        let name = if cfg!(feature = "profiling") { "`programs::taking::takes_it` in " } else { "a function in " };
        assert!(stderr.contains(name), "{stderr}");
    }
}

#[test]
fn a_program_that_ends_at_once_is_told() {
    let what = "SIGINT is handled by ";
    let is_late = |ended: &Ended| ended.is_slow_without(&[&ended.stderr], &[what]);
    let ended = undisturbed(|| run(&mut taking("at-the-end")), is_late);
    assert_eq!((ended.code(), ended.stderr.matches(what).count()), (0, 1), "{}", ended.stderr);
}

#[test]
fn the_log_has_it_when_it_takes_it() {
    let what = "SIGINT is handled by ";
    let once = || {
        let folder = Folder::new("taken-logged");
        (run(taking("at-the-end").arg(folder.config(""))), folder.read("app.log"))
    };
    let (ended, log) = undisturbed(once, |(ended, log)| ended.is_slow_without(&[log], &[what]));
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    assert_eq!(log.matches("WARN ").count(), 1, "{log}");
    assert!(log.contains(what), "{log}");
}

#[test]
fn ignored_and_default_signals_are_told() {
    let ended = until_told("ignored", "SIGINT is ignored, set after the start of the runtime", SIGTERM);
    assert!(
        ended.stderr.contains(": it does not stop the program; leave out the call that ignores SIGINT"),
        "{}",
        ended.stderr
    );
    let ended = until_told("default", "SIGTERM has its default action again", SIGINT);
    assert!(ended.stderr.contains("the program does not stop in order"), "{}", ended.stderr);
    assert_eq!(ended.code(), 130);
}

/// The runtime's handler is installed when a signal is first taken in the process, and not again.
#[test]
fn a_handler_that_stands_at_the_start_is_told() {
    const EARLY: &str =
        ", set before this runtime started, but after SIGINT was taken by an earlier runtime or signal-hook: ";
    let cases = [
        ("between", "SIGINT is handled by ", "please_stop.on_go_scoped(…) instead"),
        ("hooked", "SIGINT is handled by ", "please_stop.on_go_scoped(…) instead"),
        ("between-default", "SIGINT has its default action again", "leave out the call that gives SIGINT its default"),
        ("between-ignored", "SIGINT is ignored", "leave out the call that ignores SIGINT, or make it before"),
    ];
    for (scenario, state, what_to_do) in cases {
        let ended = until_told(scenario, what_to_do, SIGTERM);
        let stderr = &ended.stderr;
        assert_eq!((ended.code(), stderr.matches(EARLY).count()), (0, 1), "{scenario}: {stderr}");
        assert!(stderr.contains(state), "{scenario}: {stderr}");
    }
}

/// Nothing is set between: the second runtime hears SIGINT as the first did.
#[test]
fn a_second_runtime_hears_its_signals() {
    let mut process = Process::start(&mut taking("between-nothing"));
    process.wait_for("ready").signal(SIGINT);
    let ended = process.end();
    assert_eq!((ended.code(), ended.stderr.as_str()), (130, ""));
}

#[test]
fn a_lost_dump_signal_is_told() {
    let mut process = Process::start(&mut taking("dump"));
    process.wait_for("ready");
    let stderr = process.watch_stderr();
    process.signal(SIGUSR1);
    let told = || stderr.lock().unwrap().contains("no dump comes for it, unless that handler calls");
    until("the warning", told);
    process.signal(SIGTERM);
    let ended = process.end();
    assert_eq!(ended.code(), 0);
    assert!(ended.stdout.contains("came 1"), "{}", ended.stdout);
}

/// Reporters of crashes take it as a rule, and call the handler before them.
#[test]
fn a_handler_of_aborts_is_no_warning() {
    for scenario in ["abort", "between-abort"] {
        let what = "INFO main/selvedge/taken-signals SIGABRT is handled by ";
        let once = || {
            let folder = Folder::new(scenario);
            let mut process = Process::start(taking(scenario).arg(folder.config("")));
            process.wait_for("ready").signal(SIGTERM);
            (process.end(), folder.read("app.log"))
        };
        let (ended, log) = undisturbed(once, |(ended, log)| ended.is_slow_without(&[log], &[what]));
        assert_eq!(ended.code(), 0, "{scenario}");
        assert!(log.contains(what), "{scenario}: {log}");
        assert!(!log.contains("WARN"), "{scenario}: {log}");
    }
}

#[test]
fn handlers_that_share_the_signal_are_not_told() {
    for (scenario, came) in [("before", 1), ("shared", 0)] {
        let mut process = Process::start(&mut taking(scenario));
        process.wait_for("ready").signal(SIGINT);
        let ended = process.end();
        assert_eq!((ended.code(), ended.stderr.as_str()), (130, ""), "{scenario}");
        assert!(ended.stdout.contains(&format!("came {came}")), "{scenario}: {}", ended.stdout);
    }
}

#[test]
fn an_earlier_handler_has_its_signal_after_the_end() {
    let ended = run(&mut taking("before-and-after"));
    assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    assert!(ended.stdout.contains("came 1"), "{}", ended.stdout);
}
