//! No record is lost without being counted. However the process ends, each flushed record is in the
//! file, whole.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Folder, Process, program, run, until};

/// A folder with a config; `more` below `log:`.
fn config(test: &str, more: &str) -> (Folder, std::path::PathBuf) {
    let folder = Folder::new(test);
    let yaml = folder.config("");
    let text = fs::read_to_string(&yaml).unwrap();
    fs::write(&yaml, text.replace("log: log4rs.yaml", &format!("log: {{ file: log4rs.yaml, {more} }}"))).unwrap();
    (folder, yaml)
}

fn subject(scenario: &str, config: &std::path::Path) -> Command {
    let mut command = Command::new(program("log_subject"));
    command.arg(scenario).arg(config);
    crate::support::hear_signals(&mut command);
    command
}

/// Gone with a test that fails.
struct Mortal(std::process::Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Of the lines "record NAME NUMBER end" the numbers by name; a line that is cut anywhere is a
/// failure.
fn records(text: &str) -> BTreeMap<u32, Vec<u32>> {
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
fn missing(text: &str) -> u64 {
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
            "block" | "direct" => assert_eq!((written, dropped), (800_000, 0), "{name}"),
            _ => assert!(dropped > 0 && (800_000..800_004).contains(&sum), "{name}: {written} + {dropped}"),
        }
        if name == "below" {
            let warned = records.values().flatten().filter(|number| *number % 10 == 0).count();
            assert_eq!(warned, 80_000, "a warning was dropped");
        }
    }
}

/// Marsaglia's xorshift: the moments differ, and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn flushed_records_survive_any_end() {
    let mut dice = Dice(0x5e1_4ed6e);
    let (mut flushed_in_all, mut torn) = (0, 0);
    for round in 0..250 {
        let (folder, yaml) = config("killed", "queued: true");
        // The second signal comes sooner than that of a person.
        let text = fs::read_to_string(&yaml).unwrap();
        fs::write(&yaml, text + "shutdown: { grace: 0s }\n").unwrap();
        let acknowledged = folder.path().join("acknowledged");
        let signals: &[i32] = match round % 5 {
            0 => &[libc::SIGTERM],
            1 => &[libc::SIGINT, libc::SIGINT],
            2 => &[libc::SIGABRT],
            3 => &[libc::SIGKILL],
            // It exits by itself.
            _ => &[],
        };
        let mut command = subject("until-killed", &yaml);
        command.arg(&acknowledged);
        if signals.len() > 1 {
            command.env("STUBBORN", "1");
        }
        if signals.is_empty() {
            command.env("EXIT_AFTER", dice.below(20_000).to_string());
        }
        let mut process = Process::start(&mut command);
        process.wait_for("ready");
        if !signals.is_empty() {
            std::thread::sleep(Duration::from_micros(dice.below(20_000)));
        }
        for (at, signal) in signals.iter().enumerate() {
            if at > 0 {
                // Until the first one was seen; else both are one.
                let deadline = Instant::now() + crate::support::ALARM;
                while !folder.read("app.log").contains("interrupted by SIGINT") {
                    assert!(Instant::now() < deadline, "the first SIGINT is not in the log");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            process.signal(*signal);
        }
        let ended = process.end();
        match round % 5 {
            0 => assert_eq!(ended.code(), 0, "{}", ended.stderr),
            1 => assert_eq!(ended.code(), 130, "{}", ended.stderr),
            2 => assert_eq!(ended.status.signal(), Some(libc::SIGABRT)),
            3 => assert_eq!(ended.status.signal(), Some(libc::SIGKILL)),
            _ => assert_eq!(ended.code(), 7, "{}", ended.stderr),
        }
        let mut text = folder.read("app.log");
        if round % 5 == 3 && !text.ends_with('\n') {
            // A process that the kernel kills is killed within its write, between two pages of it:
            // the last line, which was not reported as safe, may be cut. (`generic_perform_write`
            // looks for a fatal signal before each page.)
            torn += 1;
            text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
        }
        let mut records = records(&text);
        let safe = fs::read_to_string(&acknowledged).unwrap_or_default();
        let mut flushed: BTreeMap<u32, u32> = BTreeMap::new();
        for line in safe.lines() {
            let (name, count) = line.split_once(' ').unwrap();
            flushed.insert(name.parse().unwrap(), count.parse().unwrap());
        }
        for (name, count) in flushed {
            flushed_in_all += count;
            let numbers = records.remove(&name).unwrap_or_default();
            let first: Vec<u32> = (0..count).collect();
            assert!(numbers.len() >= count as usize, "round {round}: {count} flushed, {} there", numbers.len());
            assert_eq!(numbers[..count as usize], first[..], "round {round}");
            assert!(numbers.iter().enumerate().all(|(at, number)| at as u32 == *number), "round {round}: not in order");
        }
        if round % 5 == 1 {
            assert!(text.contains("a second signal, SIGINT, while stopping"), "the last words are not in the log");
        }
    }
    println!("{torn} of 50 SIGKILLs have cut the last line");
    assert!(flushed_in_all > 5_000, "nothing was put to the test: {flushed_in_all}");
}

#[test]
fn hung_sinks_delay_ends_only_briefly() {
    for (scenario, code) in [("hang-exit", Some(7)), ("hang-abort", None), ("hang-fork", Some(7))] {
        let (folder, yaml) = config(scenario, "queued: true");
        folder.write("log4rs.yaml", "appenders: { out: { kind: console } }\nroot: { level: info, appenders: [out] }\n");
        let mut child = subject(scenario, &yaml).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Kept, and not read.
        let pipe = child.stdout.take();
        let deadline = Instant::now() + crate::support::ALARM;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("{scenario} waits for a sink that hangs");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), code, "{scenario}");
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let tells = stderr.contains("the log of this forked child has lost ");
        assert_eq!(tells, scenario == "hang-fork", "{scenario}: {stderr}");
        drop(pipe);
    }
}

/// The log hangs: so stderr must tell of it.
#[test]
fn waiting_for_hung_sinks_is_told() {
    for (scenario, capacity, thread) in
        [("hang-end", 8192, "main/selvedge/log-writer"), ("hang-thread", 64, "main/talker")]
    {
        let (folder, yaml) = config(scenario, &format!("capacity: {capacity}"));
        folder.write("log4rs.yaml", "appenders: { out: { kind: console } }\nroot: { level: info, appenders: [out] }\n");
        let text = fs::read_to_string(&yaml).unwrap();
        fs::write(&yaml, text + "shutdown: { patience: 100ms }\n").unwrap();
        let errors = folder.path().join("stderr");
        let stderr = fs::File::create(&errors).unwrap();
        let mut child = subject(scenario, &yaml).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let pipe = child.stdout.take();
        let deadline = Instant::now() + crate::support::ALARM;
        while !folder.read("stderr").contains(&format!(" for {thread} to stop:")) {
            if Instant::now() > deadline || child.try_wait().unwrap().is_some() {
                let _ = child.kill();
                panic!("{scenario}: {}", folder.read("stderr"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Once it is read, all ends well.
        drop(std::thread::spawn(move || std::io::copy(&mut pipe.unwrap(), &mut std::io::sink())));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{scenario}");
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
    let until = |part: &str| {
        let deadline = Instant::now() + crate::support::ALARM;
        while !fs::read_to_string(folder.join("logs/app.log")).is_ok_and(|text| text.contains(part)) {
            assert!(Instant::now() < deadline, "no {part}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until("a some 999 end");
    pattern("b {m}{n}");
    until("b ");
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(child.0.id() as i32, libc::SIGTERM) };
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
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
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + crate::support::ALARM;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: {}", folder.read("stderr"));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until("it fails", &|| folder.read("stderr").contains("the appender `out` fails: No space left"));
    let app = folder.path().join("app.log");
    to(&app.display().to_string());
    until("it goes elsewhere", &|| fs::read_to_string(&app).is_ok_and(|text| text.contains("was read again")));
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(child.0.id() as i32, libc::SIGTERM) };
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let told = folder.read("stderr");
    assert!(told.contains("the appender `out` has failed: No space left"), "{told}");
    // The runtime's first record and a thousand of the program's: each is lost or in the new file.
    let lost = told.split("lost: ").nth(1).and_then(|rest| rest.strip_suffix(" lines that it held, and 0 more\n"));
    let lost: usize = lost.and_then(|lost| lost.parse().ok()).unwrap_or_else(|| panic!("{told}"));
    let kept = fs::read_to_string(&app).unwrap().lines().filter(|line| line.contains("some ")).count();
    assert!(lost > 0 && lost + kept == 1001, "{kept} kept: {told}");
}

#[test]
fn an_abort_or_exit_cuts_no_line() {
    for (scenario, some, rounds) in [
        ("abort", 1000, 20),
        ("abort-while-others-log", 1000, 40),
        ("abort-after-a-rest", 1, 20),
        ("exit-while-others-log", 1000, 60),
    ] {
        for round in 0..rounds {
            let (folder, yaml) = config(scenario, "queued: true");
            let ended = run(&mut subject(scenario, &yaml));
            match ended.status.signal() {
                None => assert_eq!((ended.code(), &scenario[..4]), (7, "exit"), "{scenario}: {}", ended.stderr),
                signal => assert_eq!((signal, &scenario[..5]), (Some(libc::SIGABRT), "abort"), "{}", ended.stderr),
            }
            let text = folder.read("app.log");
            let written = text.lines().filter(|line| line.contains(" some ") && line.ends_with(" end")).count();
            assert_eq!(written, some, "{scenario}, round {round}");
            for numbers in records(&text).into_values() {
                assert!(numbers.len() > 1000 && numbers.iter().enumerate().all(|(at, number)| at as u32 == *number));
            }
        }
    }
}

#[test]
fn an_exit_writes_queued_records() {
    for scenario in ["exit", "exit-in-thread"] {
        let (folder, yaml) = config(scenario, "queued: true");
        assert_eq!(run(&mut subject(scenario, &yaml)).code(), 7);
        let text = folder.read("app.log");
        assert_eq!(text.lines().filter(|line| line.contains(" some ")).count(), 1000, "{scenario}: {text}");
        assert!(text.trim_end().ends_with("an exit handler's last word"), "{scenario}: {text}");
    }
}

#[test]
fn an_abort_by_two_panics_logs_both() {
    let (folder, yaml) = config("double-panic", "queued: true");
    let ended = run(&mut subject("double-panic", &yaml));
    assert_eq!(ended.status.code(), None, "it does not abort");
    let text = folder.read("app.log");
    for part in [" some 999 end\n", "the first panic\n", " late 7999 end\n", "the second panic\n"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn an_aborting_panic_is_logged_last() {
    let program = crate::support::aborting_program("log_subject");
    for (scenario, logged) in [("panic", true), ("panic-in-thread", true), ("panic-of-a-stranger", false)] {
        let (folder, yaml) = config(scenario, "queued: true");
        let ended = run(Command::new(&program).arg(scenario).arg(&yaml));
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{scenario}: {}", ended.stderr);
        let text = folder.read("app.log");
        assert_eq!(text.matches(" some ").count(), 1000, "{scenario}");
        // A panic outside the tree is told by the standard hook.
        let told = if logged { &text } else { &ended.stderr };
        assert!(told.contains("the only panic") && text.ends_with('\n'), "{scenario}: {told}");
    }
}

#[test]
fn a_fork_neither_hangs_nor_doubles_a_record() {
    let (folder, yaml) = config("fork", "queued: true");
    let ended = run(&mut subject("fork", &yaml));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let text = folder.read("app.log");
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().filter(|line| line.ends_with(" end")) {
        let (_, record) = line.splitn(3, ' ').nth(2).map(|rest| (line, rest)).unwrap();
        *seen.entry(record).or_default() += 1;
    }
    assert!(seen.values().all(|count| *count == 1), "doubled: {:?}", seen.iter().find(|(_, count)| **count > 1));
    for child in 0..20 {
        assert!(seen.contains_key(&*format!("before fork {child} end")));
        assert!((0..10).all(|number| seen.contains_key(&*format!("child {child} {number} end"))), "child {child}");
    }
    let busy = seen.keys().filter(|record| record.starts_with("busy ") && !record.contains("total")).count();
    assert!(seen.contains_key(&*format!("busy total {busy} end")), "the parent's records: {busy}");
}

#[test]
fn a_thread_locals_drop_may_log() {
    for rule in ["queued: true", "queued: false"] {
        let (folder, yaml) = config("thread-exit", rule);
        let ended = run(&mut subject("thread-exit", &yaml));
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let text = folder.read("app.log");
        let count = |part: &str| text.matches(part).count();
        assert_eq!((count("late from before end"), count("late from after end")), (100, 50), "{rule}: {text}");
    }
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
    let deadline = Instant::now() + crate::support::ALARM;
    let is_last = |text: &String| text.contains("some 999 end");
    let active = || fs::read_to_string(path.join("app.log")).unwrap_or_default();
    while !is_last(&active()) && !archives().iter().any(is_last) {
        assert!(Instant::now() < deadline, "not all is written");
        std::thread::sleep(Duration::from_millis(5));
    }
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
    for lifted in [true, false] {
        let (folder, yaml) = config(&format!("limit-{lifted}"), "queued: true");
        let mut command = subject("file-limit", &yaml);
        if lifted {
            command.env("LIFT", "1");
        }
        let mut process = Process::start(&mut command);
        let told = process.watch_stderr();
        process.wait_for("flushed").signal(libc::SIGTERM);
        assert_eq!(process.end().code(), 0, "{}", told.lock().unwrap());
        let told = told.lock().unwrap().clone();
        assert_eq!(told.matches("the appender `file` fails: File too large").count(), 1, "{told}");
        let text = folder.read("app.log");
        if lifted {
            assert_eq!(records(&text)[&0].len(), 6000);
            assert!(!told.contains("; lost: "), "{told}");
        } else {
            let (before, after) = told.split_once(" lines that it held, and 0 more").unwrap();
            assert_eq!(after.trim(), "");
            let lost: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
            // The last line may be cut at the limit: it counts as lost.
            let whole = text.lines().filter(|line| line.ends_with(" end")).count();
            assert!((6000..6005).contains(&(whole + lost)), "{whole} and {lost}");
        }
    }
}
