//! A word index that logs a record for each file, with its log written by who logs and by a writer: whole processes, in
//! turns. `log_indexer drive [ROUNDS [FILES]]`; one measurement: `log_indexer WAY SINKS FILES`.
//!
//! WAY is `plain` (log4rs as it is) or `queued`. SINKS is `file`, `each` (a file, and a pretend remote sink that takes 1 ms
//! for a record) or `batch` (the same, but the sink sends what it has collected when it is flushed, as nobody tells it to do
//! without a writer: so plain, it sends each record).

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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ROUND_TRIP: Duration = Duration::from_millis(1);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |text| text.parse());
    match args.first().map(String::as_str) {
        Some(way @ ("plain" | "queued")) => {
            measure(way == "queued", args.get(1).map_or("file", |s| s), number(2, 4000)?)?
        }
        _ => drive(number(1, 5)?, number(2, 4000)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs each way in turns, and prints how long the processes took.
fn drive(rounds: usize, files: usize) -> Result<(), Box<dyn Error>> {
    println!("an index of {files} files by 2 readers, a record for each; whole processes, medians of {rounds} rounds");
    for (sinks, what) in [
        ("file", "to a file"),
        ("each", "to a file and to a remote sink, 1 ms a record"),
        ("batch", "to a file and to a remote sink, 1 ms a batch where there are batches"),
    ] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (at, way) in ["plain", "queued"].iter().enumerate() {
                let begin = Instant::now();
                let status = Command::new(std::env::current_exe()?).args([*way, sinks, &files.to_string()]).status()?;
                times[at].push(begin.elapsed());
                assert!(status.success(), "{way} {sinks}: {status}");
            }
        }
        times.iter_mut().for_each(|times| times.sort());
        let [plain, queued] = [times[0][rounds / 2].as_secs_f64(), times[1][rounds / 2].as_secs_f64()];
        let gain = (plain / queued - 1.0) * 100.0;
        println!("{what}: plain {plain:.3} s, queued {queued:.3} s: {gain:+.0} % speed");
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Remote {
    collects: bool,
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
        if self.collected.swap(0, Ordering::Relaxed) > 0 {
            std::thread::sleep(ROUND_TRIP);
        }
    }
}

fn measure(queued: bool, sinks: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let log = std::env::temp_dir().join(format!("log-indexer-{}.log", std::process::id()));
    let encoder = PatternEncoder::new("{d(%Y-%m-%d %H:%M:%S%.3f)} {l} {T} {t}: {m}{n}");
    let file = FileAppender::builder().encoder(Box::new(encoder)).append(false).build(&log)?;
    let mut appenders: Vec<(&str, Box<dyn Append>)> = Vec::new();
    let remote = (sinks != "file").then(|| Remote { collects: queued && sinks == "batch", ..Remote::default() });
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
