//! CRC-32 of every file of a tree: worked out in parallel, written in order.
//!
//! It shows five cells of the cube at work. Workers take [`Sequencer`] tickets with their files and
//! write in that order, so however the program stops, its output is the beginning of the whole
//! list. A [`Progress`] counts bytes, and the reporting thread waits for its next mark. A
//! [`Semaphore`] keeps large files from being in memory all at once. The table that all workers
//! need is a [`Promise`]: the first worker works it out, the others wait for that. And a [`Till`]
//! or Ctrl-C, whichever comes first, is the one signal that ends every wait.
//!
//! `cargo run --release --example 02_checksums -- [DIR] [--seconds S] [--workers N]`

use selvedge::{Config, JoinHandle, Progress, Promise, Queue, Semaphore, Sequencer, Signal, Ticket, Till, spawn};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// So many files larger than [`LARGE`] may be in memory at once.
const LARGE_AT_ONCE: usize = 1;
const LARGE: u64 = 1 << 20;

/// Bytes between two reports.
const MARK: u64 = 64 << 20;

const USAGE: &str = "\
usage: 02_checksums [DIR] [--seconds S] [--workers N] [--help]
  DIR           the tree, without the folders in it that are named target or .git; default: the current directory
  --seconds S   stop after S seconds, with what is done by then
  --workers N   threads that work; default: one for each processor, at least two
  --help        print this";

struct Options {
    dir: PathBuf,
    seconds: Option<Duration>,
    workers: usize,
}

struct Job {
    path: PathBuf,
    size: u64,
    ticket: Ticket,
}

type Table = [u32; 256];

/// What all threads share; each part is a handle.
#[derive(Clone)]
struct Shared {
    jobs: Queue<Job>,
    order: Sequencer,
    large: Semaphore,
    table: Promise<Table>,
    bytes: Progress,
    files: Progress,
    /// Ctrl-C, or the time that was given is up.
    stop: Signal,
}

fn main() -> ExitCode {
    match Options::parse(std::env::args_os().skip(1)) {
        Ok(None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => selvedge::run(Config::new("checksums"), |please_stop| checksums(&options, please_stop)),
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            ExitCode::from(64)
        }
    }
}

fn checksums(options: &Options, please_stop: &Signal) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let time_is_up: Signal = match options.seconds {
        Some(seconds) => Till::after(seconds).into(),
        None => Signal::never(),
    };
    let shared = Shared {
        // What is not done when it is stopped is not in the list; the last line says how long that
        // is.
        jobs: Queue::bounded("jobs", 64).may_be_left(),
        order: Sequencer::new("lines"),
        large: Semaphore::new("large files", LARGE_AT_ONCE),
        table: Promise::new("crc table"),
        bytes: Progress::new("bytes"),
        files: Progress::new("files"),
        stop: &time_is_up | please_stop,
    };

    let reporter = spawn("reporter", {
        let shared = shared.clone();
        move |please_stop| report(&shared, please_stop)
    });
    let workers: Vec<JoinHandle<_>> = (1..=options.workers)
        .map(|number| {
            let shared = shared.clone();
            selvedge::spawn_fallible(format!("worker-{number}"), move |_please_stop| work(&shared))
        })
        .collect();

    let walked = walk(&options.dir, &shared);
    shared.jobs.close();
    for worker in workers {
        worker.join()?;
    }
    reporter.stop();
    reporter.join()?;

    let end = if please_stop.is_go() {
        "interrupted"
    } else if time_is_up.is_go() {
        "out of time"
    } else {
        "complete"
    };
    let (files, bytes) = (shared.files.get(), shared.bytes.get());
    eprintln!("{end}: {files} files, {bytes} bytes in {:.2?}", begin.elapsed());
    // A folder that could not be listed: said at the end, when what could be done is done.
    walked.map_err(Into::into)
}

/// Finds the files in the order of their names, and gives each its ticket.
fn walk(dir: &Path, shared: &Shared) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        let is_left_out = matches!(entry.file_name().to_str(), Some(".git" | "target"));
        if kind.is_dir() && !is_left_out {
            walk(&entry.path(), shared)?;
        } else if kind.is_file() {
            let job = Job { path: entry.path(), size: entry.metadata()?.len(), ticket: shared.order.take_ticket() };
            if shared.jobs.add_till(job, &shared.stop).is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// One worker: reads and computes when it likes, writes when it is its turn.
fn work(shared: &Shared) -> std::io::Result<()> {
    while let Ok(job) = shared.jobs.pop_till(&shared.stop) {
        if let Some(claim) = shared.table.claim() {
            claim.fulfil(crc_table());
        }
        let Ok(table) = shared.table.wait_till(&shared.stop) else { break };
        let line = {
            // The permit covers the reading, and not the wait for the turn: the one before might
            // need it.
            let _permit = match job.size {
                LARGE.. => match shared.large.acquire_till(&shared.stop) {
                    Ok(permit) => Some(permit),
                    Err(_) => break,
                },
                _ => None,
            };
            match std::fs::read(&job.path) {
                Ok(content) => {
                    shared.bytes.advance(content.len() as u64);
                    format!("{:08x} {} {}", crc(table, &content), content.len(), job.path.display())
                }
                Err(error) => format!("-------- {}: {error}", job.path.display()),
            }
        };
        let Ok(_turn) = job.ticket.wait_turn_till(&shared.stop) else { break };
        writeln!(std::io::stdout().lock(), "{line}")?;
        shared.files.advance(1);
    }
    Ok(())
}

/// Says how far it is, each time that another [`MARK`] bytes are done.
fn report(shared: &Shared, please_stop: &Signal) {
    let stop = &shared.stop | please_stop;
    while shared.bytes.wait_for_till((shared.bytes.get() / MARK + 1) * MARK, &stop) {
        eprintln!("{} MiB, {} files", shared.bytes.get() >> 20, shared.files.get());
    }
}

/// The table of CRC-32 as in gzip and PNG.
fn crc_table() -> Table {
    std::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

fn crc(table: &Table, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

impl Options {
    /// `None`: only the usage is wanted. A path need not be UTF-8.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let mut options = Options { dir: PathBuf::from("."), seconds: None, workers: processors.max(2) };
        while let Some(arg) = args.next() {
            let name = arg.display().to_string();
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a number"));
            let wrong = |value: &OsStr| format!("{} is no number for {name}", value.display());
            match arg.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--seconds") => {
                    let value = value()?;
                    // As a duration already here: 1e300, NaN and negative numbers are none.
                    let seconds = value.to_str().and_then(|text| text.parse().ok());
                    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                    options.seconds = Some(seconds.ok_or_else(|| wrong(&value))?);
                }
                Some("--workers") => {
                    let value = value()?;
                    let workers = value.to_str().and_then(|text| text.parse().ok()).filter(|workers| *workers > 0);
                    options.workers = workers.ok_or_else(|| wrong(&value))?;
                }
                Some(flag) if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ => options.dir = arg.into(),
            }
        }
        Ok(Some(options))
    }
}
