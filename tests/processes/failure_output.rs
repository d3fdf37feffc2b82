//! What a program that fails leaves behind: one report on stderr, one record of it in the log, for
//! each kind of payload.

use crate::support::{Ended, Folder, Process, program, run, undisturbed, until};
use std::process::Command;

/// How the scenario ended, with its log. An end has one second for the log. A run that took longer, and whose
/// log lacks a part, is repeated.
fn failing_in_time(scenario: &str, parts: &[&str]) -> (Ended, String) {
    let once = || {
        let folder = Folder::new(scenario);
        (failing(scenario, &folder), folder.read("app.log"))
    };
    undisturbed(once, |(ended, log)| ended.is_slow_without(&[log], parts))
}

fn failing(scenario: &str, folder: &Folder) -> Ended {
    let config = folder.config("");
    run(Command::new(program("failing")).arg(scenario).arg(config))
}

#[test]
fn reports_have_place_history_and_spawns() {
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
fn unusual_payloads_are_reported() {
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
fn a_thread_exit_panic_is_logged() {
    let parts = [
        "INFO main/leaver before the end",
        "ERROR main/leaver main/leaver panicked at tests/programs/failing.rs:",
        "too late",
    ];
    let (ended, log) = failing_in_time("panic-at-thread-exit", &parts);
    assert_eq!(ended.status.code(), None, "the standard library aborts: {}", ended.stderr);
    assert!(parts.iter().all(|part| log.contains(part)), "{log}");
    assert!(log.trim_end().ends_with("too late"), "{log}");
}

#[test]
fn a_caught_thread_exit_panic_is_harmless() {
    let folder = Folder::new("caught-at-thread-exit");
    let ended = failing("caught-at-thread-exit", &folder);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    assert!(log.contains("too late, and caught") && log.contains("INFO main still here"), "{log}");
}

#[test]
fn a_target_that_panics_at_thread_exit_is_no_end() {
    let folder = Folder::new("target-at-thread-exit");
    let ended = failing("target-at-thread-exit", &folder);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let log = folder.read("app.log");
    for text in ["the target panics", "the captured value panics", "INFO main still here"] {
        assert!(log.contains(text), "{log}");
    }
}

#[test]
fn an_unjoined_failure_is_logged_once_immediately() {
    let folder = Folder::new("service");
    let ended = failing("service", &folder);
    assert_eq!(ended.code(), 1);
    let log = folder.read("app.log");
    for line in ["main/ingest failed: cannot reach the broker\n", "main/parent/child failed: two levels down\n"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
        assert!(log.find(line) < log.find("main goes on"), "{log}");
    }
    assert!(ended.stderr.contains("main/ingest failed: cannot reach the broker"), "{}", ended.stderr);
}

#[test]
fn a_held_failure_is_logged_before_the_join() {
    let folder = Folder::new("held");
    let config = folder.config("");
    let mut service = Process::start(Command::new(program("failing")).arg("held").arg(config));
    let lines = [
        "main/ingest failed: cannot reach the broker; its handle is held, and no thread has joined it yet\n",
        "main/flaky failed: no cache (after 1 restart); its handle is held, and no thread has joined it yet\n",
    ];
    let log = || std::fs::read_to_string(folder.path().join("app.log")).unwrap_or_default();
    until("both failures are in the log", || lines.iter().all(|line| log().contains(line)));
    service.signal(libc::SIGTERM);
    let ended = service.end();
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    let log = folder.read("app.log");
    let counts = ["cannot reach the broker", "no thread has joined", "told by the hook", "joined at once"]
        .map(|text| log.matches(text).count());
    assert_eq!(counts, [1, 2, 1, 0], "{log}");
    assert_eq!(ended.stderr.matches("main/ingest failed: cannot reach the broker").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_released_failure_is_logged_once() {
    let folder = Folder::new("released");
    let ended = failing("released", &folder);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let log = folder.read("app.log");
    for text in ["released panic", "released error"] {
        assert_eq!(log.matches(text).count(), 1, "{log}");
        assert!(log.find(text) < log.find("main goes on"), "{log}");
    }
}

#[test]
fn an_unseen_result_is_warned_of_once() {
    let folder = Folder::new("unseen");
    let ended = failing("unseen", &folder);
    assert_eq!(ended.code(), 0);
    let log = folder.read("app.log");
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("main/plain was spawned at tests/programs/failing.rs:"), "{log}");
    assert!(log.contains("to return a core::result::Result<(), &str>, but its handle was dropped"), "{log}");
}

#[test]
fn many_failures_are_all_logged_and_counted() {
    let folder = Folder::new("connections");
    let ended = failing("connections", &folder);
    assert_eq!(ended.code(), 1);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines[1], "main failed: 500 threads below it failed", "{}", ended.stderr);
    assert_eq!(lines.last(), Some(&"└─ and 436 more, each of which is in the log"), "{}", ended.stderr);
    let is_told = |text: &str, number: u32| text.contains(&format!("failed: reset {number}."));
    let kept: Vec<_> = (0..500).filter(|number| is_told(&ended.stderr, *number)).collect();
    let expected: Vec<_> = (0..32).chain(468..500).collect();
    assert_eq!(kept, expected);
    let log = folder.read("app.log");
    for number in 0..500 {
        assert_eq!(log.matches(&format!("failed: reset {number}.")).count(), 1, "{number}: {log}");
    }
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("it keeps the first 32 and the last 32"), "{log}");
}

#[test]
fn both_panics_of_an_abort_are_logged() {
    let texts = ["the first", "the second", "panic in a destructor during cleanup"];
    let (ended, log) = failing_in_time("double-panic", &texts);
    assert_eq!(ended.status.code(), None, "the standard library aborts: {}", ended.stderr);
    for text in texts {
        assert_eq!(log.matches(text).count(), 1, "{log}");
    }
}

/// Not a failure of a thread, and so in no report: if the log does not take it, nothing else would
/// tell.
#[test]
fn unloggable_faults_are_on_stderr() {
    let faults = [
        "a target of on_go, attached at tests/programs/failing.rs:",
        "go() on (a | b) has no effect",
        "main/again has failed; restart 1 of at most 1 within ",
        "queue \"orders\" was dropped with 1 value",
    ];
    for level in ["off", "info"] {
        let folder = Folder::new("unheard");
        let config = folder.config("");
        let log = folder.read("log4rs.yaml").replace("level: info", &format!("level: {level}"));
        folder.write("log4rs.yaml", &log);
        let ended = run(Command::new(program("failing")).arg("unheard").arg(config));
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let log = folder.read("app.log");
        for fault in faults {
            let told = (ended.stderr.matches(fault).count(), log.matches(fault).count());
            let expected = if level == "off" { (1, 0) } else { (0, 1) };
            assert_eq!(told, expected, "\"{fault}\" with level {level}: {}\n{log}", ended.stderr);
        }
    }
}

/// What another library catches is told with its backtrace at once: no failure may come of it.
#[test]
fn a_panic_of_a_registered_thread_is_reported() {
    const HANDLED: &str = "whether its owner has caught this and handled it is not known";
    let cases = [
        ("registered", Some("main/callback")),
        ("registered-twice", Some("main/outer/inner")),
        ("registered-caught", None),
        ("registered-once", None),
    ];
    for (scenario, failing_path) in cases {
        let folder = Folder::new(scenario);
        let ended = failing(scenario, &folder);
        let (report, log) = (&ended.stderr, folder.read("app.log"));
        assert_eq!(log.matches("panicked at tests/programs/failing.rs:").count(), 1, "{scenario}:\n{log}");
        assert!(log.contains("\n   at ") && log.contains("failing::look_up"), "{scenario}: no backtrace in\n{log}");
        let Some(path) = failing_path else {
            assert_eq!((ended.code(), report.as_str()), (0, ""), "{scenario}");
            continue;
        };
        assert_eq!(ended.code(), 1, "{scenario}");
        assert_eq!(report.matches(&format!("{path} panicked at tests/programs/failing.rs:")).count(), 1, "{report}");
        assert_eq!(report.matches("the map has no entry").count(), 1, "{scenario}:\n{report}");
        for part in ["failing::look_up", HANDLED, "spawned by main"] {
            assert!(report.contains(part), "{scenario}: no \"{part}\" in\n{report}");
        }
    }
}

/// Where the log is not the runtime's, std's own text tells it, which lacks the thread's path.
#[test]
fn the_path_of_a_registered_thread_stands_before_the_text_of_its_panic() {
    let folder = Folder::new("registered-own-log");
    let config = folder.write("selvedge.yaml", "name: subject\nlog: own\n");
    let ended = run(Command::new(program("failing")).arg("registered-once").arg(config));
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| !line.is_empty()).collect();
    let at = lines.iter().position(|line| *line == "selvedge: main/callback panics:");
    let at = at.unwrap_or_else(|| panic!("{}", ended.stderr));
    assert!(lines[at + 1].contains("panicked at tests/programs/failing.rs:"), "{}", ended.stderr);
    assert_eq!(ended.code(), 0);
}

/// It is not said to have ended: nothing has waited for that.
#[test]
fn a_lent_thread_may_go_on_after_a_failure() {
    let ended = failing("registered-once-and-main-fails", &Folder::new("lent-survivor"));
    assert_eq!(ended.code(), 1);
    let line = "main/pool was asked to stop and may go on: nothing waits for its end";
    assert_eq!(ended.stderr.matches(line).count(), 1, "{}", ended.stderr);
}

#[test]
fn a_context_that_main_returns_is_in_the_report() {
    let ended = failing("context-in-main", &Folder::new("context-in-main"));
    let report = &ended.stderr;
    assert_eq!((ended.code(), report.matches("while loading tenant 17").count()), (1, 1), "{report}");
    assert!(report.contains("main failed: while loading tenant 17"), "{report}");
    assert!(report.contains("main/loader panicked at tests/programs/failing.rs:"), "{report}");
}

/// The guard's drop does not see the panic: another panic of the thread may have come before it, or
/// may come while the guard stops its children.
#[test]
fn a_registered_threads_failure_is_its_own_panic() {
    const HANDLED: &str = "handled long ago";
    let cases = [
        ("registered-target-panics", "main/outer/inner panicked at tests/programs/failing.rs:", "the target is broken"),
        ("registered-after-a-panic", "main/second panicked: a panic that was raised again", HANDLED),
        ("registered-again-after-a-panic", "main/second panicked: a panic that was raised again", HANDLED),
    ];
    for (scenario, told, other) in cases {
        let ended = failing(scenario, &Folder::new(scenario));
        let report = &ended.stderr;
        assert_eq!((ended.code(), report.matches(told).count()), (1, 1), "{scenario}:\n{report}");
        let is_first_told = report.contains("main/first panicked at tests/programs/failing.rs:");
        assert_eq!(is_first_told, scenario == "registered-again-after-a-panic", "{report}");
        let panics: Vec<_> = report.lines().filter(|line| line.contains("─ ") && line.contains(" panicked")).collect();
        assert_eq!(panics.len(), 1 + usize::from(is_first_told), "{scenario}:\n{report}");
        assert!(panics.iter().all(|line| !line.contains(other)), "{scenario}:\n{report}");
    }
}

#[test]
fn a_registered_threads_panic_raised_again_is_one_failure() {
    for (scenario, path) in [("registered-and-raised", "main"), ("registered-in-a-thread", "main/worker")] {
        let ended = failing(scenario, &Folder::new(scenario));
        let report = &ended.stderr;
        assert_eq!(ended.code(), 1, "{scenario}");
        assert_eq!(report.matches("the map has no entry").count(), 1, "{scenario}:\n{report}");
        assert!(report.contains(&format!("{path} panicked at tests/programs/failing.rs:")), "{scenario}:\n{report}");
    }
    // Of a panic that comes past the hook the guards see nothing but that there is one.
    let ended = failing("registered-and-raised-unseen", &Folder::new("raised-unseen"));
    assert_eq!((ended.code(), ended.stderr.matches("raised again").count()), (1, 1), "{}", ended.stderr);
    assert!(ended.stderr.contains("main/outer/inner panicked: "), "{}", ended.stderr);
}
