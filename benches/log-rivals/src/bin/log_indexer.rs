//! A word index that logs a record for each file, with its log written by the logging thread and by
//! a writer: whole processes, in turns. `log_indexer drive [ROUNDS [FILES [LEAST]]]`; one
//! measurement: `log_indexer WAY SINKS FILES LEAST`. Files of fewer than LEAST bytes are left out:
//! with 0, a record comes more often than a sink that is 1 ms away can take them.
//!
//! WAY is `plain` (log4rs as it is) or `queued`. SINKS is `file`, or a file and a pretend remote
//! sink that is 1 ms away: `one` (it has one connection, so one record at a time, as any appender
//! with a socket and a lock), `many` (each thread that logs has its own, so plain, two records are
//! under way at once) or `batch` (one connection, and what has come since it was last flushed goes
//! in one round trip: so in the plain way each record does, as no call flushes it).

use log4rs::append::Append;
use log4rs::append::file::FileAppender;
use log4rs::config::{Appender, Config, Root};
use log4rs::encode::pattern::PatternEncoder;
use selvedge::logging::Queued;
use selvedge::{Queue, spawn};
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ROUND_TRIP: Duration = Duration::from_millis(1);
const FILES: usize = 1000;
const LEAST: usize = 20_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |text| text.parse());
    match args.first().map(String::as_str) {
        Some(way @ ("plain" | "queued")) => {
            measure(way == "queued", args.get(1).map_or("file", |s| s), number(2, FILES)?, number(3, LEAST)?)?
        }
        _ => drive(number(1, 5)?, number(2, FILES)?, number(3, LEAST)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs all in turns, and prints how long the processes took.
fn drive(rounds: usize, files: usize, least: usize) -> Result<(), Box<dyn Error>> {
    const SINKS: [(&str, &str); 4] = [
        ("file", "to a file"),
        ("one", "and 1 ms away, one connection"),
        ("many", "and 1 ms away, one for each thread"),
        ("batch", "and 1 ms away, in batches"),
    ];
    let mut times = [const { [const { Vec::new() }; 2] }; SINKS.len()];
    for round in 0..rounds {
        for ((sinks, _), times) in SINKS.iter().zip(&mut times) {
            let ways = if round % 2 == 0 { [(0, "plain"), (1, "queued")] } else { [(1, "queued"), (0, "plain")] };
            for (at, way) in ways {
                let begin = Instant::now();
                let mut command = Command::new(std::env::current_exe()?);
                let status = command.args([way, sinks, &files.to_string(), &least.to_string()]).status()?;
                times[at].push(begin.elapsed().as_secs_f64());
                assert!(status.success(), "{way} {sinks}: {status}");
            }
        }
    }
    println!("{files} files of at least {least} bytes by 2 readers, a record for each;");
    println!("{rounds} rounds: median [least, most]");
    println!("| {:<36} | {:>22} | {:>22} | {:>30} |", "", "plain s", "queued s", "more speed, within a round");
    println!("|{:-<38}|{:->24}|{:->24}|{:->32}|", "", ":", ":", ":");
    for ((_, what), [plain, queued]) in SINKS.iter().zip(times) {
        let gains = plain.iter().zip(&queued).map(|(plain, queued)| (plain / queued - 1.0) * 100.0).collect();
        let [plain, queued] = [plain, queued].map(|times| spread(times, |time| format!("{time:.2}")));
        println!("| {what:<36} | {plain:>22} | {queued:>22} | {:>30} |", spread(gains, |gain| format!("{gain:+.0} %")));
    }
    Ok(())
}

fn spread(mut values: Vec<f64>, show: impl Fn(f64) -> String) -> String {
    values.sort_by(f64::total_cmp);
    let [middle, least, most] = [values[values.len() / 2], values[0], values[values.len() - 1]].map(show);
    format!("{middle} [{least}, {most}]")
}

#[derive(Debug, Default)]
struct Remote {
    collects: bool,
    /// None: no limit to how many are under way.
    connection: Option<Mutex<()>>,
    collected: AtomicUsize,
}

impl Append for Remote {
    fn append(&self, _: &log::Record<'_>) -> anyhow::Result<()> {
        self.collected.fetch_add(1, Ordering::Relaxed);
        if !self.collects {
            self.flush();
        }
        Ok(())
    }

    fn flush(&self) {
        let _connection = self.connection.as_ref().map(|connection| connection.lock());
        if self.collected.swap(0, Ordering::Relaxed) > 0 || !self.collects {
            std::thread::sleep(ROUND_TRIP);
        }
    }
}

fn measure(queued: bool, sinks: &str, count: usize, least: usize) -> Result<(), Box<dyn Error>> {
    let log = std::env::temp_dir().join(format!("log-indexer-{}.log", std::process::id()));
    let encoder = PatternEncoder::new("{d(%Y-%m-%d %H:%M:%S%.3f)} {l} {T} {t}: {m}{n}");
    let file = FileAppender::builder().encoder(Box::new(encoder)).append(false).build(&log)?;
    let mut appenders: Vec<(&str, Box<dyn Append>)> = Vec::new();
    let remote = (sinks != "file").then(|| Remote {
        collects: queued && sinks == "batch",
        connection: (sinks != "many").then(Mutex::default),
        ..Remote::default()
    });
    if queued {
        appenders.push(("file", Box::new(Queued::builder().appender("file", file).build()?)));
        if let Some(remote) = remote {
            appenders.push(("remote", Box::new(Queued::builder().appender("remote", remote).build()?)));
        }
    } else {
        appenders.push(("file", Box::new(file)));
        if let Some(remote) = remote {
            appenders.push(("remote", Box::new(remote)));
        }
    }
    let root = Root::builder().appenders(appenders.iter().map(|(name, _)| *name)).build(log::LevelFilter::Info);
    let config = Config::builder()
        .appenders(appenders.into_iter().map(|(name, appender)| Appender::builder().build(name, appender)));
    log4rs::init_config(config.build(root)?)?;

    let paths: Queue<PathBuf> = Queue::bounded("paths", 256);
    let readers: Vec<_> = (0..2)
        .map(|number| {
            let paths = paths.clone();
            spawn(format!("reader-{number}"), move |_| {
                let mut words: HashMap<String, u64> = HashMap::new();
                while let Some(path) = paths.pop() {
                    let Ok(text) = std::fs::read_to_string(&path) else { continue };
                    for word in text.split(|letter: char| !letter.is_alphanumeric()) {
                        *words.entry(word.to_lowercase()).or_default() += 1;
                    }
                    log::info!("indexed {} with {} bytes", path.display(), text.len());
                }
                words.len()
            })
        })
        .collect();
    let mut found = 0;
    walk(&sources(), &mut |path| {
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() < least as u64) {
            return true;
        }
        found += 1;
        found <= count && paths.add(path).is_ok()
    });
    paths.close();
    for reader in readers {
        reader.join()?;
    }
    log::logger().flush();
    std::fs::remove_file(log)?;
    Ok(())
}

/// Where Cargo keeps the sources of crates, or this checkout.
fn sources() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let registry = home.map(|home| home.join("registry/src")).filter(|path| path.is_dir());
    registry.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
}

/// Gives `f` each source file below `folder`, until it has enough.
fn walk(folder: &Path, f: &mut dyn FnMut(PathBuf) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    let mut entries: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries.into_iter().all(|path| match path.is_dir() {
        true => walk(&path, f),
        false if path.extension().is_some_and(|extension| extension == "rs") => f(path),
        false => true,
    })
}
