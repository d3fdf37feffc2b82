//! However the process ends, each flushed record is in its file, whole; and a log that hangs delays
//! the end only briefly.
#![cfg(unix)]

use super::log_loss::{config, records, subject};
use crate::random::Random;
use crate::support::{Ended, Mortal, Process, long, run, undisturbed, until};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that logs all the time, ended in one of five ways, so many microseconds after its begin: with
/// its log, and what it has acknowledged.
fn ended_while_logging(round: u64, micros: u64) -> (Ended, String, String) {
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
        command.env("EXIT_AFTER", micros.to_string());
    }
    let mut process = Process::start(&mut command);
    process.wait_for("ready");
    if !signals.is_empty() {
        std::thread::sleep(Duration::from_micros(micros));
    }
    for (at, signal) in signals.iter().enumerate() {
        if at > 0 {
            // Until the first one was seen; else both are one.
            until("the first SIGINT is logged", || folder.read("app.log").contains("interrupted by SIGINT"));
        }
        process.signal(*signal);
    }
    let ended = process.end();
    (ended, folder.read("app.log"), fs::read_to_string(&acknowledged).unwrap_or_default())
}

#[test]
fn flushed_records_survive_any_end() {
    const LAST_WORDS: &str = "a second signal, SIGINT, while stopping";
    let mut random = Random(0x5e1_4ed6e);
    let (mut flushed_in_all, mut torn) = (0, 0);
    let rounds = long::of(50, 250);
    for round in 0..rounds {
        let micros = random.below(20_000);
        let is_late = |(ended, text, _): &(Ended, String, String)| {
            round % 5 == 1 && ended.is_slow_without(&[text], &[LAST_WORDS])
        };
        let (ended, mut text, safe) = undisturbed(|| ended_while_logging(round, micros), is_late);
        match round % 5 {
            0 => assert_eq!(ended.code(), 0, "{}", ended.stderr),
            1 => assert_eq!(ended.code(), 130, "{}", ended.stderr),
            2 => assert_eq!(ended.status.signal(), Some(libc::SIGABRT)),
            3 => assert_eq!(ended.status.signal(), Some(libc::SIGKILL)),
            _ => assert_eq!(ended.code(), 7, "{}", ended.stderr),
        }
        if round % 5 == 3 && !text.ends_with('\n') {
            // A process that the kernel kills is killed within its write, between two pages of it:
            // the last line, which was not reported as safe, may be cut. (`generic_perform_write`
            // looks for a fatal signal before each page.)
            torn += 1;
            text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
        }
        let mut records = records(&text);
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
            assert!(text.contains(LAST_WORDS), "the last words are not in the log");
        }
    }
    println!("{torn} of {} SIGKILLs have cut the last line", rounds / 5);
    assert!(flushed_in_all > 20 * rounds as u32, "nothing was put to the test: {flushed_in_all}");
}

#[test]
fn hung_sinks_delay_ends_only_briefly() {
    for (scenario, code) in [("hang-exit", Some(7)), ("hang-abort", None), ("hang-fork", Some(7))] {
        let (folder, yaml) = config(scenario, "queued: true");
        folder.write("log4rs.yaml", "appenders: { out: { kind: console } }\nroot: { level: info, appenders: [out] }\n");
        let mut child = Mortal(subject(scenario, &yaml).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        // Kept, and not read.
        let pipe = child.stdout.take();
        // It panics if the program waits for the sink that hangs.
        assert_eq!(child.end().code(), code, "{scenario}");
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let tells = stderr.contains("the log of this forked child has lost ");
        assert_eq!(tells, scenario == "hang-fork", "{scenario}: {stderr}");
        // 6000 records, of which a pipe has room for less than a thousand.
        let lost = stderr.split_once("; lost: up to ").and_then(|(_, rest)| rest.split_once(" records in its queue"));
        let lost = lost.map(|(count, _)| count.parse::<u32>().unwrap());
        let counts = lost.is_some_and(|lost| (3000..6000).contains(&lost));
        assert_eq!(counts, scenario != "hang-abort", "{scenario}: {stderr}");
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
        let mut child = Mortal(subject(scenario, &yaml).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap());
        let pipe = child.stdout.take();
        let deadline = Instant::now() + crate::support::ALARM;
        while !folder.read("stderr").contains(&format!(" for {thread} to stop:")) {
            if Instant::now() > deadline || child.try_wait().unwrap().is_some() {
                panic!("{scenario}: {}", folder.read("stderr"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Once it is read, all ends well.
        drop(std::thread::spawn(move || std::io::copy(&mut pipe.unwrap(), &mut std::io::sink())));
        assert_eq!(child.end().code(), Some(0), "{scenario}");
    }
}

/// How the scenario ended, with its log. An end has one second for the log. A run that took longer, and whose
/// log is not whole, is repeated.
fn ended_in_time(
    command: impl Fn(&str, &Path) -> Command,
    scenario: &str,
    is_whole: impl Fn(&str) -> bool,
) -> (Ended, String) {
    let once = || {
        let (folder, yaml) = config(scenario, "queued: true");
        (run(&mut command(scenario, &yaml)), folder.read("app.log"))
    };
    undisturbed(once, |(ended, text)| ended.is_slow() && !is_whole(text))
}

#[test]
fn an_abort_or_exit_cuts_no_line() {
    for (scenario, some, rounds) in [
        ("abort", 1000, 20),
        ("abort-while-others-log", 1000, 40),
        ("abort-after-a-rest", 1, 20),
        ("exit-while-others-log", 1000, 60),
    ] {
        for round in 0..long::of(rounds / 4, rounds) {
            let written =
                |text: &str| text.lines().filter(|line| line.contains(" some ") && line.ends_with(" end")).count();
            let is_whole =
                |text: &str| written(text) == some && records(text).values().all(|numbers| numbers.len() > 1000);
            let (ended, text) = ended_in_time(subject, scenario, is_whole);
            match ended.status.signal() {
                None => assert_eq!((ended.code(), &scenario[..4]), (7, "exit"), "{scenario}: {}", ended.stderr),
                signal => assert_eq!((signal, &scenario[..5]), (Some(libc::SIGABRT), "abort"), "{}", ended.stderr),
            }
            assert_eq!(written(&text), some, "{scenario}, round {round}");
            for numbers in records(&text).into_values() {
                assert!(numbers.len() > 1000 && numbers.iter().enumerate().all(|(at, number)| at as u32 == *number));
            }
        }
    }
}

#[test]
fn an_exit_writes_queued_records() {
    for scenario in ["exit", "exit-in-thread"] {
        let some = |text: &str| text.lines().filter(|line| line.contains(" some ")).count();
        let has_last_word = |text: &str| text.trim_end().ends_with("an exit handler's last word");
        let (ended, text) = ended_in_time(subject, scenario, |text| some(text) == 1000 && has_last_word(text));
        assert_eq!((ended.code(), some(&text)), (7, 1000), "{scenario}: {text}");
        assert!(has_last_word(&text), "{scenario}: {text}");
    }
}

#[test]
fn an_abort_by_two_panics_logs_both() {
    let parts = [" some 999 end\n", "the first panic\n", " late 7999 end\n", "the second panic\n"];
    let is_whole = |text: &str| parts.iter().all(|part| text.contains(part));
    let (ended, text) = ended_in_time(subject, "double-panic", is_whole);
    assert_eq!(ended.status.code(), None, "it does not abort");
    assert!(is_whole(&text), "not all of {parts:?} in {text}");
}

#[test]
fn an_aborting_panic_is_logged_last() {
    let program = crate::support::aborting_program("log_subject");
    for (scenario, logged) in [("panic", true), ("panic-in-thread", true), ("panic-outside-the-tree", false)] {
        let command = |scenario: &str, yaml: &Path| {
            let mut command = Command::new(&program);
            command.arg(scenario).arg(yaml);
            command
        };
        let is_whole = |text: &str| {
            text.matches(" some ").count() == 1000
                && text.ends_with('\n')
                && (!logged || text.contains("the only panic"))
        };
        let (ended, text) = ended_in_time(command, scenario, is_whole);
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{scenario}: {}", ended.stderr);
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
        assert_eq!(count("demanding true true end"), 1, "{rule}: {text}");
    }
}
