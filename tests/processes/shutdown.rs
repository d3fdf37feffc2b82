//! SIGINT and SIGTERM end a program in order; a second one ends it at once; a thread that does not
//! stop is named.
#![cfg(unix)]

use crate::support::{Ended, Folder, Process, subject, undisturbed, until};
use libc::{SIGINT, SIGTERM};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ABORT_SOON: &str = "shutdown: { patience: 100ms, on_stuck: abort }";

fn interrupted(test: &str, scenario: &str, more: &str, signals: &[i32]) -> (Ended, String) {
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
    let file = folder.path().join("app.log");
    until(what, || std::fs::read_to_string(&file).is_ok_and(|log| log.contains(what)));
}

/// The same as `interrupted`, again where the last words may have come too late: stderr and the log lack
/// one of the parts.
fn interrupted_saying(test: &str, scenario: &str, more: &str, signals: &[i32], parts: &[&str]) -> (Ended, String) {
    let is_late = |(ended, log): &(Ended, String)| ended.is_slow_without(&[&ended.stderr, log], parts);
    undisturbed(|| interrupted(test, scenario, more, signals), is_late)
}

/// The seconds of a duration as the log shows it: `1.5s`, `20.0ms`, `3.1µs`, `40.0ns`.
fn seconds(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).expect("a unit"));
    let factor = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        other => panic!("{other} is no unit"),
    };
    number.parse::<f64>().unwrap() * factor
}

/// The paths and seconds in the line that lists the slowest threads.
fn slowest(log: &str) -> Vec<(&str, f64)> {
    let list = log.lines().find_map(|line| line.split("; the slowest: ").nth(1)).expect("how long it took");
    list.split(", ")
        .map(|entry| {
            let mut words = entry.split(' ');
            (words.next().unwrap(), seconds(words.next().expect("a time")))
        })
        .collect()
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
        let parts = [
            "not stopped:",
            "main/deaf, waiting",
            "for signal \"a bell\"",
            "main, waiting",
            "for thread \"main/deaf\"",
        ];
        let (ended, log) =
            interrupted_saying("second", "deaf", "shutdown: { patience: 20ms, grace: 0s }", &signals, &parts);
        assert_eq!(ended.code(), code, "{}", ended.stderr);
        assert!(ended.took < AT_ONCE, "{:?}", ended.took);
        for text in [&ended.stderr, &log] {
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}

#[test]
fn a_stuck_thread_is_reported_repeatedly() {
    let folder = Folder::new("patience");
    let mut process = Process::start(&mut subject("deaf", &folder.config("shutdown: { patience: 20ms, grace: 0s }")));
    process.wait_for("ready").signal(SIGINT);
    until_logged(&folder, "for signal \"a bell\"");
    until("three reports", || folder.read("app.log").matches("for main/deaf to stop:").count() >= 3);
    process.signal(SIGINT);
    assert_eq!(process.end().code(), 130);
}

#[test]
fn a_thread_may_have_its_own_patience() {
    let folder = Folder::new("impatient");
    let mut command = subject("impatient", &folder.config("shutdown: { patience: 1h }"));
    let mut process = Process::start_reading(&mut command, Stdio::piped());
    until_logged(&folder, "for main/quick to stop:");
    process.input().write_all(b"it is reported\n").unwrap();
    let ended = process.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    let slowest = slowest(&log);
    let of = |path: &str| slowest.iter().find(|one| one.0 == path).unwrap_or_else(|| panic!("{path}: {log}")).1;
    let (quick, reports) = (of("main/quick"), log.matches("for main/quick to stop:").count());
    assert!(quick >= 1.0 && of("main/unhurried") >= 1.0, "{log}");
    // After 20 ms, then 40, 80, 160, 320, 640: growing, or it would be fifty in a second.
    assert!(reports as f64 <= (quick / 0.02).log2() + 2.0, "{reports} reports:\n{log}");
    assert!(!log.contains("for main/unhurried to stop:"), "{log}");
}

#[test]
fn the_slowest_to_stop_are_listed() {
    let folder = Folder::new("sluggish");
    let ended = crate::support::run(&mut subject("sluggish", &folder.config("")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let log = folder.read("app.log");
    let slowest = slowest(&log);
    assert!(slowest.is_sorted_by(|one, next| one.1 >= next.1), "{log}");
    // On a busy machine others may be before it.
    assert!(slowest.iter().any(|one| one.0 == "main/pool/sluggish" && one.1 >= 0.69), "{log}");
    assert!((2..=5).contains(&slowest.iter().filter(|one| one.0.starts_with("main/pool/")).count()), "{log}");
}

#[test]
fn on_stuck_abort_ends_the_process_with_70() {
    // The thread has a patience of its own. With that, `main` would be blamed if it got no processor.
    let more = "shutdown: { patience: 60s, on_stuck: abort }";
    let part = "main/deaf does not stop, and shutdown.on_stuck is abort";
    let (ended, log) = interrupted_saying("abort", "deaf", more, &[SIGTERM], &[part]);
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    for text in [&ended.stderr, &log] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_process_that_stood_still_keeps_its_patience() {
    let (patience, folder) = (Duration::from_secs(5), Folder::new("stood-still"));
    let more = format!("shutdown: {{ patience: {}s, on_stuck: abort }}", patience.as_secs());
    let mut process = Process::start(&mut subject("slow-to-stop", &folder.config(&more)));
    process.wait_for("ready").signal(SIGTERM).wait_for("asked").signal(libc::SIGSTOP);
    let began = Instant::now();
    until("the patience is over", || began.elapsed() > patience * 2);
    process.signal(libc::SIGCONT);
    let ended = process.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

#[test]
fn signals_are_heard_though_the_log_hangs() {
    let mut process = Process::start(Command::new(crate::support::program("subject")).arg("stuck-log"));
    // Main is asked although the line about it could not be written.
    process.wait_for("ready").signal(SIGINT).wait_for("asked").signal(SIGINT);
    let ended = process.end();
    assert_eq!(ended.code(), 130);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
}

#[test]
fn a_log_hanging_at_exit_can_be_interrupted() {
    let mut process = Process::start(Command::new(crate::support::program("subject")).arg("stuck-end"));
    process.wait_for("ready").signal(SIGINT).wait_for("ends").signal(SIGINT);
    let status = process.end().status;
    // By us, or, when we listen no more, by the signal itself.
    assert!(status.code() == Some(130) || status.signal() == Some(SIGINT), "{status}");
}

/// With a thread that does not stop, `on_stuck: abort`: what the process says, once it was asked by
/// SIGTERM. `first` is its begin, and `part` is in it. On a busy machine two threads may be asked at times
/// that are far apart. Then one of them is blamed alone, and the run is repeated.
fn aborted(scenario: &str, more: &str, first: &str, part: &str) {
    let more = format!("shutdown: {{ patience: 100ms, on_stuck: abort{more} }}");
    let is_right = |ended: &Ended| ended.stderr.starts_with(first) && ended.stderr.contains(part);
    let run = || {
        let (ended, _) = interrupted(scenario, scenario, &more, &[SIGTERM]);
        assert_eq!(ended.code(), 70, "{scenario}: {}", ended.stderr);
        ended
    };
    let ended = undisturbed(run, |ended| !is_right(ended));
    assert!(is_right(&ended), "{scenario}: {}", ended.stderr);
}

#[test]
fn patience_counts_from_the_ask() {
    for (scenario, path) in [
        ("stuck-main", "main"),
        ("stuck-join", "main/stuck"),
        ("stuck-scope", "main/stuck"),
        ("stuck-middle", "main/middle/stuck"),
    ] {
        let first = format!("selvedge: {path} does not stop, and shutdown.on_stuck is abort, after ");
        aborted(scenario, "", &first, "asked to stop: ");
    }
}

#[test]
fn ask_all_reports_a_stuck_mains_child() {
    aborted("stuck-beside", ", ask: all", "selvedge: main/stuck does not stop", "; nor does main");
}

#[test]
fn a_target_that_blocks_the_end_aborts_it() {
    for scenario in ["target-of-main", "target-of-child"] {
        let folder = Folder::new(scenario);
        let ended = Process::start(&mut subject(scenario, &folder.config(ABORT_SOON))).end();
        assert_eq!(ended.code(), 70, "{scenario}: {}", ended.stderr);
        let first = "selvedge: a target of on_go, attached at tests/programs/subject.rs:";
        assert!(ended.stderr.starts_with(first), "{scenario}: {}", ended.stderr);
        let part = " on main and holds that thread up, and shutdown.on_stuck is abort";
        assert!(ended.stderr.contains(part), "{scenario}: {}", ended.stderr);
    }
}

#[test]
fn a_target_that_blocks_a_stop_is_reported_repeatedly() {
    let folder = Folder::new("target-of-stop");
    let mut process = Process::start(&mut subject("target-of-stop", &folder.config(ABORT_SOON)));
    process.wait_for("ready");
    let part = " on main and holds that thread up";
    until("three reports", || folder.read("app.log").matches(part).count() >= 3);
    process.kill();
    let log = folder.read("app.log");
    assert!(
        log.contains("WARN ") && log.contains("a target of on_go, attached at tests/programs/subject.rs:"),
        "{log}"
    );
}

#[test]
fn a_target_of_stopped_is_no_destructor() {
    let folder = Folder::new("target-of-stopped");
    let mut process =
        Process::start(&mut subject("target-of-stopped", &folder.config("shutdown: { patience: 100ms }")));
    process.wait_for("ready");
    let begin = "main/child has returned ";
    until("the report", || folder.read("app.log").split_once(begin).is_some_and(|(_, report)| report.contains('\n')));
    process.kill();
    let log = folder.read("app.log");
    let part = "its OS thread has not ended: a target of on_go, attached at tests/programs/subject.rs:";
    assert!(log.contains(part) && !log.contains("a destructor"), "{log}");
}

#[test]
fn a_stuck_main_is_logged_repeatedly() {
    let run = || {
        let folder = Folder::new("stuck-waits");
        let mut process =
            Process::start(&mut subject("stuck-join", &folder.config("shutdown: { patience: 50ms, grace: 0s }")));
        process.wait_for("ready").signal(SIGTERM);
        until("three reports", || folder.read("app.log").matches("(reported again in ").count() >= 3);
        process.signal(SIGTERM);
        assert_eq!(process.end().code(), 143);
        folder.read("app.log")
    };
    // One report of both: the thread that does not stop, and behind it the thread that joins it. Where they
    // were asked at times that are far apart, there are two, and the run is repeated.
    let parts = [" for main/stuck to stop:\n", "after this: SIGTERM came", "1 thread waits for that: main\n"];
    let is_of_both = |report: &str| parts.iter().all(|part| report.contains(part));
    let has_both = |log: &String| log.split("the runtime has waited ").skip(1).any(is_of_both);
    let log = undisturbed(run, |log| !has_both(log));
    assert!(has_both(&log), "no report with {parts:?} in:\n{log}");
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
    let folder = Folder::new("one-is-stopped");
    // The thread has a patience of its own, which does not hold for the end of the program.
    let more = "shutdown: { patience: 60s, on_stuck: abort }";
    let mut process = Process::start_reading(&mut subject("one-is-stopped", &folder.config(more)), Stdio::piped());
    process.wait_for("ready");
    until_logged(&folder, " for main/slow to stop:");
    process.input().write_all(b"go on\n").unwrap();
    let ended = process.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

#[test]
fn a_hanging_thread_local_destructor_is_reported() {
    for scenario in ["stuck-destructor", "stuck-destructor-joined"] {
        let run = || {
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
            (ended, folder.read("app.log"))
        };
        let part = "a destructor of one of its thread-locals still runs";
        let (_, log) = undisturbed(run, |(ended, log)| ended.is_slow_without(&[log], &[part]));
        assert!(log.contains(part), "{scenario}: {log}");
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
        assert_eq!(slowest(&log)[0].0, "main", "{log}");
    }
}

#[test]
fn main_is_asked_alone_or_with_all() {
    for (ask, scenario, is_asked) in [("main", "asked", false), ("all", "all-asked", true)] {
        let (ended, _) = interrupted(scenario, scenario, &format!("shutdown: {{ ask: {ask} }}"), &[SIGTERM]);
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
    let mut command = Command::new("sh");
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
    let more = "shutdown: { patience: 60s, on_stuck: abort }";
    let parts = ["main/stuck does not stop, and shutdown.on_stuck is abort", "for signal \"a bell\""];
    let (ended, log) = interrupted_saying("no-threads", "no-threads", more, &[SIGTERM], &parts);
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    for text in [&ended.stderr, &log] {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    let twice = || {
        let folder = Folder::new("no-threads-twice");
        let mut process = Process::start(&mut subject("no-threads", &folder.config("shutdown: { grace: 0s }")));
        process.wait_for("ready").signal(SIGTERM);
        until_logged(&folder, "interrupted by SIGTERM");
        process.signal(SIGTERM);
        process.end()
    };
    let parts = ["a second signal, SIGTERM", "main/stuck, waiting"];
    let ended = undisturbed(twice, |ended| ended.is_slow_without(&[&ended.stderr], &parts));
    assert_eq!(ended.code(), 143);
    assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{}", ended.stderr);
}
