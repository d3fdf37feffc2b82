//! No record is lost without being counted: overflow, broken files, full disks, failing rolls,
//! reloads.
#![cfg(unix)]

use crate::support::{Folder, Mortal, Process, program, run, until};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// A folder with a config; `more` below `log:`.
pub(super) fn config(test: &str, more: &str) -> (Folder, std::path::PathBuf) {
    let folder = Folder::new(test);
    let yaml = folder.config("");
    let text = fs::read_to_string(&yaml).unwrap();
    fs::write(&yaml, text.replace("log: log4rs.yaml", &format!("log: {{ file: log4rs.yaml, {more} }}"))).unwrap();
    (folder, yaml)
}

pub(super) fn subject(scenario: &str, config: &std::path::Path) -> Command {
    let mut command = Command::new(program("log_subject"));
    command.arg(scenario).arg(config);
    crate::support::hear_signals(&mut command);
    command
}

/// Of the lines "record NAME NUMBER end" the numbers by name; a line that is cut anywhere is a
/// failure.
pub(super) fn records(text: &str) -> BTreeMap<u32, Vec<u32>> {
    let mut all: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    for line in text.lines() {
        let Some((_, record)) = line.split_once(" record ").filter(|_| !line.contains(" missing here")) else {
            continue;
        };
        let words: Vec<&str> = record.split(' ').collect();
        let [name, number, "end"] = words[..] else { panic!("torn: {line}") };
        all.entry(name.parse().unwrap()).or_default().push(number.parse().unwrap());
    }
    all
}

/// The sum of "N records are missing here".
pub(super) fn missing(text: &str) -> u64 {
    let counts =
        text.lines().filter_map(|line| line.split_once(" missing here")?.0.rsplit(' ').nth(2)?.parse::<u64>().ok());
    counts.sum()
}

#[test]
fn written_plus_dropped_equals_sent() {
    for (name, rule) in [
        ("block", "overflow: block"),
        ("newest", "overflow: drop_newest, capacity: 64"),
        ("below", "overflow: { drop_below: warn }, capacity: 64"),
        ("direct", "queued: false"),
    ] {
        let (folder, yaml) = config(&format!("overflow-{name}"), rule);
        let ended = run(&mut subject("many", &yaml));
        assert_eq!(ended.code(), 0, "{name}: {}", ended.stderr);
        let text = folder.read("app.log");
        let records = records(&text);
        for (thread, numbers) in &records {
            assert!(numbers.is_sorted_by(|a, b| a < b), "{name}: the order of thread {thread} is not kept");
        }
        let written: usize = records.values().map(Vec::len).sum();
        let dropped = missing(&text);
        // The runtime's own lines may be among the dropped: two or three.
        let sum = written as u64 + dropped;
        match name {
            "block" | "direct" => assert_eq!((written, dropped), (200_000, 0), "{name}"),
            _ => assert!(dropped > 0 && (200_000..200_004).contains(&sum), "{name}: {written} + {dropped}"),
        }
        if name == "below" {
            let warned = records.values().flatten().filter(|number| *number % 10 == 0).count();
            assert_eq!(warned, 20_000, "a warning was dropped");
        }
    }
}

#[test]
fn changing_directory_moves_no_log() {
    use std::os::unix::ffi::OsStrExt;
    // Not UTF-8, as folders may be.
    let (parent, _) = config("moves", "queued: true");
    let folder = parent.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir_all(folder.join("elsewhere")).unwrap();
    let profile = if cfg!(feature = "profiling") { "profile: { enabled: true, output: out }" } else { "" };
    fs::write(folder.join("selvedge.yaml"), format!("name: moves\nlog: log4rs.yaml\n{profile}\n")).unwrap();
    let pattern = |pattern: &str| {
        let text = format!(
            "refresh_rate: 10ms\nappenders: {{ out: {{ kind: file, path: logs/app.log, \
             encoder: {{ pattern: \"{pattern}\" }} }} }}\n\
             root: {{ level: info, appenders: [out] }}\n"
        );
        fs::write(folder.join("new.yaml"), text).unwrap();
        fs::rename(folder.join("new.yaml"), folder.join("log4rs.yaml")).unwrap();
    };
    pattern("a {m}{n}");
    let mut command = subject("moves", std::path::Path::new("selvedge.yaml"));
    let mut child = Mortal(command.current_dir(&folder).spawn().unwrap());
    let until_logged = |part: &str| {
        until(part, || fs::read_to_string(folder.join("logs/app.log")).is_ok_and(|text| text.contains(part)));
    };
    until_logged("a some 999 end");
    pattern("b {m}{n}");
    until_logged("b ");
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(child.0.id() as i32, libc::SIGTERM) };
    assert_eq!(child.end().code(), Some(0));
    assert_eq!(fs::read_dir(folder.join("elsewhere")).unwrap().count(), 0, "something was left where it is now");
    assert_eq!(folder.join("out/moves.shutdown.svg").exists(), cfg!(feature = "profiling"));
}

#[test]
fn reconfiguring_counts_a_failing_files_records() {
    let (folder, yaml) = config("elsewhere", "queued: true");
    let to = |path: &str| {
        let text = format!(
            "refresh_rate: 10ms\nappenders: {{ out: {{ kind: file, path: '{path}' }} }}\n\
             root: {{ level: info, appenders: [out] }}\n"
        );
        folder.write("new.yaml", &text);
        fs::rename(folder.path().join("new.yaml"), folder.path().join("log4rs.yaml")).unwrap();
    };
    to("/dev/full");
    let errors = folder.path().join("stderr");
    let mut child = Mortal(subject("wait", &yaml).stderr(fs::File::create(&errors).unwrap()).spawn().unwrap());
    until("it fails", || folder.read("stderr").contains("the appender `out` fails: No space left"));
    let app = folder.path().join("app.log");
    to(&app.display().to_string());
    until("it goes elsewhere", || fs::read_to_string(&app).is_ok_and(|text| text.contains("was read again")));
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(child.0.id() as i32, libc::SIGTERM) };
    assert_eq!(child.end().code(), Some(0));
    let told = folder.read("stderr");
    assert!(told.contains("the appender `out` has failed: No space left"), "{told}");
    // The runtime's first record and a thousand of the program's: each is lost or in the new file. A
    // record that came with the change is told apart.
    let counts = told.split("lost: ").skip(1).map(|rest| {
        let count = rest.split_once(" line").filter(|(_, rest)| rest.contains("that it held, and 0 more\n"));
        count.and_then(|(count, _)| count.parse::<usize>().ok()).unwrap_or_else(|| panic!("{told}"))
    });
    let lost: usize = counts.sum();
    let kept = fs::read_to_string(&app).unwrap().lines().filter(|line| line.contains("some ")).count();
    assert!(lost > 0 && lost + kept == 1001, "{kept} kept: {told}");
}

/// A rolling file in a program that goes to another folder before it logs 1000 records: what it
/// says on stderr, what is in the file, and what is in the archives.
fn rolled(test: &str, queued: bool, archive_is_file: bool) -> (String, String, Vec<String>) {
    let folder = Folder::new(test);
    let path = folder.path();
    fs::create_dir_all(path.join("elsewhere")).unwrap();
    folder.write("selvedge.yaml", &format!("log: {{ file: log4rs.yaml, queued: {queued} }}\n"));
    folder.write(
        "log4rs.yaml",
        "appenders:\n  out:\n    kind: rolling_file\n    path: app.log\n    encoder: { pattern: '{m}{n}' }\n\
         \x20   policy:\n      trigger: { kind: size, limit: 4 kb }\n\
         \x20     roller: { kind: fixed_window, pattern: 'archive/app.{}.log', count: 100 }\n\
         root: { level: info, appenders: [out] }\n",
    );
    if archive_is_file {
        folder.write("archive", "in the way");
    }
    let mut command = subject("moves", std::path::Path::new("selvedge.yaml"));
    let mut child = Process::start(command.current_dir(path));
    let archives = || -> Vec<String> {
        let names = fs::read_dir(path.join("archive")).into_iter().flatten();
        names.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok()).collect()
    };
    let is_last = |text: &String| text.contains("some 999 end");
    let active = || fs::read_to_string(path.join("app.log")).unwrap_or_default();
    until("all is written", || is_last(&active()) || archives().iter().any(is_last));
    child.signal(libc::SIGTERM);
    let ended = child.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(fs::read_dir(path.join("elsewhere")).unwrap().count(), 0, "an archive followed the program");
    (ended.stderr, active(), archives())
}

#[test]
fn archives_stay_where_they_were_at_the_start() {
    for queued in [true, false] {
        let (stderr, active, archives) = rolled(&format!("rolled-{queued}"), queued, false);
        let text = archives.concat() + &active;
        assert_eq!(text.lines().filter(|line| line.starts_with("some ")).count(), 1000, "{stderr}");
        assert!(archives.len() > 2 && archives.iter().all(|text| (4096..4200).contains(&text.len())));
    }
}

#[test]
fn a_failing_roll_loses_nothing() {
    for queued in [true, false] {
        let (stderr, active, _) = rolled(&format!("unrolled-{queued}"), queued, true);
        assert_eq!(active.lines().filter(|line| line.starts_with("some ")).count(), 1000, "{stderr}");
        let told: Vec<&str> = stderr.lines().filter(|line| line.contains("cannot be rolled")).collect();
        assert_eq!(told.len(), 1, "{stderr}");
        assert!(told[0].contains("app.log") && told[0].contains("archive is not a directory"), "{stderr}");
    }
}

#[test]
fn reloading_a_broken_file_changes_nothing() {
    for queued in [true, false] {
        let (folder, yaml) = config(&format!("broken-reload-{queued}"), &format!("queued: {queued}"));
        let good = folder.read("log4rs.yaml").replace("    kind: file\n", "    kind: file\n    append: false\n");
        let good = format!("refresh_rate: 10ms\n{good}");
        folder.write("log4rs.yaml", &good);
        let mut process = Process::start(&mut subject("steady", &yaml));
        let told = process.watch_stderr();
        let written = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap_or_default().lines().count();
        let goes_on = || {
            let before = written("app.log");
            until("records are written", || written("app.log") > before + 10);
        };
        goes_on();
        for (bad, reason) in [
            (String::new(), "log4rs.yaml:1: the key `root` is missing"),
            ("# all is commented out\n".to_owned(), "log4rs.yaml:1: the key `root` is missing"),
            (good.replace("appenders: [file]", ""), "root: the key `appenders` is missing"),
            (good.replace("append: false", "append: \"$ENV{SELVEDGE_UNSET}\""), "append: expected true or false"),
            (good.replace("    path: ", "    path: $ENV{SELVEDGE_UNSET}"), "SELVEDGE_UNSET is not set"),
        ] {
            let before = told.lock().unwrap().len();
            folder.write("log4rs.yaml", &bad);
            until(reason, || {
                let text = told.lock().unwrap()[before..].to_owned();
                text.contains("the changed file is not used, the log stays as it was: ") && text.contains(reason)
            });
            goes_on();
        }
        fs::remove_file(folder.path().join("log4rs.yaml")).unwrap();
        until("the missing file is told", || told.lock().unwrap().contains("cannot read this file"));
        goes_on();
        folder.write("log4rs.yaml", &good.replace("app.log", "second.log"));
        until("the other file is used", || written("second.log") > 10);
        folder.write("log4rs.yaml", &good);
        goes_on();
        process.signal(libc::SIGTERM);
        let ended = process.end();
        assert_eq!(ended.code(), 0);
        let total: u32 = ended.stdout.trim_end_matches(" records\n").parse().unwrap();
        let mut numbers = records(&folder.read("app.log")).remove(&0).unwrap();
        numbers.extend(records(&folder.read("second.log")).remove(&0).unwrap());
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..total), "each once, queued: {queued}");
    }
}

#[test]
fn a_file_size_limit_acts_like_full_disks() {
    for end in ["LIFT", "RETURN", "EXIT"] {
        let (folder, yaml) = config(&format!("limit-{end}"), "queued: true");
        let mut process = Process::start(subject("file-limit", &yaml).env(end, "1"));
        let told = process.watch_stderr();
        process.wait_for("flushed");
        if end != "EXIT" {
            process.signal(libc::SIGTERM);
        }
        let code = if end == "EXIT" { 7 } else { 0 };
        assert_eq!(process.end().code(), code, "{}", told.lock().unwrap());
        let told = told.lock().unwrap().clone();
        assert_eq!(told.matches("the appender `file` fails: File too large").count(), 1, "{told}");
        let text = folder.read("app.log");
        if end == "LIFT" {
            assert_eq!(records(&text)[&0].len(), 6000);
            assert!(!told.contains("; lost: "), "{told}");
        } else {
            let (before, after) = told.split_once(" lines that it held, and 0 more").expect(&told);
            assert_eq!(after.trim(), "");
            let lost: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
            // The last line may be cut at the limit: it counts as lost.
            let whole = text.lines().filter(|line| line.ends_with(" end")).count();
            assert!((6000..6005).contains(&(whole + lost)), "{whole} and {lost}");
        }
    }
}

#[test]
fn a_queued_appenders_losses_are_told_at_the_end() {
    let (folder, yaml) = config("queued-full", "queued: true");
    folder.write(
        "log4rs.yaml",
        "appenders: { out: { kind: queued, appenders: [{ kind: file, path: /dev/full }] } }\n\
         root: { level: info, appenders: [out] }\n",
    );
    let ended = run(&mut subject("levels", &yaml));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches(" lines that it held, and 0 more\n").count(), 1, "{}", ended.stderr);
}

#[test]
fn files_that_fail_together_are_all_told() {
    let (folder, yaml) = config("both-full", "queued: true");
    folder.write(
        "log4rs.yaml",
        "appenders:\n  a: { kind: file, path: /dev/full }\n  b: { kind: file, path: /dev/full }\n\
         root: { level: info, appenders: [a, b] }\n",
    );
    let ended = run(&mut subject("levels", &yaml));
    for appender in ["a", "b"] {
        let told = format!("the appender `{appender}` fails: No space left");
        assert_eq!(ended.stderr.matches(&told).count(), 1, "{}", ended.stderr);
    }
}
