//! SIGINT and SIGTERM end a program in order; a second one ends it at once; who does not stop is named.
#![cfg(unix)]

mod support;

use libc::{SIGINT, SIGTERM};
use std::time::Duration;
use support::{Folder, Process, subject};

fn interrupted(test: &str, scenario: &str, more: &str, signals: &[i32]) -> (support::Ended, String) {
    let folder = Folder::new(test);
    let mut process = Process::start(&mut subject(scenario, &folder.config(more)));
    process.wait_for("ready");
    for (number, signal) in signals.iter().enumerate() {
        if number > 0 {
            // Two pending signals of one kind are one: the first must have been taken, and main be at its last join.
            until_logged(&folder, "for main/deaf to stop:");
        }
        process.signal(*signal);
    }
    let ended = process.end();
    let log = folder.read("app.log");
    (ended, log)
}

fn until_logged(folder: &Folder, what: &str) {
    let deadline = std::time::Instant::now() + support::ALARM;
    while !std::fs::read_to_string(folder.path().join("app.log")).unwrap_or_default().contains(what) {
        assert!(std::time::Instant::now() < deadline, "never logged: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn sigint_stops_everything_and_gives_130() {
    let (ended, log) = interrupted("sigint", "wait", "", &[SIGINT]);
    assert_eq!(ended.code(), 130, "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
    assert!(log.contains("WARN main/os-signals/notice interrupted by SIGINT"), "{log}");
    assert!(log.lines().last().unwrap().contains("was interrupted by SIGINT and has stopped in order"), "{log}");
}

#[test]
fn sigterm_stops_everything_and_gives_0() {
    let (ended, log) = interrupted("sigterm", "wait", "", &[SIGTERM]);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
    assert!(log.lines().last().unwrap().contains("was interrupted by SIGTERM"), "{log}");
}

#[test]
fn a_main_that_only_joins_can_be_interrupted() {
    let (ended, _) = interrupted("join-only", "join-only", "", &[SIGINT]);
    assert_eq!(ended.code(), 130, "{}", ended.stderr);
}

#[test]
fn the_order_of_the_end_is_the_promised_one() {
    let (ended, log) = interrupted("order", "order", "", &[SIGTERM]);
    assert_eq!(ended.code(), 0);
    let ends: Vec<_> = log.lines().filter(|line| line.ends_with("ends")).collect();
    assert_eq!(
        ends,
        [
            "INFO main/parent body ends",
            "INFO main/parent/youngest ends",
            "INFO main/parent/middle ends",
            "INFO main/parent/oldest ends"
        ]
    );
}

#[test]
fn a_second_signal_ends_a_slow_stop_and_names_who_is_left() {
    for (signals, code) in [([SIGINT, SIGINT], 130), ([SIGTERM, SIGTERM], 143), ([SIGINT, SIGTERM], 143)] {
        let (ended, log) = interrupted("second", "deaf", "shutdown: { patience: 20ms }", &signals);
        assert_eq!(ended.code(), code, "{}", ended.stderr);
        assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
        for text in [&ended.stderr, &log] {
            assert!(text.contains("not stopped:"), "{text}");
            assert!(text.contains("main/deaf, waiting") && text.contains("for signal \"a bell\""), "{text}");
            assert!(text.contains("main, waiting") && text.contains("for thread \"main/deaf\""), "{text}");
        }
    }
}

#[test]
fn who_does_not_stop_is_reported_again_and_again() {
    let folder = Folder::new("patience");
    let mut process = Process::start(&mut subject("deaf", &folder.config("shutdown: { patience: 20ms }")));
    process.wait_for("ready").signal(SIGINT);
    until_logged(&folder, "for signal \"a bell\"");
    let reports = || folder.read("app.log").matches("for main/deaf to stop:").count();
    let deadline = std::time::Instant::now() + support::ALARM;
    while reports() < 3 {
        assert!(std::time::Instant::now() < deadline, "reported {} times", reports());
        std::thread::yield_now();
    }
    process.signal(SIGINT);
    assert_eq!(process.end().code(), 130);
}

#[test]
fn one_thread_may_have_a_patience_of_its_own() {
    let folder = Folder::new("impatient");
    let ended = support::run(&mut subject("impatient", &folder.config("shutdown: { patience: 1h }")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    let reports = log.matches("for main/quick to stop:").count();
    // After 20 ms, then 40, 80, 160: growing, or it would be fifteen.
    assert!((1..=5).contains(&reports), "{reports} reports:\n{log}");
    assert!(!log.contains("for main/unhurried to stop:"), "{log}");
    let slowest = log.lines().find(|line| line.contains("all threads have stopped")).expect("how long it took");
    assert!(slowest.contains(" main/quick ") && slowest.contains(" main/unhurried "), "{slowest}");
}

#[test]
fn the_slowest_to_stop_are_listed_whenever_they_ended() {
    let folder = Folder::new("sluggish");
    let ended = support::run(&mut subject("sluggish", &folder.config("")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    let line = log.lines().find(|line| line.contains("; the slowest: ")).expect("how long it took");
    let list = line.split("; the slowest: ").nth(1).expect("a list");
    assert!(list.starts_with("main/pool/sluggish "), "{line}");
    assert!((2..=5).contains(&list.matches("main/pool/").count()), "{line}");
}

#[test]
fn on_stuck_abort_ends_the_process_with_70() {
    let more = "shutdown: { patience: 50ms, on_stuck: abort }";
    let (ended, log) = interrupted("abort", "deaf", more, &[SIGTERM]);
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    for text in [&ended.stderr, &log] {
        assert!(text.contains("main/deaf does not stop, and shutdown.on_stuck is abort"), "{text}");
    }
}

#[test]
fn a_log_that_hangs_keeps_no_signal_from_being_heard() {
    let mut process = Process::start(std::process::Command::new(support::program("subject")).arg("stuck-log"));
    // Main is asked although the line about it could not be written.
    process.wait_for("ready").signal(SIGINT).wait_for("asked").signal(SIGINT);
    let ended = process.end();
    assert_eq!(ended.code(), 130);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
}

#[test]
fn a_log_that_hangs_at_the_very_end_can_be_interrupted() {
    use std::os::unix::process::ExitStatusExt;
    let mut process = Process::start(std::process::Command::new(support::program("subject")).arg("stuck-end"));
    process.wait_for("ready").signal(SIGINT).wait_for("ends").signal(SIGINT);
    let status = process.end().status;
    // By us, or, when we listen no more, by the signal itself.
    assert!(status.code() == Some(130) || status.signal() == Some(SIGINT), "{status}");
}
