//! What a program that fails leaves behind: one report on stderr, one record of it in the log, whatever was panicked with.

mod support;

use std::process::Command;
use support::{Ended, Folder, program, run};

fn failing(scenario: &str, folder: &Folder) -> Ended {
    let config = folder.config("");
    run(Command::new(program("failing")).arg(scenario).arg(config))
}

#[test]
fn the_report_tells_where_it_was_what_came_before_and_where_the_thread_came_from() {
    let folder = Folder::new("reported");
    let ended = failing("reported", &folder);
    assert_eq!(ended.code(), 1);
    let report = &ended.stderr;
    let at = |part: &str| report.find(part).unwrap_or_else(|| panic!("no \"{part}\" in:\n{report}"));
    let parts = [
        "selvedge: subject failed\n",
        "main failed: 1 thread below it failed\n",
        "main/service failed: 1 thread below it failed\n",
        "main/service/worker panicked at tests/programs/failing.rs:",
        "the map has no entry",
        "for Zürich",
        "failing::look_up",
        "spawned by main/service at tests/programs/failing.rs:",
        "spawned by main at tests/programs/failing.rs:",
        "context: request=17",
        "it had logged:",
        " INFO  step 3\n",
        " INFO  step 12\n",
        "below it, and well:",
        "main/service/worker/lamp stopped ",
    ];
    for pair in parts.windows(2) {
        assert!(at(pair[0]) < at(pair[1]), "\"{}\" comes after \"{}\" in:\n{report}", pair[0], pair[1]);
    }
    for absent in ["step 2\n", "not in the log", "\x1b", "selvedge::", "core::panicking"] {
        assert!(!report.contains(absent), "\"{absent}\" in:\n{report}");
    }
    assert_eq!(report.matches("the map has no entry").count(), 1, "told once:\n{report}");
    assert_eq!(folder.read("app.log").matches("the map has no entry").count(), 1);
}

#[test]
fn payloads_that_are_no_strings_or_panic_when_dropped_are_reported() {
    for (scenario, thread) in [("no-string", "main/odd"), ("rude-payload", "main/rude")] {
        let folder = Folder::new(scenario);
        let ended = failing(scenario, &folder);
        assert_eq!(ended.code(), 1, "{}", ended.stderr);
        let line = format!("└─ {thread} panicked at tests/programs/failing.rs:");
        assert_eq!(ended.stderr.matches(&line).count(), 1, "{}", ended.stderr);
        let log = folder.read("app.log");
        assert!(log.contains(&format!("ERROR {thread} {thread} panicked at")), "{log}");
    }
}

#[test]
fn a_panic_at_thread_exit_is_in_the_log_before_the_process_aborts() {
    let folder = Folder::new("panic-at-thread-exit");
    let ended = failing("panic-at-thread-exit", &folder);
    assert_eq!(ended.status.code(), None, "the standard library aborts: {}", ended.stderr);
    let log = folder.read("app.log");
    assert!(log.contains("INFO main/leaver before the end"), "{log}");
    assert!(log.contains("ERROR main/leaver main/leaver panicked at tests/programs/failing.rs:"), "{log}");
    assert!(log.trim_end().ends_with("too late"), "{log}");
}

#[test]
fn a_panic_at_thread_exit_that_is_caught_there_harms_nothing() {
    let folder = Folder::new("caught-at-thread-exit");
    let ended = failing("caught-at-thread-exit", &folder);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    assert!(log.contains("too late, and caught") && log.contains("INFO main still here"), "{log}");
}
