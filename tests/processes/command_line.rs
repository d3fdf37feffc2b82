//! A command-line program: its exit codes are its own, a stop is no failure, and stderr is silent
//! when all is well.

use crate::support::{Ended, Folder, Process, hear_signals, program, run};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn tool(scenario: &str) -> Command {
    let mut command = Command::new(program("tool"));
    command.arg(scenario);
    command
}

/// Runs it, and signals it once it is ready.
fn interrupted(scenario: &str, signal: i32) -> Ended {
    let mut process = Process::start(&mut tool(scenario));
    process.wait_for("ready").signal(signal);
    process.end()
}

#[test]
fn main_may_return_what_a_programs_main_may() {
    let silent = [("unit", 0), ("code", 3), ("code-0", 0), ("result-code", 4)];
    for (scenario, code) in silent {
        let ended = run(&mut tool(scenario));
        assert_eq!((ended.code(), ended.stderr.as_str()), (code, ""), "{scenario}");
    }
    let failing = [
        ("result-error", "selvedge: tool failed\nmain failed: there is no such file\n"),
        ("infallible", "selvedge: tool failed\nmain failed: infallible, and failed\n"),
    ];
    for (scenario, report) in failing {
        let ended = run(&mut tool(scenario));
        assert_eq!((ended.code(), ended.stderr.as_str()), (1, report), "{scenario}");
    }
    let ended = run(&mut tool("never"));
    assert!(ended.code() == 1 && ended.stderr.contains("no return"), "{}", ended.stderr);
    let ended = run(&mut tool("code-and-failure"));
    assert!(ended.code() == 1 && ended.stderr.contains("the child could not"), "{}", ended.stderr);
}

/// Wherever the log goes, and the report on stderr too, the error stands there once.
#[test]
fn an_error_of_main_is_told_once_in_each_place() {
    let console = |target: &str| {
        format!(
            "appenders:\n  out: {{ kind: console, target: {target} }}\n  \
             file: {{ kind: file, path: \"$ENV{{APP_LOG}}\" }}\nroot: {{ level: info, appenders: [out, file] }}\n"
        )
    };
    for (target, queued) in [("stdout", true), ("stdout", false), ("stderr", true), ("stderr", false)] {
        let folder = Folder::new("told-once");
        folder.write("log4rs.yaml", &console(target));
        let text = format!("name: tool\nlog: {{ file: log4rs.yaml, queued: {queued} }}\n");
        let config = folder.write("selvedge.yaml", &text);
        let count = |text: &str| text.matches("there is no such file").count();
        let run_by = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).arg(program("tool")).arg("result-error").arg(&config);
            run(shell.env("APP_LOG", folder.path().join("app.log")))
        };
        let ended = run_by("\"$0\" \"$@\" 2>&1");
        assert_eq!((ended.code(), count(&ended.stdout)), (1, 1), "{target}, {queued}: {}", ended.stdout);
        assert_eq!(count(&folder.read("app.log")), 1, "{target}, {queued}");
        let ended = run_by("\"$0\" \"$@\"");
        let on_stdout = usize::from(target == "stdout");
        assert_eq!((count(&ended.stdout), count(&ended.stderr)), (on_stdout, 1), "{target}, {queued}");
        // A collector of JSON lines gets each record.
        folder.write("log4rs.yaml", &console(&format!("{target}, encoder: {{ kind: json }}")));
        let ended = run_by("\"$0\" \"$@\" 2>&1");
        let in_json = ended.stdout.lines().filter(|line| line.starts_with('{') && count(line) == 1).count();
        assert_eq!((in_json, count(&ended.stdout)), (1, 2), "{target}, {queued}: {}", ended.stdout);
    }
}

#[test]
fn an_own_code_wins_over_the_signals() {
    let ended = interrupted("code-when-stopped", libc::SIGINT);
    assert_eq!((ended.code(), ended.stderr.as_str()), (20, ""));
    assert!(ended.stdout.contains("interrupted by Some(2)"), "{}", ended.stdout);
    let ended = interrupted("code-when-stopped", libc::SIGTERM);
    assert_eq!(ended.code(), 20);
    assert!(ended.stdout.contains("interrupted by Some(15)"), "{}", ended.stdout);
    // Success is no code of its own.
    let ended = interrupted("code-0-when-stopped", libc::SIGINT);
    assert_eq!((ended.status.signal(), ended.stderr.as_str()), (Some(libc::SIGINT), ""));
    assert_eq!(interrupted("code-0-when-stopped", libc::SIGTERM).code(), 0);
}

#[test]
fn an_error_of_a_stop_is_no_failure() {
    let scenarios =
        ["boxed", "plain", "bare", "io", "anyhow", "text", "own", "add", "itself", "worker", "unjoined", "resumed"];
    for scenario in scenarios {
        let scenario = format!("stopped-{scenario}");
        let ended = interrupted(&scenario, libc::SIGINT);
        assert_eq!((ended.status.signal(), ended.stderr.as_str()), (Some(libc::SIGINT), ""), "{scenario}");
        let ended = interrupted(&scenario, libc::SIGTERM);
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""), "{scenario}");
    }
}

#[test]
fn other_errors_and_unasked_stops_are_failures() {
    let ended = run(&mut tool("not-asked"));
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("main failed: stopped while waiting for the queue"), "{}", ended.stderr);
    let ended = interrupted("failed-while-stopping", libc::SIGTERM);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("main failed: the disk is full"), "{}", ended.stderr);
}

/// What a program writes to a terminal as its stderr, until it has ended. It is told to stop when
/// it is ready.
fn on_a_terminal(command: &mut Command, signal: i32) -> (String, std::process::ExitStatus) {
    let (mut master, mut slave) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: the two places are writable, and the others may be null.
    let opened = unsafe { libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: openpty has made them, and nothing else owns them.
    let (mut master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    hear_signals(command);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(slave).spawn().expect("the program starts");
    // What holds the other end of the terminal here goes, so that its end is seen.
    *command = Command::new("true");
    let stdout = child.stdout.take().expect("piped");
    let terminal = std::thread::spawn(move || {
        let (mut text, mut bytes) = (Vec::new(), [0; 1024]);
        // EIO: the last holder of the other end has ended.
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            text.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == "ready");
    assert!(ready, "it ended without being ready");
    // SAFETY: kill has no memory preconditions; the child was not waited for, so the id is still
    // its own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    let deadline = Instant::now() + Duration::from_secs(120);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(Instant::now() < deadline, "still running");
        std::thread::sleep(Duration::from_millis(2));
    };
    (terminal.join().expect("no panic"), status)
}

#[test]
fn a_terminal_shows_how_to_end_at_once() {
    for (name, signal) in [("SIGINT", libc::SIGINT), ("SIGTERM", libc::SIGTERM)] {
        let (text, _) = on_a_terminal(&mut tool("code-0-when-stopped"), signal);
        assert_eq!(text, format!("tool: {name}: stopping; again to end at once\r\n"));
        // The same where the log goes to a file.
        let folder = Folder::new("terminal");
        let config = folder.config("");
        let (text, _) = on_a_terminal(tool("code-0-when-stopped").arg(config), signal);
        assert_eq!(text, format!("subject: {name}: stopping; again to end at once\r\n"));
        // Where the log is in sight, the log says it.
        let (text, _) = on_a_terminal(tool("code-0-when-stopped").env("RUST_LOG", "info"), signal);
        assert!(text.contains(&format!("interrupted by {name}: stopping; a second one")), "{text}");
        assert!(!text.contains("again to end at once"), "{text}");
    }
}
