//! A program ends in order, says what failed, once, and gives the right exit code.

use crate::support::{Folder, program, run, subject};

#[test]
fn a_program_that_is_well_ends_with_0() {
    let folder = Folder::new("ok");
    let ended = run(&mut subject("ok", &folder.config("")));
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let log = folder.read("app.log");
    assert!(log.contains("INFO main all is well"), "{log}");
    assert!(log.lines().last().unwrap().starts_with("INFO main subject has ended"), "{log}");
}

#[test]
fn mains_error_is_reported_once_with_1() {
    let folder = Folder::new("error");
    let ended = run(&mut subject("error", &folder.config("")));
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.starts_with("selvedge: subject failed\nmain failed: No such file"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("No such file").count(), 1);
    assert_eq!(folder.read("app.log").matches("No such file").count(), 1);
}

#[test]
fn mains_panic_is_reported_once_with_1() {
    let folder = Folder::new("panic");
    let ended = run(&mut subject("panic", &folder.config("")));
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("main panicked at tests/programs/subject.rs:"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("main is broken").count(), 1, "{}", ended.stderr);
    assert_eq!(folder.read("app.log").matches("main is broken").count(), 1);
}

#[test]
fn unjoined_panics_are_reported_with_their_place() {
    let folder = Folder::new("child-panic");
    let ended = run(&mut subject("child-panic", &folder.config("")));
    assert_eq!(ended.code(), 1);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines[..2], ["selvedge: subject failed", "main failed: 1 thread below it failed"]);
    assert!(lines[2].starts_with("└─ main/child panicked at tests/programs/subject.rs:"), "{}", ended.stderr);
    assert!(lines[2].ends_with(": the child is broken"));
    assert!(
        lines.iter().skip(3).all(|line| !line.contains("std::") && !line.contains("selvedge::")),
        "{}",
        ended.stderr
    );
    let log = folder.read("app.log");
    assert_eq!(log.matches("the child is broken").count(), 1, "{log}");
    assert!(log.contains("ERROR main/child main/child panicked at tests/programs/subject.rs:"), "{log}");
}

#[test]
fn a_failure_through_joins_is_told_once() {
    let folder = Folder::new("returned");
    let ended = run(&mut subject("returned", &folder.config("")));
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.stderr.matches("told once").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("main/parent/child panicked at"), "{}", ended.stderr);
}

#[test]
fn a_caught_panic_is_logged_only() {
    let folder = Folder::new("caught");
    let ended = run(&mut subject("caught", &folder.config("")));
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    assert_eq!(folder.read("app.log").matches("caught by the program").count(), 1);
}

#[test]
fn an_unjoined_error_is_reported_and_logged() {
    let folder = Folder::new("child-error");
    let ended = run(&mut subject("child-error", &folder.config("")));
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("└─ main/child failed: the child could not"), "{}", ended.stderr);
    let log = folder.read("app.log");
    assert_eq!(log.matches("main/child failed: the child could not").count(), 1, "{log}");
}

#[test]
fn a_panic_within_the_logger_hangs_nothing() {
    let folder = Folder::new("log-panic");
    let ended = run(&mut subject("log-panic", &folder.config("")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    assert!(log.contains("survived: main/rude panicked at"), "{log}");
}

#[test]
fn a_program_may_keep_its_own_main() {
    let folder = Folder::new("own-main");
    let mut process = crate::support::Process::start(&mut subject("own-main", &folder.config("")));
    process.wait_for("asked which thread is main").wait_for("ready");
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        process.signal(libc::SIGINT);
        assert_eq!(
            process.end().status.signal(),
            Some(libc::SIGINT),
            "with no runtime, SIGINT does what it always did"
        );
    }
}

#[test]
fn a_textless_error_of_main_is_reported() {
    let folder = Folder::new("rude-error");
    let ended = run(&mut subject("rude-error", &folder.config("")));
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.starts_with("selvedge: subject failed\nmain panicked at "), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("no text for you").count(), 1);
}

#[test]
fn the_first_call_may_come_during_a_panic() {
    let ended = run(std::process::Command::new(program("subject")).arg("register-on-panic"));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

#[test]
fn without_a_config_the_log_is_stderr() {
    let ended = run(std::process::Command::new(program("subject")).arg("ok"));
    assert_eq!(ended.code(), 0);
    assert!(ended.stderr.contains("all is well") && ended.stderr.contains("main"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

fn unregistered(scenario: &str) -> crate::support::Ended {
    let ended = run(std::process::Command::new(program("unregistered")).arg(scenario));
    assert_eq!(ended.code(), 0, "{scenario}: {}", ended.stderr);
    ended
}

#[test]
fn unregistered_threads_may_spawn_while_a_runtime_ends() {
    for scenario in ["spawn", "spawn-and-drop", "builder", "scope", "register"] {
        let ended = unregistered(scenario);
        assert!(!ended.stderr.contains("panicked"), "{scenario}: {}", ended.stderr);
    }
}

#[test]
fn an_ending_thread_takes_bounded_late_children() {
    unregistered("named-parent");
}

#[test]
#[cfg(target_os = "linux")]
fn one_thread_is_main_wherever_the_runtime_starts() {
    unregistered("two-mains");
}

#[test]
#[cfg(target_os = "linux")]
fn a_thread_named_main_is_not_main() {
    unregistered("named-main");
}

#[test]
fn runtimes_on_the_main_thread_leave_no_memory() {
    unregistered("again");
}

/// What is told at the end is what the end waited for, and what no runtime waits for.
#[test]
fn a_busy_pool_is_no_warning_at_the_end() {
    let stderr = unregistered("busy-pool").stderr;
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    assert!(warnings[0].contains("1 thread that unregistered threads have started"), "{stderr}");
    assert!(warnings[0].ends_with(": main/pool/late"), "{stderr}");
    let slowest = stderr.lines().find(|line| line.contains("; the slowest: ")).expect("the slowest");
    assert!(slowest.contains("main/slow ") && !slowest.contains("main/pool "), "{stderr}");
}

#[test]
fn every_call_works_while_a_thread_ends() {
    let ended = unregistered("exit");
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
