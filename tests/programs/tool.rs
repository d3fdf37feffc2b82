//! A command-line program: `tool SCENARIO [CONFIG]`. How it ends, and what it logs where.

use selvedge::{Config, Queue, Signal, Stopped, Till, spawn_fallible};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

type Boxed = Box<dyn Error + Send + Sync>;

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let config = args.next().map_or_else(|| Config::new("tool"), Config::from);
    match scenario.as_str() {
        "unit" => selvedge::run(config, |_| ()),
        "code" => selvedge::run(config, |_| ExitCode::from(3)),
        "code-0" => selvedge::run(config, |_| Ok::<_, String>(ExitCode::SUCCESS)),
        "result-code" => selvedge::run(config, |_| Ok::<_, Boxed>(ExitCode::from(4))),
        "result-error" => selvedge::run(config, |_| Err::<ExitCode, _>("there is no such file")),
        "never" => selvedge::run(config, |_| panic!("no return")),
        "infallible" => selvedge::run(config, |_| Err::<Infallible, _>("infallible, and failed")),
        "code-and-failure" => selvedge::run(config, |_| {
            drop(spawn_fallible("child", |_| Err::<(), _>("the child could not")));
            ExitCode::from(3)
        }),
        "code-when-stopped" => selvedge::run(config, |please_stop| {
            wait(please_stop);
            println!("interrupted by {:?}", selvedge::interrupted());
            ExitCode::from(20)
        }),
        "code-0-when-stopped" => selvedge::run(config, |please_stop| {
            wait(please_stop);
            ExitCode::SUCCESS
        }),
        "stopped-boxed" => selvedge::run(config, |please_stop| Ok::<(), Boxed>(pop(please_stop)?)),
        "stopped-plain" => selvedge::run(config, |please_stop| Ok::<(), Box<dyn Error>>(pop(please_stop)?)),
        "stopped-bare" => selvedge::run(config, pop),
        "stopped-io" => selvedge::run(config, |please_stop| pop(please_stop).map_err(io::Error::other)),
        "stopped-anyhow" => selvedge::run(config, |please_stop| Ok::<(), anyhow::Error>(pop(please_stop)?)),
        "stopped-text" => {
            selvedge::run(config, |please_stop| pop(please_stop).map_err(|error| format!("load: {error}")))
        }
        "stopped-own" => selvedge::run(config, |please_stop| pop(please_stop).map_err(Own)),
        "stopped-add" => selvedge::run(config, |please_stop| {
            let full = Queue::bounded("full", 1).may_be_left();
            full.add("first")?;
            ready();
            full.add_till("second", please_stop)?;
            Ok::<(), Box<dyn Error>>(())
        }),
        "stopped-itself" => selvedge::run(config, |please_stop| {
            wait(please_stop);
            Err::<(), _>(Stopped)
        }),
        "stopped-worker" => selvedge::run(config, |_| {
            let worker = spawn_fallible("worker", pop);
            Ok::<(), Boxed>(worker.join()?)
        }),
        "stopped-unjoined" => selvedge::run(config, |please_stop| {
            drop(spawn_fallible("worker", pop));
            wait(please_stop);
        }),
        "stopped-resumed" => selvedge::run(config, |_| {
            let worker = spawn_fallible("worker", pop);
            worker.join().unwrap_or_else(|failure| failure.resume());
        }),
        "not-asked" => selvedge::run(config, |_| {
            let never: Queue<()> = Queue::unbounded("never");
            Ok::<(), Boxed>(never.pop_till(&Till::after(Duration::from_millis(5)))?)
        }),
        "failed-while-stopping" => selvedge::run(config, |please_stop| {
            wait(please_stop);
            Err::<(), _>("the disk is full")
        }),
        "levels" => selvedge::run(config, |_| levels()),
        "own" => selvedge::run(config.log_own(), |_| own()),
        "own-later" => selvedge::run(config, |_| own()),
        "own-before" => {
            own().expect("the first");
            selvedge::run(config, |_| levels())
        }
        "off" => selvedge::run(config.log_off(), |_| levels()),
        "off-after-a-console" => {
            let first = selvedge::run(Config::new("first"), |_| levels());
            assert_eq!(format!("{first:?}"), format!("{:?}", ExitCode::SUCCESS));
            eprintln!("now off");
            selvedge::run(config.log_off(), |_| levels())
        }
        "own-panic" => selvedge::run(config.log_own(), |_| {
            drop(selvedge::spawn("worker", |_| panic!("told without a log")).join());
        }),
        other => panic!("no scenario \"{other}\""),
    }
}

fn ready() {
    println!("ready");
}

fn wait(please_stop: &Signal) {
    ready();
    please_stop.wait_for_go();
}

fn pop(please_stop: &Signal) -> Result<(), selvedge::PopError> {
    let never: Queue<()> = Queue::unbounded("never");
    ready();
    never.pop_till(please_stop)
}

/// An error of the program's own, which names its source.
#[derive(Debug)]
struct Own(selvedge::PopError);

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loading: {}", self.0)
    }
}

impl Error for Own {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn levels() {
    log::error!("an error");
    log::warn!("a warning");
    log::info!("an info");
    log::debug!("a debug");
    log::trace!("a trace");
    log::debug!(target: "part::inner", "a debug of a part");
}

/// A subscriber of the program's own; it takes the records of the crate log, too.
fn own() -> Result<(), Boxed> {
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).without_time();
    subscriber.with_max_level(tracing::Level::INFO).try_init()?;
    tracing::info!("by tracing");
    log::info!("by log");
    Ok(())
}
