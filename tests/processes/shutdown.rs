//! SIGINT and SIGTERM end a program in order; a second one ends it at once; a thread that does not
//! stop is named.
#![cfg(unix)]

use crate::support::{Folder, Process, subject};
use libc::{SIGINT, SIGTERM};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

fn interrupted(test: &str, scenario: &str, more: &str, signals: &[i32]) -> (crate::support::Ended, String) {
    let folder = Folder::new(test);
    let mut process = Process::start(&mut subject(scenario, &folder.config(more)));
    process.wait_for("ready");
    for (number, signal) in signals.iter().enumerate() {
        if number > 0 {
            // Two pending signals of one kind are one: the first must have been taken, and main be
            // at its last join.
            until_logged(&folder, "for main/deaf to stop:");
        }
        process.signal(*signal);
    }
    let ended = process.end();
    let log = folder.read("app.log");
    (ended, log)
}

/// Less than the programs would wait by themselves, and enough for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(60);

fn until_logged(folder: &Folder, what: &str) {
    let deadline = std::time::Instant::now() + crate::support::ALARM;
    while !std::fs::read_to_string(folder.path().join("app.log")).unwrap_or_default().contains(what) {
        assert!(std::time::Instant::now() < deadline, "never logged: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn sigint_stops_everything_and_gives_130() {
    let (ended, log) = interrupted("sigint", "wait", "", &[SIGINT]);
    assert_eq!(ended.code(), 130, "{}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    assert!(log.contains("INFO main/selvedge/os-signals/notice interrupted by SIGINT"), "{log}");
    assert!(!log.contains("WARN ") && !log.contains("ERROR "), "all is well, so nothing is a warning:\n{log}");
    assert!(log.lines().last().unwrap().contains("was interrupted by SIGINT and has stopped in order"), "{log}");
}

#[test]
fn sigterm_stops_everything_and_gives_0() {
    let (ended, log) = interrupted("sigterm", "wait", "", &[SIGTERM]);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    assert!(log.lines().last().unwrap().starts_with("INFO main subject was interrupted by SIGTERM"), "{log}");
    assert!(!log.contains("WARN "), "{log}");
}

#[test]
fn a_main_that_only_joins_can_be_interrupted() {
    let (ended, _) = interrupted("join-only", "join-only", "", &[SIGINT]);
    assert_eq!(ended.code(), 130, "{}", ended.stderr);
}

#[test]
fn threads_end_in_the_promised_order() {
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
fn a_second_signal_ends_a_slow_stop() {
    for (signals, code) in [([SIGINT, SIGINT], 130), ([SIGTERM, SIGTERM], 143), ([SIGINT, SIGTERM], 143)] {
        let (ended, log) = interrupted("second", "deaf", "shutdown: { patience: 20ms, grace: 0s }", &signals);
        assert_eq!(ended.code(), code, "{}", ended.stderr);
        assert!(ended.took < AT_ONCE, "{:?}", ended.took);
        for text in [&ended.stderr, &log] {
            assert!(text.contains("not stopped:"), "{text}");
            assert!(text.contains("main/deaf, waiting") && text.contains("for signal \"a bell\""), "{text}");
            assert!(text.contains("main, waiting") && text.contains("for thread \"main/deaf\""), "{text}");
        }
    }
}

#[test]
fn a_stuck_thread_is_reported_repeatedly() {
    let folder = Folder::new("patience");
    let mut process = Process::start(&mut subject("deaf", &folder.config("shutdown: { patience: 20ms, grace: 0s }")));
    process.wait_for("ready").signal(SIGINT);
    until_logged(&folder, "for signal \"a bell\"");
    let reports = || folder.read("app.log").matches("for main/deaf to stop:").count();
    let deadline = std::time::Instant::now() + crate::support::ALARM;
    while reports() < 3 {
        assert!(std::time::Instant::now() < deadline, "reported {} times", reports());
        std::thread::yield_now();
    }
    process.signal(SIGINT);
    assert_eq!(process.end().code(), 130);
}

#[test]
fn a_thread_may_have_its_own_patience() {
    let folder = Folder::new("impatient");
    let ended = crate::support::run(&mut subject("impatient", &folder.config("shutdown: { patience: 1h }")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    let reports = log.matches("for main/quick to stop:").count();
    // After 20 ms, then 40, 80, 160, 320, 640: growing, or it would be fifty.
    assert!((1..=7).contains(&reports), "{reports} reports:\n{log}");
    assert!(!log.contains("for main/unhurried to stop:"), "{log}");
    let slowest = log.lines().find(|line| line.contains("all threads have stopped")).expect("how long it took");
    assert!(slowest.contains(" main/quick ") && slowest.contains(" main/unhurried "), "{slowest}");
}

#[test]
fn the_slowest_to_stop_are_listed() {
    let folder = Folder::new("sluggish");
    let ended = crate::support::run(&mut subject("sluggish", &folder.config("")));
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
fn signals_are_heard_though_the_log_hangs() {
    let mut process = Process::start(std::process::Command::new(crate::support::program("subject")).arg("stuck-log"));
    // Main is asked although the line about it could not be written.
    process.wait_for("ready").signal(SIGINT).wait_for("asked").signal(SIGINT);
    let ended = process.end();
    assert_eq!(ended.code(), 130);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
}

#[test]
fn a_log_hanging_at_exit_can_be_interrupted() {
    let mut process = Process::start(std::process::Command::new(crate::support::program("subject")).arg("stuck-end"));
    process.wait_for("ready").signal(SIGINT).wait_for("ends").signal(SIGINT);
    let status = process.end().status;
    // By us, or, when we listen no more, by the signal itself.
    assert!(status.code() == Some(130) || status.signal() == Some(SIGINT), "{status}");
}

/// With a thread that does not stop, `on_stuck: abort`: how the process ended, once it was asked by
/// SIGTERM.
fn aborted(scenario: &str) -> crate::support::Ended {
    let (ended, _) = interrupted(scenario, scenario, "shutdown: { patience: 100ms, on_stuck: abort }", &[SIGTERM]);
    assert_eq!(ended.code(), 70, "{scenario}: {}", ended.stderr);
    ended
}

#[test]
fn patience_counts_from_the_ask() {
    for (scenario, path) in [
        ("stuck-main", "main"),
        ("stuck-join", "main/stuck"),
        ("stuck-scope", "main/stuck"),
        ("stuck-middle", "main/middle/stuck"),
    ] {
        let ended = aborted(scenario);
        let first = format!("selvedge: {path} does not stop, and shutdown.on_stuck is abort, after ");
        assert!(ended.stderr.starts_with(&first), "{scenario}: {}", ended.stderr);
        assert!(ended.stderr.contains("asked to stop: "), "{}", ended.stderr);
    }
}

#[test]
fn ask_all_reports_a_stuck_mains_child() {
    let more = "shutdown: { patience: 100ms, on_stuck: abort, ask: all }";
    let (ended, _) = interrupted("stuck-beside", "stuck-beside", more, &[SIGTERM]);
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("selvedge: main/stuck does not stop"), "{}", ended.stderr);
    assert!(ended.stderr.contains("; nor does main"), "{}", ended.stderr);
}

#[test]
fn a_stuck_main_is_logged_repeatedly() {
    let folder = Folder::new("stuck-waits");
    let mut process =
        Process::start(&mut subject("stuck-join", &folder.config("shutdown: { patience: 50ms, grace: 0s }")));
    process.wait_for("ready").signal(SIGTERM);
    let deadline = std::time::Instant::now() + crate::support::ALARM;
    while folder.read("app.log").matches("(reported again in ").count() < 3 {
        assert!(std::time::Instant::now() < deadline, "{}", folder.read("app.log"));
        std::thread::yield_now();
    }
    process.signal(SIGTERM);
    assert_eq!(process.end().code(), 143);
    let log = folder.read("app.log");
    // One report of both: the thread that does not stop, and behind it the thread that joins it.
    let report = log.split("the runtime has waited ").nth(1).unwrap();
    for part in [" for main/stuck to stop:\n", "after this: SIGTERM came", "1 thread waits for that: main\n"] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
}

#[test]
fn an_unstopped_crowd_is_one_short_report() {
    // On a busy machine the forty threads may be asked at times that are far apart. Then there are
    // two reports, and the run is repeated.
    let mut log = String::new();
    for _ in 0..5 {
        let folder = Folder::new("stuck-many");
        let mut process =
            Process::start(&mut subject("stuck-many", &folder.config("shutdown: { patience: 300ms, grace: 0s }")));
        process.wait_for("ready").signal(SIGTERM);
        until_logged(&folder, " more to stop: ");
        process.signal(SIGTERM);
        assert_eq!(process.end().code(), 143);
        log = folder.read("app.log");
        if let Some((first, _)) = log.split_once("35 threads more to stop: ") {
            assert_eq!(first.matches(" to stop:\n").count(), 5, "{log}");
            assert!(log.contains(", and 15 more\n"), "{log}");
            return;
        }
    }
    panic!("never one report: {log}");
}

#[test]
fn a_stuck_thread_alone_aborts_nothing() {
    use std::io::Write;
    let folder = Folder::new("one-is-stopped");
    let more = "shutdown: { patience: 50ms, on_stuck: abort }";
    let mut process =
        Process::start_reading(&mut subject("one-is-stopped", &folder.config(more)), std::process::Stdio::piped());
    process.wait_for("ready");
    until_logged(&folder, " for main/slow to stop:");
    process.input().write_all(b"go on\n").unwrap();
    let ended = process.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

#[test]
fn a_hanging_thread_local_destructor_is_reported() {
    for scenario in ["stuck-destructor", "stuck-destructor-joined"] {
        let folder = Folder::new(scenario);
        let more = "shutdown: { patience: 100ms, on_stuck: abort }";
        let mut process = Process::start(&mut subject(scenario, &folder.config(more)));
        process.wait_for("ready");
        if scenario == "stuck-destructor-joined" {
            until_logged(&folder, "main/leaving has returned");
            process.signal(SIGTERM);
        }
        let ended = process.end();
        assert_eq!(ended.code(), 70, "{scenario}: {}", ended.stderr);
        let log = folder.read("app.log");
        assert!(log.contains("a destructor of one of its thread-locals still runs"), "{scenario}: {log}");
    }
}

#[test]
fn signals_of_one_burst_cut_no_drain() {
    for (signals, code) in [([SIGTERM, SIGTERM], 0), ([SIGINT, SIGTERM], 130), ([SIGTERM, SIGINT], 0)] {
        let folder = Folder::new("burst");
        let mut process = Process::start(&mut subject("drain", &folder.config("shutdown: { grace: 1h }")));
        process.wait_for("ready").signal(signals[0]).wait_for("drains");
        process.signal(signals[1]);
        let ended = process.end();
        assert_eq!(ended.code(), code, "{signals:?}: {}", ended.stderr);
        assert!(ended.stdout.contains("drained"), "{signals:?}: {}", ended.stdout);
        assert_eq!(ended.stderr, "", "{signals:?}: no terminal, and all is well");
        let log = folder.read("app.log");
        let slowest = log.lines().find(|line| line.contains("; the slowest: ")).expect("how long it took");
        assert!(slowest.contains("; the slowest: main "), "{slowest}");
    }
}

#[test]
fn main_is_asked_alone_or_with_all() {
    for (ask, is_asked) in [("main", false), ("all", true)] {
        let (ended, _) =
            interrupted(&format!("ask-{ask}"), "asked", &format!("shutdown: {{ ask: {ask} }}"), &[SIGTERM]);
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let line = format!("the child was asked before main returned: {is_asked}");
        assert!(ended.stdout.contains(&line), "{ask}: {}", ended.stdout);
    }
}

#[test]
fn sigint_kills_after_main_returns() {
    let (ended, _) = interrupted("dies", "wait", "", &[SIGINT]);
    assert!(ended.stdout.ends_with("run has returned\n"), "{}", ended.stdout);
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        assert_eq!(ended.status.signal(), Some(SIGINT), "{}", ended.status);
    }
}

/// `sh` arranges what the program inherits, and becomes it.
fn inheriting(arrangement: &str, folder: &Folder) -> Process {
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("{arrangement} exec \"$0\" \"$@\"")).arg(crate::support::program("subject"));
    let mut process = Process::start(command.arg("wait").arg(folder.config("")));
    process.wait_for("ready");
    process
}

#[test]
fn a_signal_ignored_at_start_stays_ignored() {
    let folder = Folder::new("ignored");
    let mut process = inheriting("trap '' INT;", &folder);
    process.signal(SIGINT);
    // Had it been heard, it would be the first of the two: the exit code would be 130.
    process.signal(SIGTERM);
    assert_eq!(process.end().code(), 0);
    let log = folder.read("app.log");
    assert!(log.contains("SIGINT is ignored") && !log.contains("by SIGINT"), "{log}");
}

#[test]
fn signals_blocked_at_start_are_heard() {
    use std::os::unix::process::CommandExt;
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new("blocked");
        let mut command = subject("wait", &folder.config(""));
        // SAFETY: between fork and exec it only calls functions that are async-signal-safe, with a
        // set that is on its stack.
        unsafe {
            command.pre_exec(|| {
                let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
                libc::sigfillset(all.as_mut_ptr());
                libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
                Ok(())
            });
        }
        let mut process = Process::start(&mut command);
        process.wait_for("ready").signal(signal);
        assert_eq!(process.end().code(), if signal == SIGINT { 130 } else { 0 });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_process_ignores_and_blocks_no_signal() {
    let folder = Folder::new("child-signals");
    let ended = crate::support::run(&mut subject("child-signals", &folder.config("")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    // While the runtime is up, and after it. The signals from the 32nd on are the C library's own.
    let is_none = |mask: &str| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 0x7fff_ffff == 0);
    let masks = |line: &str| line.split_whitespace().filter(|word| !word.starts_with("Sig")).all(is_none);
    let lines: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("Sig")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| masks(line)), "{}", ended.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn the_end_needs_no_new_thread() {
    let (ended, log) =
        interrupted("no-threads", "no-threads", "shutdown: { patience: 100ms, on_stuck: abort }", &[SIGTERM]);
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    for text in [&ended.stderr, &log] {
        assert!(text.contains("main/stuck does not stop, and shutdown.on_stuck is abort"), "{text}");
        assert!(text.contains("for signal \"a bell\""), "{text}");
    }
    let folder = Folder::new("no-threads-twice");
    let mut process = Process::start(&mut subject("no-threads", &folder.config("shutdown: { grace: 0s }")));
    process.wait_for("ready").signal(SIGTERM);
    until_logged(&folder, "interrupted by SIGTERM");
    process.signal(SIGTERM);
    let ended = process.end();
    assert_eq!(ended.code(), 143);
    assert!(
        ended.stderr.contains("a second signal, SIGTERM") && ended.stderr.contains("main/stuck, waiting"),
        "{}",
        ended.stderr
    );
}
