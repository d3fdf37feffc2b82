//! The console: it needs no lock of the standard library, waits for slow readers, and tears no
//! line; and what is important reaches stderr where the log does not take it.
#![cfg(unix)]

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{ALARM, Folder, Mortal, Process, is_readable, program, run};

/// A config whose log goes to the console, with these settings of the appender and lines below.
fn console(test: &str, settings: &str, more: &str) -> (Folder, PathBuf) {
    let folder = Folder::new(test);
    folder.write(
        "log4rs.yaml",
        &format!(
            "appenders:\n  out: {{ kind: console, \
             encoder: {{ pattern: \"{{h({{l}})}} {{T}} {{m}}{{n}}\" }}{settings} }}\n\
             root: {{ level: info, appenders: [out] }}\n"
        ),
    );
    let yaml = folder.write("selvedge.yaml", &format!("name: subject\nlog: log4rs.yaml\n{more}\n"));
    (folder, yaml)
}

/// A config without a log4rs file, for a program with a logger of its own.
fn without_log(test: &str, more: &str) -> (Folder, PathBuf) {
    let folder = Folder::new(test);
    let yaml = folder.write("selvedge.yaml", &format!("name: subject\n{more}\n"));
    (folder, yaml)
}

fn subject(scenario: &str, config: &std::path::Path) -> Command {
    let mut command = Command::new(program("log_subject"));
    command.arg(scenario).arg(config).env_remove("NO_COLOR").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    crate::support::hear_signals(&mut command);
    command
}

fn numbered(text: &str, word: &str) -> usize {
    let mut next = 0;
    for line in text.lines() {
        if let Some(rest) = line.split_once(word).map(|(_, rest)| rest) {
            assert_eq!(rest, format!("{next} end"), "in order and whole");
            next += 1;
        }
    }
    next
}

#[test]
fn a_held_stdout_lock_stops_nothing() {
    for (scenario, thread) in [("stdout-held", "main"), ("stdout-held-by-a-joined-thread", "main/holder")] {
        for queued in [true, false] {
            let (_folder, yaml) = console(scenario, "", "");
            let text = fs::read_to_string(&yaml).unwrap();
            fs::write(&yaml, text.replace("log4rs.yaml", &format!("{{ file: log4rs.yaml, queued: {queued} }}")))
                .unwrap();
            let ended = run(&mut subject(scenario, &yaml));
            assert_eq!(ended.code(), 0, "{}", ended.stderr);
            // The program's own buffer is written in parts that do not end with lines; each record
            // is in one part.
            let (mut rest, mut results) = (&ended.stdout[..], String::new());
            let records = (0..20_000).map(|number| format!("INFO {thread} record 0 {number} end\n"));
            for record in records {
                let (before, after) = rest.split_once(&record).unwrap_or_else(|| panic!("{record} is missing"));
                results.push_str(before);
                rest = after;
            }
            results.push_str(rest);
            assert_eq!(numbered(&results, "result "), 20_000);
        }
    }
}

#[test]
fn a_held_stderr_lock_hides_no_last_error() {
    let (_folder, yaml) = without_log("held-exit", "");
    let ended = run(&mut subject("stderr-held-at-exit", &yaml));
    assert_eq!(ended.code(), 7);
    assert!(ended.stderr.contains("the input is bad"), "{}", ended.stderr);
}

#[test]
fn a_held_stderr_lock_hides_no_report() {
    let (_folder, yaml) = without_log("held-deaf", "shutdown: { patience: 200ms, on_stuck: abort }");
    let ended = run(&mut subject("stderr-held-by-a-deaf-thread", &yaml));
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    assert!(ended.stderr.contains("main/deaf does not stop"), "{}", ended.stderr);

    let (_folder, yaml) = without_log("held-failure", "");
    let ended = run(&mut subject("stderr-held-at-a-failure", &yaml));
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("selvedge: subject failed\nmain failed: the only failure"), "{}", ended.stderr);
}

#[test]
fn printed_and_logged_lines_are_whole() {
    let (_folder, yaml) = console("mixed", "", "");
    let ended = run(&mut subject("prints-and-logs", &yaml));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    for name in 0..2 {
        assert_eq!(numbered(&ended.stdout, &format!("printed {name} ")), 5_000);
        assert_eq!(numbered(&ended.stdout, &format!("record {name} ")), 5_000);
    }
}

#[test]
fn colours_and_tty_only_are_as_in_log4rs() {
    let levels = |settings: &str, variables: &[(&str, &str)]| {
        let (_folder, yaml) = console("colours", settings, "");
        let ended = run(subject("levels", &yaml).envs(variables.iter().copied()));
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        (ended.stdout, ended.stderr)
    };
    let plain = "ERROR main an error end\nWARN main a warning end\nINFO main an information end\n";
    let coloured = "\x1b[0;31;1mERROR\x1b[0m main an error end\n\x1b[0;33mWARN\x1b[0m main a warning end\n\
                    \x1b[0;32mINFO\x1b[0m main an information end\n";
    assert!(levels("", &[]).0.contains(plain));
    assert!(levels(", target: stderr", &[]).1.contains(plain));
    assert!(levels("", &[("CLICOLOR_FORCE", "1")]).0.contains(coloured));
    assert!(levels("", &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).0.contains(plain));
    assert_eq!(levels(", tty_only: true", &[]).0, "");
    assert!(levels(", tty_only: true", &[("CLICOLOR_FORCE", "1")]).0.contains(coloured));
}

fn pipe() -> (fs::File, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (fs::File::from(OwnedFd::from(reader)), writer.into())
}

#[test]
fn a_slow_nonblocking_pipe_gets_all() {
    let (_folder, yaml) = console("nonblocking", "", "");
    let (mut reader, writer) = pipe();
    // SAFETY: fcntl has no memory preconditions; the descriptor is open.
    unsafe {
        let flags = libc::fcntl(writer.as_raw_fd(), libc::F_GETFL);
        assert_eq!(libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK), 0);
    }
    let mut command = subject("hang-end", &yaml);
    let mut child = Mortal(command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap());
    // It holds the write end, too.
    drop(command);
    let (mut text, mut part, mut rests) = (Vec::new(), vec![0; 64 * 1024], 0);
    let deadline = Instant::now() + ALARM;
    loop {
        assert!(is_readable(&reader, deadline), "it hangs after {} bytes", text.len());
        let count = reader.read(&mut part).unwrap();
        if count == 0 {
            break;
        }
        text.extend_from_slice(&part[..count]);
        if rests < 20 {
            // The pipe is full meanwhile.
            rests += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(child.end().success());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        text.lines().filter(|line| line.starts_with("INFO main much ") && line.ends_with(" end")).count(),
        6_000
    );
}

#[test]
fn a_gone_reader_is_told_with_losses() {
    for (test, full) in [("left", false), ("full", true)] {
        let (_folder, yaml) = console(test, "", "");
        let mut command = subject("hang-end", &yaml);
        if full {
            command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        } else {
            command.stdout(pipe().1);
        }
        let mut child = Mortal(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let status = child.end();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(status.success(), "{stderr}");
        let reason = if full { "No space left on device" } else { "nothing reads stdout any more" };
        let told: Vec<&str> = stderr.lines().collect();
        assert_eq!(told.len(), 2, "{stderr}");
        assert!(told[0].starts_with("selvedge: the appender `out` fails: ") && told[0].contains(reason), "{stderr}");
        let words: Vec<&str> = told[1].split("; lost: ").nth(1).unwrap().split(' ').collect();
        let (held, more): (u64, u64) = (words[0].parse().unwrap(), words[words.len() - 2].parse().unwrap());
        // The runtime's own lines are among them.
        assert!((6_000..=6_002).contains(&(held + more)), "{stderr}");
    }
}

/// Until stderr has said `text`; the program is killed afterwards.
fn until_told(mut process: Process, text: &str) -> String {
    let said = process.watch_stderr();
    let deadline = Instant::now() + crate::support::ALARM;
    loop {
        let so_far = said.lock().unwrap().clone();
        if so_far.contains(text) {
            process.kill();
            return so_far;
        }
        assert!(Instant::now() < deadline, "no {text:?} in {so_far}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_circle_with_the_writer_is_reported() {
    let (_folder, yaml) = without_log("deadlocked", "deadlocks: { after: 200ms }");
    let told = until_told(Process::start(&mut subject("deadlocked-writer", &yaml)), "the log does not take this");
    assert!(told.contains("deadlock: 2 threads wait for each other"), "{told}");
    assert!(told.contains("for room in log \"waits\""), "{told}");
    assert!(told.contains("for lock \"ours\""), "{told}");
}

#[test]
fn a_stalled_log_is_told_on_stderr() {
    let (_folder, yaml) = without_log("standstill", "");
    let told = until_told(Process::start(&mut subject("waiting-writer", &yaml)), "the log stands still");
    assert!(
        told.contains("main waits for the queue `waits`; its writer, main/selvedge/log-writer waits, is within"),
        "{told}"
    );
}

#[test]
fn records_dropped_by_another_logger_reach_stderr() {
    let (_folder, yaml) = without_log("own-panic", "");
    let ended = run(&mut subject("own-logger-panic", &yaml));
    assert_eq!(ended.code(), 0);
    assert!(ended.stderr.contains("thread 'main/panicker'"), "{}", ended.stderr);
    assert!(ended.stderr.contains("tests/programs/log_subject.rs:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("the only panic"), "{}", ended.stderr);

    let (_folder, yaml) = without_log("own-stuck", "shutdown: { patience: 200ms }");
    until_told(Process::start(&mut subject("own-logger-stuck", &yaml)), "for main/deaf to stop:");

    let (_folder, yaml) = without_log("own-deadlock", "deadlocks: { after: 200ms }");
    until_told(Process::start(&mut subject("own-logger-deadlock", &yaml)), "deadlock: 2 threads wait for each other");

    let (_folder, yaml) = without_log("own-released", "");
    let ended = run(&mut subject("own-logger-released", &yaml));
    assert!(ended.stderr.contains("selvedge: main/released failed: the only failure"), "{}", ended.stderr);
}

/// A program that logs with `println!`, after `head` has gone.
#[test]
fn a_logger_that_panics_costs_no_report() {
    for (scenario, failure) in [
        ("broken-logger-at-the-end", "main/child failed: out of paper"),
        ("broken-logger-after-an-error", "main failed: out of ink"),
    ] {
        let (_folder, yaml) = without_log("broken-end", "log: own");
        let ended = run(&mut subject(scenario, &yaml));
        assert_eq!(ended.code(), 1, "{scenario}: {}", ended.stderr);
        assert!(ended.stderr.contains("selvedge: subject failed"), "{scenario}: {}", ended.stderr);
        assert!(ended.stderr.contains(failure), "{scenario}: {}", ended.stderr);
    }
}

#[test]
fn a_logger_that_panics_at_the_end_is_no_failure() {
    let (_folder, yaml) = without_log("broken-success", "log: own");
    let ended = run(&mut subject("broken-logger-after-success", &yaml));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

/// By a call of the program's own, on a thread of the tree.
#[test]
fn a_logger_that_panics_at_a_call_fails_its_thread() {
    let (_folder, yaml) = without_log("broken-call", "log: own");
    let ended = run(&mut subject("broken-logger-at-a-call", &yaml));
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.stdout.contains("the joiner has the panic: true"), "{}", ended.stdout);
    assert!(ended.stderr.contains("main/child panicked"), "{}", ended.stderr);
    assert!(ended.stderr.contains("failed printing to stdout"), "{}", ended.stderr);
}

/// The stop watch tells the failure, and must go on.
#[test]
fn a_logger_that_hangs_at_a_held_failure_keeps_no_abort_from_the_end() {
    let (_folder, yaml) = without_log("hung-held", "log: own\nshutdown: { patience: 500ms, on_stuck: abort }");
    let ended = run(&mut subject("hung-logger-and-a-held-failure", &yaml));
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    assert!(ended.stderr.contains("main/held failed: out of paper"), "{}", ended.stderr);
    assert!(ended.stderr.contains("main/deaf does not stop"), "{}", ended.stderr);
}

#[test]
fn a_logger_that_panics_blocks_no_cancel() {
    let (_folder, yaml) = without_log("broken-target", "log: own");
    let ended = run(&mut subject("broken-logger-in-a-target", &yaml));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("the target was cancelled: false"), "{}", ended.stdout);
}

#[test]
fn what_the_levels_filter_out_is_on_stderr() {
    for off in [
        "root: { level: off, appenders: [out] }",
        "root: { level: info, appenders: [out] }\nloggers:\n  selvedge: { level: off }",
    ] {
        let (folder, yaml) = console("levels-off", ", target: stdout", "");
        let text = folder.read("log4rs.yaml");
        folder.write("log4rs.yaml", &text.replace("root: { level: info, appenders: [out] }", off));
        let ended = run(&mut subject("panic-in-a-joined-thread", &yaml));
        assert_eq!(ended.code(), 0);
        assert!(ended.stderr.contains("thread 'main/panicker'"), "{}", ended.stderr);
        assert!(ended.stderr.contains("the only panic"), "{}", ended.stderr);
    }
    // Where the log takes it, it is told once.
    let (_folder, yaml) = console("levels-on", ", target: stdout", "");
    let ended = run(&mut subject("panic-in-a-joined-thread", &yaml));
    assert!(ended.stdout.contains("the only panic"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}
