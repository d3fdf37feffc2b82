//! A FIFO whose reader reads steadily gets all that is logged, also what is left at the end.
#![cfg(unix)]

use super::log_loss::{config, subject};
use crate::support::{Folder, Process, undisturbed, until};
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use selvedge::{Config, Runtime};

const ENCODER: &str = "encoder: { pattern: \"{l} {T} {m}{n}\" }";
const FIFO_FAILS: &str = "the appender `fifo` fails";
const RECORDS: usize = 100_000;

/// A reader of a new FIFO. It can write as well, so that its opening does not wait.
fn made(fifo: &Path) -> fs::File {
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    fs::OpenOptions::new().read(true).write(true).open(fifo).unwrap()
}

#[test]
fn a_steadily_read_fifo_gets_all() {
    if crate::support::in_own_process(module_path!(), "a_steadily_read_fifo_gets_all") {
        return;
    }
    // A reader that gets no processor for a second does not read steadily.
    let is_disturbed = |(_, gap, told): &Got| *gap >= Duration::from_secs(1) && told.contains(FIFO_FAILS);
    let (count, _, told) = undisturbed(|| read_while_logged(false), is_disturbed);
    assert_eq!(count, RECORDS);
    assert!(!told.contains(FIFO_FAILS), "{}", told.lines().find(|line| line.contains("fails")).unwrap());
}

#[test]
fn a_fifo_behind_a_queue_of_its_own_gets_all() {
    if crate::support::in_own_process(module_path!(), "a_fifo_behind_a_queue_of_its_own_gets_all") {
        return;
    }
    let is_disturbed = |(count, gap, _): &Got| *gap >= Duration::from_secs(1) && *count != RECORDS;
    assert_eq!(undisturbed(|| read_while_logged(true), is_disturbed).0, RECORDS);
}

/// How many records a reader of a FIFO has got, the longest time between two of its reads, and what a file has
/// meanwhile.
type Got = (usize, Duration, String);

/// With `queued`, the FIFO has a queue of its own.
fn read_while_logged(queued: bool) -> Got {
    let folder = Folder::new("read-fifo");
    let (fifo, good) = (folder.path().join("fifo"), folder.path().join("good.log"));
    let mut reader = made(&fifo);
    let to = |path: &Path| format!("{{ kind: file, path: '{}', {ENCODER} }}", path.display());
    let to_fifo = if queued { format!("{{ kind: queued, appenders: [{}] }}", to(&fifo)) } else { to(&fifo) };
    let text = format!(
        "appenders: {{ fifo: {to_fifo}, good: {} }}\nroot: {{ level: info, appenders: [fifo, good] }}\n",
        to(&good)
    );
    let runtime = Runtime::start(Config::new("sinks").log_file(folder.write("log4rs.yaml", &text))).unwrap();
    let reading = std::thread::spawn(move || {
        let (mut text, mut part) = (Vec::new(), vec![0; 8192]);
        let (mut last, mut gap) = (Instant::now(), Duration::ZERO);
        // The other end is this process's own, and stays open: without the line there is no end.
        while !text.ends_with(b"INFO main sinks has ended\n") {
            let count = reader.read(&mut part).unwrap();
            (gap, last) = (gap.max(last.elapsed()), Instant::now());
            // Slower than the program logs: the log still holds records when the program ends.
            std::thread::sleep(Duration::from_millis(1));
            text.extend_from_slice(&part[..count]);
        }
        (String::from_utf8(text).unwrap(), gap)
    });
    for number in 0..RECORDS {
        log::info!("record {number} of a length that is usual, and more than a pipe holds end");
    }
    runtime.shutdown().unwrap();
    until("it has been read", || reading.is_finished());
    let (text, gap) = reading.join().unwrap();
    let told = fs::read_to_string(&good).unwrap_or_default();
    (text.lines().filter(|line| line.ends_with(" end")).count(), gap, told)
}

#[test]
fn an_exit_waits_for_a_steady_reader() {
    let is_disturbed = |(count, gap, _): &Got| *gap >= Duration::from_secs(1) && *count != 6000;
    let (count, _, told) = undisturbed(read_until_an_exit, is_disturbed);
    assert_eq!((count, &*told), (6000, ""));
}

/// What a reader of a FIFO gets of a program that exits, and what that says on stderr.
fn read_until_an_exit() -> Got {
    let (folder, yaml) = config("exit-fifo", "queued: true");
    let fifo = folder.path().join("fifo");
    drop(made(&fifo));
    let text = folder.read("log4rs.yaml").replace("app.log", "fifo");
    folder.write("log4rs.yaml", &text);
    let mut reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let process = Process::start(&mut subject("hang-exit", &yaml));
    let ending = std::thread::spawn(|| process.end());
    let (mut text, mut part) = (Vec::new(), vec![0; 4096]);
    let (mut last, mut gap) = (Instant::now(), Duration::ZERO);
    loop {
        let is_over = ending.is_finished();
        let count = reader.read(&mut part).unwrap_or(0);
        (gap, last) = (gap.max(last.elapsed()), Instant::now());
        text.extend_from_slice(&part[..count]);
        if is_over && count == 0 {
            break;
        }
        // Slower than the program logs: the log still holds records when the program exits.
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = ending.join().unwrap();
    assert_eq!(ended.code(), 7, "{}", ended.stderr);
    let text = String::from_utf8(text).unwrap();
    (text.lines().filter(|line| line.ends_with(" end")).count(), gap, ended.stderr)
}
