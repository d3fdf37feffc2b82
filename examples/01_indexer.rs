//! A word index of a source tree: one real program on all of selvedge.
//!
//! It shows a tree of threads with a role each, queues between them, an orderly stop, failures that
//! reach `main`, one log and one flamegraph.
//!
//! ```text
//! main
//! ├─ merger              combines the partial indexes
//! ├─ readers             stops the others when one of them fails
//! │  ├─ reader-1         reads files and takes them apart
//! │  └─ reader-2 …
//! └─ walker              finds the files
//! ```
//!
//! `cargo run --release --features profiling --example 01_indexer -- [DIR]`

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use selvedge::{Builder, OnChildFailure, PopError, Queue, Signal, Thread, Till, span, spawn};
use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/selvedge.yaml");

/// Files that a reader takes apart before it hands its words over.
const FILES_PER_PARTIAL: usize = 64;

const USAGE: &str = "\
usage: 01_indexer [DIR] [--config FILE] [--panic-on N] [--slow-stop SECONDS] [--help]
  DIR                  index the files below it; default: the sources that Cargo unpacked, or this checkout
  --config FILE        other settings than config/selvedge.yaml
  --panic-on N         reader-2 panics on its Nth file, to show what a failure looks like
  --slow-stop SECONDS  the merger takes that long to end, to show what a second Ctrl-C does
  --help               print this";

struct Options {
    dir: PathBuf,
    config: PathBuf,
    panic_on: Option<u64>,
    slow_stop: Option<Duration>,
}

/// What all threads count, and the progress bar shows.
#[derive(Default)]
struct Counts {
    found: AtomicU64,
    indexed: AtomicU64,
    bytes: AtomicU64,
    binary: AtomicU64,
    unreadable: AtomicU64,
    /// Folders whose files could not be found.
    unlisted: AtomicU64,
}

impl Counts {
    /// Files that a reader has dealt with. `found` less this is what an interrupted run has not
    /// read.
    fn done(&self) -> u64 {
        [&self.indexed, &self.binary, &self.unreadable].iter().map(|count| count.load(Relaxed)).sum()
    }
}

#[derive(Default)]
struct Word {
    count: u64,
    /// The numbers of the files that it occurs in.
    files: Vec<u32>,
}

#[derive(Default)]
struct Index {
    words: HashMap<Box<str>, Word>,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    selvedge::run(options.config.as_path(), |please_stop| index(&options, please_stop))
}

fn index(options: &Options, please_stop: &Signal) -> Result<(), Box<dyn Error>> {
    log::info!("indexing {}", options.dir.display());
    let begin = Instant::now();
    let me = Thread::current();
    let counts = Arc::new(Counts::default());
    // An interrupted run leaves paths, and says how many files it has not read.
    let paths: Queue<PathBuf> = Queue::bounded("paths", 1024).may_be_left();
    let partials: Queue<Index> = Queue::bounded("partials", 16);

    // The youngest thread is stopped first: so consumers are older than their producers.
    let merger = spawn("merger", {
        let (partials, slow_stop) = (partials.clone(), options.slow_stop);
        move |_| merge(&partials, slow_stop)
    });
    let readers = Builder::new("readers").on_child_failure(OnChildFailure::StopSiblings).spawn_fallible({
        let (paths, partials, counts, panic_on) = (paths.clone(), partials, counts.clone(), options.panic_on);
        move |please_stop| read_all(&paths, &partials, &counts, panic_on, please_stop)
    })?;
    let walker = spawn("walker", {
        let (dir, counts) = (options.dir.clone(), counts.clone());
        move |please_stop| walk(dir, &paths, &counts, please_stop)
    });

    let bar = progress_bar();
    let done = merger.thread().stopped() | me.child_failed() | please_stop;
    while !done.is_go() {
        bar.set_length(counts.found.load(Relaxed));
        bar.set_position(counts.done());
        bar.set_message(match (walker.thread().is_alive(), readers.thread().is_alive()) {
            (true, _) => "found so far",
            (false, true) => "found",
            (false, false) => "read; merging",
        });
        (&done | Till::after(Duration::from_millis(100))).wait_for_go();
    }
    bar.finish_and_clear();

    let mut threads = vec![me, walker.thread().clone(), merger.thread().clone(), readers.thread().clone()];
    // A thread that is asked to stop while it joins asks the joined thread: an interrupted run ends
    // in the same order.
    threads.extend(readers.join()?);
    walker.join()?;
    let index = merger.join()?;
    print_summary(&index, &counts, begin.elapsed(), please_stop.is_go());
    print_threads(&threads);
    print_places();
    Ok(())
}

/// Finds the files below `dir`. What cannot be listed is counted and logged.
fn walk(dir: PathBuf, paths: &Queue<PathBuf>, counts: &Counts, please_stop: &Signal) {
    let mut folders = vec![dir];
    while let Some(folder) = folders.pop() {
        match list(&folder, &mut folders, paths, counts, please_stop) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                counts.unlisted.fetch_add(1, Relaxed);
                log::warn!("not listed: {}: {error}", folder.display());
            }
        }
    }
    paths.close();
    log::info!("{} files found", counts.found.load(Relaxed));
}

/// Returns `false` if it was asked to stop, or if all readers have ended.
fn list(
    folder: &Path,
    folders: &mut Vec<PathBuf>,
    paths: &Queue<PathBuf>,
    counts: &Counts,
    please_stop: &Signal,
) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !matches!(entry.file_name().to_str(), Some(".git" | "target")) {
            folders.push(entry.path());
        } else if kind.is_file() {
            counts.found.fetch_add(1, Relaxed);
            if paths.add_till(entry.path(), please_stop).is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The parent of the readers: starts one for each processor, at least two, and ends when they have.
fn read_all(
    paths: &Queue<PathBuf>,
    partials: &Queue<Index>,
    counts: &Arc<Counts>,
    panic_on: Option<u64>,
    please_stop: &Signal,
) -> Result<Vec<Thread>, selvedge::Failure> {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let readers: Vec<_> = (1..=processors.max(2))
        .map(|number| {
            let (paths, partials, counts) = (paths.clone(), partials.clone(), counts.clone());
            let panic_on = panic_on.filter(|_| number == 2);
            spawn(format!("reader-{number}"), move |please_stop| {
                read(&paths, &partials, &counts, panic_on, please_stop)
            })
        })
        .collect();
    let threads: Vec<_> = readers.iter().map(|reader| reader.thread().clone()).collect();
    // All are joined before the first failure is returned: the merger must not wait for a partial
    // that never comes.
    let ends: Vec<_> = readers.into_iter().map(selvedge::JoinHandle::join).collect();
    partials.close();
    ends.into_iter().collect::<Result<(), _>>()?;
    log::info!("{} readers are done{}", threads.len(), if please_stop.is_go() { ", being asked to stop" } else { "" });
    Ok(threads)
}

fn read(paths: &Queue<PathBuf>, partials: &Queue<Index>, counts: &Counts, panic_on: Option<u64>, please_stop: &Signal) {
    let mut partial = Index::default();
    let mut taken = 0;
    let end = loop {
        let path = match paths.pop_till(please_stop) {
            Ok(path) => path,
            Err(end) => break end,
        };
        taken += 1;
        if panic_on == Some(taken) {
            panic!("told to panic on {}", path.display());
        }
        match read_text(&path) {
            Ok(Some(text)) => {
                counts.indexed.fetch_add(1, Relaxed);
                counts.bytes.fetch_add(text.len() as u64, Relaxed);
                let number = partial.files.len() as u32;
                tokenize(&text, number, &mut partial.words);
                partial.files.push(path);
            }
            Ok(None) => {
                counts.binary.fetch_add(1, Relaxed);
                log::debug!("binary: {}", path.display());
            }
            Err(error) => {
                counts.unreadable.fetch_add(1, Relaxed);
                log::warn!("unreadable: {}: {error}", path.display());
            }
        }
        // No stop here: what was read is worth keeping, and the merger takes it until the queue is
        // closed.
        if partial.files.len() == FILES_PER_PARTIAL && partials.add(std::mem::take(&mut partial)).is_err() {
            return;
        }
    };
    let _ = partials.add(partial);
    if end == PopError::Stopped {
        log::info!("stopped after {taken} files");
    }
}

/// The file's text; `None` for what is no text.
#[inline(never)]
fn read_text(path: &Path) -> std::io::Result<Option<String>> {
    let _span = span("read a file");
    let bytes = std::fs::read(path)?;
    if bytes.iter().take(8192).any(|byte| *byte == 0) {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
}

#[inline(never)]
fn tokenize(text: &str, file: u32, words: &mut HashMap<Box<str>, Word>) {
    let _span = span("tokenize");
    for token in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
        if token.len() < 2 || token.len() > 64 || token.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let word = match words.get_mut(token) {
            Some(word) => word,
            None => words.entry(token.into()).or_default(),
        };
        word.count += 1;
        if word.files.last() != Some(&file) {
            word.files.push(file);
        }
    }
}

#[inline(never)]
fn merge(partials: &Queue<Index>, slow_stop: Option<Duration>) -> Index {
    let mut index = Index::default();
    // Until the queue is closed, also when asked to stop: what the readers have read is worth
    // keeping.
    while let Some(partial) = partials.pop() {
        let _span = span("merge");
        let offset = index.files.len() as u32;
        index.files.extend(partial.files);
        for (text, partial) in partial.words {
            let word = index.words.entry(text).or_default();
            word.count += partial.count;
            word.files.extend(partial.files.iter().map(|file| file + offset));
        }
    }
    if let Some(time) = slow_stop {
        log::warn!("ending slowly, as told: {time:?}");
        Till::after(time).wait_for_go();
    }
    index
}

fn progress_bar() -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    // The bar's own rate has four decimals.
    let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        let _ = write!(text, "{:.0} files/s", state.per_sec());
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} files {msg}, {rate}") {
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}

fn print_summary(index: &Index, counts: &Counts, took: Duration, interrupted: bool) {
    let bytes = counts.bytes.load(Relaxed);
    let megabytes = bytes as f64 / 1e6;
    println!("{}", if interrupted { "interrupted; so far:" } else { "done:" });
    let found = counts.found.load(Relaxed);
    let (binary, unreadable) = (counts.binary.load(Relaxed), counts.unreadable.load(Relaxed));
    println!("files       {} of {found} found", index.files.len());
    println!("skipped     {binary} binary, {unreadable} unreadable");
    // What is neither indexed nor skipped: so the three lines add up to what was found.
    let unread = found.saturating_sub(index.files.len() as u64 + binary + unreadable);
    if unread > 0 {
        println!("not read    {unread}");
    }
    if counts.unlisted.load(Relaxed) > 0 {
        println!("not listed  {} folders", counts.unlisted.load(Relaxed));
    }
    println!("bytes       {bytes} ({megabytes:.1} MB, {:.1} MB/s)", megabytes / took.as_secs_f64());
    println!("words       {} distinct", index.words.len());
    let mut frequent: Vec<_> = index.words.iter().collect();
    frequent.sort_by_key(|(text, word)| (std::cmp::Reverse(word.count), *text));
    for (text, word) in frequent.iter().take(8) {
        println!("  {text:<14} {:>9} times in {:>6} files", word.count, word.files.len());
    }
}

fn print_threads(threads: &[Thread]) {
    println!("{:<24} {:>10} {:>10}", "thread", "CPU", "alive");
    let mut threads = threads.to_vec();
    threads.sort_by_key(Thread::id);
    for thread in threads {
        let cpu = thread.cpu_time().map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()));
        println!("{:<24} {cpu:>10} {:>8.2} s", thread.path(), thread.age().as_secs_f64());
    }
}

/// Where the log lies, and where the profile will when all threads have ended.
fn print_places() {
    for file in selvedge::logging::files() {
        println!("log         {}", file.display());
    }
    let profiles = selvedge::profile_files();
    if profiles.is_empty() {
        println!("profile     none: built without --features profiling, or not enabled");
    }
    for file in profiles {
        println!("profile     {}", file.display());
    }
}

impl Options {
    /// `None`: only the usage is wanted. Paths need not be UTF-8.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
        let (mut dir, mut config, mut panic_on, mut slow_stop) = (PathBuf::new(), PathBuf::from(CONFIG), None, None);
        while let Some(arg) = args.next() {
            let name = arg.display().to_string();
            let mut value = || args.next().ok_or(format!("{name} wants a value"));
            let number = |value: OsString| {
                let number = value.to_str().and_then(|text| text.parse::<u64>().ok());
                number.ok_or_else(|| format!("{name} wants a number, not \"{}\"", value.display()))
            };
            match arg.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--config") => config = value()?.into(),
                Some("--panic-on") => panic_on = Some(number(value()?)?),
                Some("--slow-stop") => slow_stop = Some(Duration::from_secs(number(value()?)?)),
                Some(flag) if flag.starts_with('-') => return Err(format!("there is no {flag}")),
                _ if dir.as_os_str().is_empty() => dir = arg.into(),
                _ => return Err(format!("one DIR, not also {name}")),
            }
        }
        if dir.as_os_str().is_empty() {
            dir = default_dir();
        } else if !dir.is_dir() {
            return Err(format!("{} is no folder", dir.display()));
        }
        Ok(Some(Options { dir, config, panic_on, slow_stop }))
    }
}

/// Where Cargo has unpacked the sources that this program was built from.
fn default_dir() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    match home.map(|home| home.join("registry/src")) {
        Some(sources) if sources.is_dir() => sources,
        _ => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    }
}
