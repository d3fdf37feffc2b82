//! A stop loses nothing without a word: pipelines that are told to stop at any moment, input, what
//! is told of values left.
#![cfg(unix)]

use crate::support::{Folder, Process, long, program, run, subject, undisturbed, until};
use selvedge::{Signal, lines_till, spawn};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The number after `key=` in the part of the line that begins with `queue`.
fn count(line: &str, queue: &str, key: &str) -> u64 {
    let part = &line[line.find(queue).unwrap_or_else(|| panic!("no {queue} in {line}"))..];
    let (_, number) = part.split_once(&format!("{key}=")).unwrap_or_else(|| panic!("no {key} in {part}"));
    number.split_whitespace().next().unwrap().parse().unwrap()
}

/// How many values of a queue the end of the program has told as dropped.
fn told(stderr: &str, queue: &str) -> u64 {
    let line = stderr.lines().find(|line| line.contains("values were dropped with their queues: "));
    let after = line.and_then(|line| line.split_once(&format!("\"{queue}\" ")));
    after.map_or(0, |(_, count)| count.split_whitespace().next().unwrap().parse().unwrap())
}

/// Each run of the pipeline: what was added was popped or is told as left. Returns how many runs
/// left something.
fn check(lines: &[&str], fails: bool) -> usize {
    let mut with_rest = 0;
    for line in lines {
        let mut rest = 0;
        for queue in ["numbers", "squares"] {
            let left = count(line, queue, "left");
            assert_eq!(count(line, queue, "added"), count(line, queue, "popped") + left, "{line}");
            rest += left;
        }
        if line.starts_with("drains=true") && !fails {
            assert_eq!(rest, 0, "a pipeline that drains leaves nothing: {line}");
        }
        with_rest += usize::from(rest > 0);
    }
    with_rest
}

/// How often each kind of stop is tried.
fn runs() -> u64 {
    long::amount("SELVEDGE_STOP_RUNS", 30, 1000)
}

fn pipeline_by_signal(how: &str, code: i32) {
    let mut with_rest = 0;
    for seed in 0..runs() {
        let ended = run(Command::new(program("pipeline")).args([how, &seed.to_string(), "1"]));
        assert_eq!(ended.code(), code, "seed {seed}: {}", ended.stderr);
        let line = ended.stdout.lines().next().unwrap_or_else(|| panic!("seed {seed}: {}", ended.stderr));
        with_rest += check(&[line], false);
        for queue in ["numbers", "squares"] {
            assert_eq!(told(&ended.stderr, queue), count(line, queue, "left"), "seed {seed}: {line}\n{}", ended.stderr);
        }
    }
    assert!(with_rest > 0, "no run left anything: this test sees nothing");
}

#[test]
fn sigint_at_any_moment_loses_nothing_untold() {
    pipeline_by_signal("SIGINT", 130);
}

#[test]
fn sigterm_at_any_moment_loses_nothing_untold() {
    pipeline_by_signal("SIGTERM", 0);
}

#[test]
fn stops_and_failures_lose_nothing_uncounted() {
    for how in ["subtree", "failure"] {
        let mut command = Command::new(program("pipeline"));
        let process = Process::start(command.args([how, "1", &runs().to_string()]));
        let ended = process.end_within(Duration::from_secs(900));
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(lines.len() as u64, runs());
        assert!(check(&lines, how == "failure") > 0, "no run left anything: this test sees nothing");
        for queue in ["numbers", "squares"] {
            let left: u64 = lines.iter().map(|line| count(line, queue, "left")).sum();
            assert_eq!(told(&ended.stderr, queue), left, "{}", ended.stderr);
        }
    }
}

#[test]
fn the_readmes_first_program_is_tested() {
    let tested = include_str!("../programs/letters.rs");
    let code = tested.split_once("\n\n").expect("a comment, then code").1;
    // There it is the main function of a module.
    let code = code.replace("pub(crate) fn main", "fn main");
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```rust,no_run\n{code}```")), "README.md has another program than letters.rs");
}

/// Until the program has read everything that was written into the pipe.
fn until_read(pipe: &impl AsRawFd) {
    until("the pipe is empty", || {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open, and FIONREAD writes one int.
        assert_eq!(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) }, 0);
        bytes == 0
    });
}

#[test]
fn a_signal_ends_a_wait_for_input() {
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 0)] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut process = Process::start_reading(&mut Command::new(program("letters")), Stdio::from(reader));
        writer.write_all(b"to be\nor not\nunfinished").unwrap();
        until_read(&writer);
        // The pipe stays open: only the signal can end it.
        process.signal(signal);
        let ended = process.end();
        assert_eq!(ended.code(), code, "{}", ended.stderr);
        assert!(ended.stderr.contains(" 9 letters"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("nothing has popped"), "{}", ended.stderr);
    }
}

#[test]
fn a_signal_loses_no_read_line() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut process = Process::start_reading(&mut Command::new(program("letters")), Stdio::from(reader));
    let mut written = 0;
    while written < 1_000_000 {
        written += writer.write(&b"abcdefg\n".repeat(1000)).unwrap();
    }
    process.signal(libc::SIGTERM);
    // Until nothing reads any more.
    while writer.write_all(&b"abcdefg\n".repeat(1000)).is_ok() {}
    let ended = process.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let line = ended.stderr.lines().find(|line| line.ends_with(" letters")).unwrap();
    let letters: u64 = line.split_whitespace().rev().nth(1).unwrap().parse().unwrap();
    assert!(letters.is_multiple_of(7) && letters > 0, "{line}");
    assert!(!ended.stderr.contains("nothing has popped"), "{}", ended.stderr);
}

#[test]
fn all_lines_arrive_unchanged() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let long = "x".repeat(100_000);
    let text = format!("one\r\n\n{long}\nlast");
    let writing = std::thread::spawn(move || {
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
    });
    let lines: Vec<String> = lines_till(reader, &Signal::never()).unwrap().map(Result::unwrap).collect();
    assert_eq!(lines, ["one", "", &long, "last"]);
    writing.join().unwrap();
}

#[test]
fn a_nontext_line_is_one_error() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"caf\xe9\nau lait\n").unwrap();
    drop(writer);
    let mut lines = lines_till(reader, &Signal::never()).unwrap();
    assert_eq!(lines.next().unwrap().unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(lines.next().unwrap().unwrap(), "au lait");
    assert!(lines.next().is_none());
}

#[test]
fn a_stop_ends_the_wait_for_a_line() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"first\nhalf").unwrap();
    let thread = spawn("reader", move |please_stop| {
        let mut lines = lines_till(reader, please_stop).unwrap();
        let all: Vec<_> = lines.by_ref().map(Result::unwrap).collect();
        (all, lines.rest().to_vec())
    });
    until("it waits for input", || thread.thread().waiting_for().is_some_and(|wait| wait.kind() == "input"));
    thread.stop();
    assert_eq!(thread.join().unwrap(), (vec!["first".to_owned()], b"half".to_vec()));
    drop(writer);
}

#[test]
fn the_end_shows_left_values() {
    let folder = Folder::new("left");
    let ended = run(&mut subject("left", &folder.config("")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    // The log goes to a file, so stderr says it too.
    for text in [&ended.stderr, &folder.read("app.log")] {
        assert!(text.contains("3 values were dropped with their queues: \"dropped\" 3 values"), "{text}");
        assert!(text.contains("2 values are still in queues: \"held\" 2 values"), "{text}");
        assert!(!text.contains("ticks"), "{text}");
    }
    let log = folder.read("app.log");
    assert!(log.contains("WARN main queue \"dropped\" was dropped with 3 values, which nothing has popped"), "{log}");
}

#[test]
fn an_exit_tells_left_values() {
    let once = || {
        let folder = Folder::new("left-exit");
        (run(&mut subject("left-exit", &folder.config(""))), folder.read("app.log"))
    };
    let part = "2 values are still in queues: \"held\" 2 values";
    // An exit has one second for the log.
    let (ended, log) = undisturbed(once, |(ended, log)| ended.is_slow_without(&[&ended.stderr, log], &[part]));
    assert_eq!(ended.code(), 3, "{}", ended.stderr);
    assert!(ended.stderr.contains(part), "{}", ended.stderr);
    let warning = "the process exits, and nothing has popped all values:";
    assert!(log.contains(part), "{log}");
    assert!(log.lines().any(|line| line.starts_with("WARN ") && line.ends_with(warning)), "{log}");
}

#[test]
fn an_immediate_end_tells_left_values() {
    let once = || {
        let folder = Folder::new("left-stuck");
        let config = folder.config("shutdown: { patience: 100ms, on_stuck: abort }");
        (run(&mut subject("left-stuck", &config)), folder.read("app.log"))
    };
    let parts = ["main/stuck does not stop", "2 values are still in queues: \"held\" 2 values"];
    let (ended, log) = undisturbed(once, |(ended, log)| ended.is_slow_without(&[&ended.stderr, log], &parts));
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    for text in [&ended.stderr, &log] {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
