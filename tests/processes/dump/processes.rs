//! Dumps of a process that hangs, or that does not stop. A process that is too slow to be asked is asked
//! again.

use super::{STACKS, until};
use crate::support::{Ended, Folder, Process, undisturbed};
use libc::{SIGINT, SIGTERM, SIGUSR1};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn subject(scenario: &str, config: Option<&Path>) -> Process {
    let mut command = Command::new(crate::support::program("dump_subject"));
    command.arg(scenario).args(config);
    let mut process = Process::start(&mut command);
    process.wait_for("ready");
    process
}

#[test]
#[cfg(target_os = "linux")]
fn others_exclude_tree_and_runtime_threads() {
    let folder = Folder::new("no-others");
    let mut process = subject("several", Some(&folder.config("")));
    // A thread that the C library or the runtime makes may not be known at the first one.
    until("a dump without other threads", || {
        let dump = next_dump(&folder, &mut process);
        if dump.contains("other/") || dump.contains("not in the tree") { Err(dump) } else { Ok(()) }
    });
    process.signal(SIGTERM);
    assert_eq!(process.end().code(), 1, "a thread has panicked");
}

fn log_of(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join("app.log")).unwrap_or_default()
}

/// Asks for a dump, again each second. What the log has of it, from its begin on.
fn next_dump(folder: &Folder, process: &mut Process) -> String {
    let (before, mut asked) = (log_of(folder).len(), None);
    until("the dump's end", || {
        if asked.is_none_or(|asked: Instant| asked.elapsed() >= Duration::from_secs(1)) {
            process.signal(SIGUSR1);
            asked = Some(Instant::now());
        }
        let log = log_of(folder).split_off(before);
        // Its last part is there.
        if log.contains("dump of process") && log.contains("the runtime's own:") { Ok(log) } else { Err(log) }
    })
}

/// Asks for dumps until one has all of it; the last stands in the log and on stderr.
fn asked(test: &str, scenario: &str, wanted: &[&str]) -> String {
    let folder = Folder::new(test);
    let mut process = subject(scenario, Some(&folder.config("")));
    let stderr = process.watch_stderr();
    let text = until("a dump", || {
        let whole = next_dump(&folder, &mut process);
        if wanted.iter().all(|part| whole.contains(part)) { Ok(whole) } else { Err(whole) }
    });
    until("the same on stderr", || {
        let said = stderr.lock().unwrap().clone();
        if wanted.iter().all(|part| said.contains(part)) { Ok(()) } else { Err(said) }
    });
    process.kill();
    process.end();
    text
}

fn at<'a>(function: &'a str, otherwise: &'a str) -> &'a str {
    if STACKS { function } else { otherwise }
}

#[test]
fn sigusr1_dumps_to_log_and_stderr() {
    let text = asked("several", "several", &["main/pool/worker-0 … worker-7 (8 threads)", "main/burner, running"]);
    assert!(text.contains("WARN main/selvedge/os-signals/dump/dump-log dump of process "), "{text}");
    assert!(text.contains("failure not joined yet: main/unlucky panicked at "), "{text}");
}

#[test]
fn a_hanging_main_is_shown_with_its_place() {
    asked(
        "hangs",
        "hangs",
        &["main, asleep in a call outside of selvedge", at("dump_subject::wait_without_end", "main")],
    );
}

#[test]
fn a_hanging_log_leaves_dumps_on_stderr() {
    let mut process = subject("blocked-log", None);
    let stderr = process.watch_stderr();
    until("two dumps", || {
        process.signal(SIGUSR1);
        let said = stderr.lock().unwrap().clone();
        if said.matches("the runtime's own:").count() >= 2 { Ok(()) } else { Err(said) }
    });
    process.kill();
    process.end();
}

/// A call during another dump gets that dump.
#[test]
fn a_flood_of_signals_makes_single_dumps() {
    let folder = Folder::new("flood");
    let mut process = subject("alone", Some(&folder.config("")));
    let dumps = || log_of(&folder).matches("dump of process").count();
    until("some dumps", || {
        process.signal(SIGUSR1);
        if dumps() >= 3 { Ok(()) } else { Err(log_of(&folder)) }
    });
    process.kill();
    process.end();
    // The maker leaves itself out; one before it may be about to end.
    let log = log_of(&folder);
    let makers = log.split("dump of process").map(|dump| dump.matches("main/selvedge/os-signals/dump, ").count());
    assert!(makers.max() < Some(3), "{log}");
}

#[test]
fn a_dump_works_during_shutdown() {
    let folder = Folder::new("middle");
    let mut process = subject("alone", Some(&folder.config("shutdown: { grace: 0s }")));
    process.signal(SIGTERM);
    let parts = ["dump of process", "asked to stop: its parent main ended", "SIGTERM came"];
    until("asked to stop", || {
        let log = next_dump(&folder, &mut process);
        if parts.iter().all(|part| log.contains(part)) { Ok(()) } else { Err(log) }
    });
    process.signal(SIGINT);
    assert_eq!(process.end().code(), 130);
}

#[test]
fn the_signal_can_be_another_or_none() {
    use std::os::unix::process::ExitStatusExt;
    let folder = Folder::new("none");
    let mut process = subject("alone", Some(&folder.config("dump: { signal: none }")));
    process.signal(SIGUSR1);
    assert_eq!(process.end().status.signal(), Some(SIGUSR1), "as in any program");
    let folder = Folder::new("another");
    let mut process = subject("alone", Some(&folder.config("dump: { signal: SIGQUIT }")));
    process.signal(libc::SIGQUIT);
    until("a dump", || Some(()).filter(|()| log_of(&folder).contains("the runtime's own:")).ok_or(log_of(&folder)));
    process.kill();
    process.end();
}

/// What is said of a thread that does not stop. The last words may come too late where it takes long.
fn stuck(scenario: &str, wanted: &[&str]) {
    let path = wanted[0].split(',').next().unwrap();
    let parts = ["; not stopped:\n  main, ".to_owned(), format!("\n  {path}, ")];
    let parts = [&*parts[0], &*parts[1]];
    let ended = undisturbed(|| ended_stuck(scenario, wanted), |ended| ended.is_slow_without(&[&ended.stderr], &parts));
    assert_eq!(ended.code(), 130);
    assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{}", ended.stderr);
}

fn ended_stuck(scenario: &str, wanted: &[&str]) -> Ended {
    let folder = Folder::new(scenario);
    let mut process = subject(scenario, Some(&folder.config("shutdown: { patience: 100ms, grace: 0s }")));
    process.signal(SIGTERM);
    let report = until("a report", || {
        let log = log_of(&folder);
        // Each begins anew, and one of them has come while the thread had a processor.
        let mut reports = log.split("the runtime has waited ").skip(1);
        let whole = reports.find(|report| wanted.iter().all(|part| report.contains(part)));
        whole.map(str::to_owned).ok_or(log)
    });
    assert!(report.contains(" to stop:\n"), "{report}");
    assert!(report.contains("asked to stop: its parent main ended") && report.contains("SIGTERM came"), "{report}");
    // Said again.
    until("another", || {
        let count = log_of(&folder).matches("the runtime has waited ").count();
        if count >= 3 { Ok(()) } else { Err(count.to_string()) }
    });
    process.signal(SIGINT);
    process.end()
}

#[test]
fn one_that_spins_is_reported_with_where() {
    stuck("spins", &["main/spinner, ", at("    at programs::dump_subject::spin_forever (tests/programs/", "running")]);
}

#[test]
fn a_reading_thread_is_reported_with_its_call() {
    let function = at("    at programs::dump_subject::read_an_empty_pipe (tests/programs/", "");
    let call = at("read\n      at <std::sys::", "");
    let call = if cfg!(target_env = "gnu") { call } else { "" };
    stuck("reads", &["main/reader, asleep in a call outside of selvedge", function, call]);
}

#[test]
fn a_lock_cycle_is_reported_with_both_threads() {
    let right = "main/takes-right, waiting ";
    let parts = [
        right,
        "for lock \"left\", held by main/takes-left",
        "which waits for main/takes-left, waiting ",
        "for lock \"right\", held by main/takes-right",
        "which waits for main/takes-right: they wait for each other",
        at("    at programs::dump_subject::take_both (tests/programs/", ""),
    ];
    stuck("cycle", &parts);
}

#[test]
fn a_wait_for_an_unheld_signal_is_reported() {
    let call = at("    at selvedge::signal::handle::Signal::wait_for_go\n", "");
    stuck("alone", &["main/listener, waiting ", "for signal \"a bell\"", call]);
}

#[test]
fn abort_writes_log_and_profile_with_70() {
    let more = "shutdown: { patience: 60s, on_stuck: abort }\n\
                profile: { enabled: true, output: out, formats: [folded] }";
    let run = || {
        let folder = Folder::new("abort-profile");
        let mut process = subject("spins", Some(&folder.config(more)));
        process.signal(SIGTERM);
        let ended = process.end();
        assert_eq!(ended.code(), 70, "{}", ended.stderr);
        (ended, log_of(&folder), folder)
    };
    let parts = [
        "main/spinner does not stop, and shutdown.on_stuck is abort",
        "not stopped:\n  main, waiting ",
        "  main/spinner, ",
    ];
    let is_late = |(ended, log, _): &(Ended, String, Folder)| ended.is_slow_without(&[&ended.stderr, log], &parts);
    let (ended, log, folder) = undisturbed(run, is_late);
    for text in [&ended.stderr, &log] {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    if STACKS {
        assert!(folder.read("out/subject.folded").contains("main;spinner;"), "the profile was written");
    }
}
