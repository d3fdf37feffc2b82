//! What a runtime is asked for: the settings, their defaults and their limits. How YAML spells them is in `file`.

mod checks;
mod file;
#[cfg(test)]
mod tests;

use self::checks::{
    DEADLOCKS_AFTER, LONGEST_TAIL, check_deadlocks, check_formats, check_frequency, check_grace, check_log, check_name,
    check_output, check_patience,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::log::{Overflow, Queue, Wiring};
use crate::os::program;
use crate::profile::Options;

/// The settings of a runtime: its name, log, shutdown and profile.
///
/// Each setting has a default. They come from a YAML file, from the setters, or from both: a setter goes before the
/// file. Where a function takes `impl Into<Config>`, a path (`&str`, `String`, `&Path`, `PathBuf`) stands for the file
/// at that path; the file is read, and its errors appear, when that function runs.
///
/// # Examples
///
/// A runtime without a file:
///
/// ```
/// use selvedge::{Config, OnStuck};
/// use std::time::Duration;
///
/// let config = Config::new("indexer").patience(Duration::from_secs(10)).on_stuck(OnStuck::Abort);
/// # config.check().unwrap();
/// ```
///
/// A file, all of whose keys are optional. Paths in it are relative to the file.
///
/// ```yaml
/// name: indexer
/// log: { file: log4rs.yaml, queued: true }
/// shutdown: { patience: 5s, on_stuck: wait, grace: 1s, ask: main }
/// dump: { signal: SIGUSR1 }
/// profile: { enabled: true, frequency: 100, clock: cpu, engine: auto, output: ../flamegraphs, formats: [svg, folded, pprof] }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Not read yet.
    file: Option<PathBuf>,
    set: Set,
}

/// What was set; all else is a default.
#[derive(Clone, Debug, Default)]
struct Set {
    name: Option<String>,
    log_file: Option<PathBuf>,
    log_queued: Option<bool>,
    log_capacity: Option<usize>,
    log_overflow: Option<Overflow>,
    log_tail: Option<usize>,
    patience: Option<Duration>,
    on_stuck: Option<OnStuck>,
    grace: Option<Duration>,
    ask: Option<Ask>,
    dump_signal: Option<DumpSignal>,
    /// None within: off.
    deadlocks: Option<Option<Duration>>,
    profile_enabled: Option<bool>,
    profile_options: Option<Options>,
    profile_output: Option<PathBuf>,
    profile_formats: Option<Vec<ProfileFormat>>,
    profile_fold_pools: Option<bool>,
    profile_icicle: Option<bool>,
}

/// What happens when threads are still alive once [`Config::patience`] is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnStuck {
    /// Say which threads are left and what each waits for, and go on waiting.
    #[default]
    Wait,
    /// Say the same, and end the process. Only while the whole program ends: a thread that does not stop when
    /// [`Thread::stop`](crate::Thread::stop) asks it in a program that goes on is reported, and nothing else happens.
    Abort,
}

/// Which threads SIGINT and SIGTERM ask to stop. See [`Config::ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ask {
    /// `main` alone. Its children are asked when `main`'s function has returned, so `main` decides the order: it ends the input,
    /// joins the threads that still have values to handle, and returns.
    #[default]
    Main,
    /// `main` and all threads below it, at once, as [`Thread::stop`](crate::Thread::stop) asks them: a parent before its
    /// children, the youngest first. The children of a thread with [`StopOrder::OneByOne`](crate::StopOrder::OneByOne) are asked
    /// when that thread's function has returned.
    All,
}

/// The OS signal for which a runtime that is up writes a [dump](crate::Thread::dump) of its threads.
///
/// The dump goes to the log, as one record of level WARN and target `selvedge::dump`. Where the log goes to files, it goes to
/// stderr as well, as it does if the log does not take it within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DumpSignal {
    /// None.
    None,
    /// SIGUSR1.
    #[default]
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGQUIT, as the JVM takes it; a terminal sends it for Ctrl-\\.
    Quit,
}

/// A file that a finished profile is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProfileFormat {
    /// `<name>.svg`: the flamegraph.
    Svg,
    /// `<name>.folded`: one line for each stack.
    Folded,
    /// `<name>.pb.gz`: for `go tool pprof` and others that read its format.
    Pprof,
}

/// All that a runtime needs to know, complete and checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) log: LogSettings,
    pub(crate) shutdown: ShutdownSettings,
    pub(crate) dump: DumpSettings,
    /// How long a wait must have lasted for a search for deadlocks.
    pub(crate) deadlocks: Option<Duration>,
    pub(crate) profile: ProfileSettings,
}

#[derive(Debug)]
pub(crate) struct LogSettings {
    /// Without one: the console.
    pub(crate) file: Option<PathBuf>,
    pub(crate) wiring: Wiring,
}

#[derive(Clone, Debug)]
pub(crate) struct ShutdownSettings {
    pub(crate) patience: Duration,
    pub(crate) on_stuck: OnStuck,
    /// Signals that come so soon after the first are the same request.
    pub(crate) grace: Duration,
    pub(crate) ask: Ask,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DumpSettings {
    pub(crate) signal: DumpSignal,
    /// Somebody has asked for this signal.
    pub(crate) is_asked: bool,
}

#[derive(Debug)]
pub(crate) struct ProfileSettings {
    pub(crate) enabled: bool,
    pub(crate) options: Options,
    pub(crate) output: PathBuf,
    pub(crate) formats: Vec<ProfileFormat>,
    // A program without the feature reads these two, and draws nothing.
    /// `None`: only large pools are drawn as one thread.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fold_pools: Option<bool>,
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) icicle: bool,
}

impl Config {
    /// The defaults, under this name.
    ///
    /// The name is the stem of the profile's files; see [`name`](Self::name).
    pub fn new(name: impl Into<String>) -> Config {
        Config::default().name(name)
    }

    /// Reads the YAML file at `path` now.
    ///
    /// Where `impl Into<Config>` is asked for, the path itself does as well; `load` is for who wants the error at once
    /// or changes a setting of the file by a setter. Blocks while it reads the file.
    ///
    /// # Errors
    ///
    /// [`is_config`](Error::is_config): the file cannot be read, is not YAML, has an unknown key, or a value that does
    /// not fit. The error names the line and the key.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = selvedge::Config::load("config/selvedge.yaml")?.name("nightly");
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn load(path: impl AsRef<Path>) -> Result<Config, Error> {
        Ok(Config { file: None, set: file::read(path.as_ref())? })
    }

    /// The stem of the profile's files. Default: the stem of the executable's file name.
    ///
    /// It must be good as a file name: not empty, no `/`, `\` or control characters, at most 200 bytes.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Config {
        self.set.name = Some(name.into());
        self
    }

    /// The log4rs file, relative to the working directory. Default: level info and above go to stderr.
    #[must_use]
    pub fn log_file(mut self, path: impl Into<PathBuf>) -> Config {
        self.set.log_file = Some(path.into());
        self
    }

    /// Whether a thread of the runtime's own shall write the log records. Default: true.
    ///
    /// With `false` each is written on the thread that logs it, which waits until it is written.
    #[must_use]
    pub fn log_queued(mut self, queued: bool) -> Config {
        self.set.log_queued = Some(queued);
        self
    }

    /// How many records wait for the log writer at most. Default: 8192; from 1 to 1,000,000.
    #[must_use]
    pub fn log_capacity(mut self, records: usize) -> Config {
        self.set.log_capacity = Some(records);
        self
    }

    /// What happens to a record for which the log writer's queue has no room. Default: [`Overflow::Block`].
    #[must_use]
    pub fn log_overflow(mut self, overflow: Overflow) -> Config {
        self.set.log_overflow = Some(overflow);
        self
    }

    /// How many records that were filtered out an error brings with it: the last ones of its thread. Default: 0; at most
    /// 10,000. With a tail every record is formatted, whatever its level.
    #[must_use]
    pub fn log_tail(mut self, records: usize) -> Config {
        self.set.log_tail = Some(records);
        self
    }

    /// How long a thread may take to stop before it is reported. Default: 5 s; at most a year.
    ///
    /// The clock of a thread starts when the thread is asked, whatever its parent does meanwhile, and stops when the thread and
    /// its children have ended. `main`'s stops when its function returns. The report says what the thread waits for, which thread
    /// holds that, its stack (with the feature `profiling`), and why and when it was asked. It comes again after twice that time,
    /// after four times, and so on, at least once an hour. [`Builder::patience`](crate::Builder::patience) gives one thread
    /// another patience.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Config {
        self.set.patience = Some(patience);
        self
    }

    /// What happens once the patience is over. Default: [`OnStuck::Wait`].
    #[must_use]
    pub fn on_stuck(mut self, on_stuck: OnStuck) -> Config {
        self.set.on_stuck = Some(on_stuck);
        self
    }

    /// How long after the first SIGINT or SIGTERM further ones are the same request. Default: 1 s; at most a year; zero: every
    /// second one ends the process at once.
    ///
    /// One stop often comes as several signals: `timeout` signals the program and then its process group, Ctrl-C at a terminal
    /// reaches the program and its parent, which passes it on.
    ///
    /// ```
    /// # use selvedge::Config; use std::time::Duration;
    /// let config = Config::new("importer").grace(Duration::from_secs(3));
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Config {
        self.set.grace = Some(grace);
        self
    }

    /// Which threads SIGINT and SIGTERM ask to stop. Default: [`Ask::Main`].
    ///
    /// ```
    /// use selvedge::{Ask, Config};
    ///
    /// let config = Config::new("scraper").ask(Ask::All);
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn ask(mut self, ask: Ask) -> Config {
        self.set.ask = Some(ask);
        self
    }

    /// The signal that asks for a dump of all threads. Default: [`DumpSignal::Usr1`], unless the program has a handler for
    /// SIGUSR1 when the runtime starts; that is left alone. A handler for a signal that is asked for here is called as before.
    #[must_use]
    pub fn dump_signal(mut self, signal: DumpSignal) -> Config {
        self.set.dump_signal = Some(signal);
        self
    }

    /// How long a wait must last before it is asked whether it can end at all; `None`: never. Default: 5 s; at least a
    /// millisecond.
    ///
    /// A thread of the runtime's own looks that often at what all threads of the tree wait for. A *deadlock*, threads that
    /// wait for each other's locks, monitors and ends, is logged as an error, once, with who waits for what, since when,
    /// who holds it and where it was taken; so is a wait for a [`Signal`](crate::Signal), [`Queue`](crate::Queue) or
    /// [`Promise`](crate::Promise) to which nobody else has a handle any more. What is likely but not certain is a warning
    /// that says so. Waits with a `till` or a timeout can end, and are no part of it.
    ///
    /// ```
    /// # use selvedge::Config; use std::time::Duration;
    /// let config = Config::new("trader").deadlocks(Duration::from_millis(500));
    /// let config = Config::new("trader").deadlocks(None);
    /// ```
    #[must_use]
    pub fn deadlocks(mut self, after: impl Into<Option<Duration>>) -> Config {
        self.set.deadlocks = Some(after.into());
        self
    }

    /// Whether to record a profile from start to shutdown. Default: false.
    #[must_use]
    pub fn profile_enabled(mut self, enabled: bool) -> Config {
        self.set.profile_enabled = Some(enabled);
        self
    }

    /// What to record. Does not by itself enable it.
    #[cfg(feature = "profiling")]
    #[must_use]
    pub fn profile_options(mut self, options: Options) -> Config {
        self.set.profile_options = Some(options);
        self
    }

    /// The folder for the profile's files, relative to the working directory. Default: `flamegraphs`.
    #[must_use]
    pub fn profile_output(mut self, folder: impl Into<PathBuf>) -> Config {
        self.set.profile_output = Some(folder.into());
        self
    }

    /// The files to write the profile to. Default: all formats.
    #[must_use]
    pub fn profile_formats(mut self, formats: impl IntoIterator<Item = ProfileFormat>) -> Config {
        self.set.profile_formats = Some(formats.into_iter().collect());
        self
    }

    /// Whether the flamegraph draws each pool of threads as one thread: `reader-1` to `reader-8` as `reader-*`. Default: only
    /// pools of more than 16 threads.
    #[must_use]
    pub fn profile_fold_pools(mut self, fold: bool) -> Config {
        self.set.profile_fold_pools = Some(fold);
        self
    }

    /// Whether the flamegraph has its root at the top (an icicle graph). Default: false.
    #[must_use]
    pub fn profile_icicle(mut self, icicle: bool) -> Config {
        self.set.profile_icicle = Some(icicle);
        self
    }

    /// Looks for errors in the settings, in the file and in the log4rs file that it names, and starts nothing.
    ///
    /// For a `--check-config` of one's own, or a test that the files one ships are good. Blocks while it reads the
    /// files; creates none.
    ///
    /// # Errors
    ///
    /// [`is_config`](Error::is_config), the first that is found. Not found here is what only opening a log file shows,
    /// as a full disk.
    ///
    /// # Examples
    ///
    /// ```
    /// selvedge::Config::from("config/selvedge.yaml").check()?;
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        let settings = self.clone().resolve()?;
        settings.log.file.map_or(Ok(()), |file| crate::log::load(&file).map(drop))
    }

    /// Reads the file, if there is one to read, and fills in the defaults.
    pub(crate) fn resolve(self) -> Result<Settings, Error> {
        let set = match self.file {
            Some(file) => self.set.over(file::read(&file)?),
            None => self.set,
        };
        let name = set.name.unwrap_or_else(default_name);
        let queue = Queue {
            capacity: set.log_capacity.unwrap_or(Queue::default().capacity),
            overflow: set.log_overflow.unwrap_or_default(),
        };
        let settings = Settings {
            log: LogSettings {
                file: set.log_file,
                wiring: Wiring {
                    queue: set.log_queued.unwrap_or(true).then_some(queue),
                    tail: set.log_tail.unwrap_or(0),
                },
            },
            shutdown: ShutdownSettings {
                patience: set.patience.unwrap_or(Duration::from_secs(5)),
                on_stuck: set.on_stuck.unwrap_or_default(),
                grace: set.grace.unwrap_or(Duration::from_secs(1)),
                ask: set.ask.unwrap_or_default(),
            },
            dump: DumpSettings { signal: set.dump_signal.unwrap_or_default(), is_asked: set.dump_signal.is_some() },
            deadlocks: set.deadlocks.unwrap_or(Some(DEADLOCKS_AFTER)),
            profile: ProfileSettings {
                enabled: set.profile_enabled.unwrap_or(false),
                options: set.profile_options.unwrap_or_default(),
                output: set.profile_output.unwrap_or_else(|| "flamegraphs".into()),
                formats: set.profile_formats.unwrap_or_else(|| FORMATS.map(|(_, format)| format).into()),
                fold_pools: set.profile_fold_pools,
                icicle: set.profile_icicle.unwrap_or(false),
            },
            name,
        };
        let wrong = |key: &str, message: String| Error::new(Kind::Config, message).at_key(key);
        check_name(&settings.name).map_err(|message| wrong("name", message))?;
        check_log(&queue, settings.log.wiring.tail)?;
        check_patience(settings.shutdown.patience).map_err(|message| wrong("shutdown.patience", message))?;
        check_grace(settings.shutdown.grace).map_err(|message| wrong("shutdown.grace", message))?;
        check_deadlocks(settings.deadlocks).map_err(|message| wrong("deadlocks.after", message))?;
        check_frequency(&settings.profile.options).map_err(|message| wrong("profile.frequency", message))?;
        check_output(&settings.profile.output).map_err(|message| wrong("profile.output", message))?;
        check_formats(&settings.profile.formats).map_err(|message| wrong("profile.formats", message))?;
        Ok(settings)
    }
}

impl Set {
    /// These settings, and where there is none, those of the file.
    fn over(self, file: Set) -> Set {
        Set {
            name: self.name.or(file.name),
            log_file: self.log_file.or(file.log_file),
            log_queued: self.log_queued.or(file.log_queued),
            log_capacity: self.log_capacity.or(file.log_capacity),
            log_overflow: self.log_overflow.or(file.log_overflow),
            log_tail: self.log_tail.or(file.log_tail),
            patience: self.patience.or(file.patience),
            on_stuck: self.on_stuck.or(file.on_stuck),
            grace: self.grace.or(file.grace),
            ask: self.ask.or(file.ask),
            dump_signal: self.dump_signal.or(file.dump_signal),
            deadlocks: self.deadlocks.or(file.deadlocks),
            profile_enabled: self.profile_enabled.or(file.profile_enabled),
            profile_options: self.profile_options.or(file.profile_options),
            profile_output: self.profile_output.or(file.profile_output),
            profile_formats: self.profile_formats.or(file.profile_formats),
            profile_fold_pools: self.profile_fold_pools.or(file.profile_fold_pools),
            profile_icicle: self.profile_icicle.or(file.profile_icicle),
        }
    }
}

impl From<&str> for Config {
    fn from(path: &str) -> Config {
        PathBuf::from(path).into()
    }
}

impl From<String> for Config {
    fn from(path: String) -> Config {
        PathBuf::from(path).into()
    }
}

impl From<&Path> for Config {
    fn from(path: &Path) -> Config {
        path.to_owned().into()
    }
}

impl From<PathBuf> for Config {
    fn from(path: PathBuf) -> Config {
        Config { file: Some(path), set: Set::default() }
    }
}

impl fmt::Display for ProfileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProfileFormat::Svg => "svg",
            ProfileFormat::Folded => "folded",
            ProfileFormat::Pprof => "pprof",
        })
    }
}

const FORMATS: [(&str, ProfileFormat); 3] =
    [("svg", ProfileFormat::Svg), ("folded", ProfileFormat::Folded), ("pprof", ProfileFormat::Pprof)];

const DUMP_SIGNALS: [(&str, DumpSignal); 4] = [
    ("SIGUSR1", DumpSignal::Usr1),
    ("SIGUSR2", DumpSignal::Usr2),
    ("SIGQUIT", DumpSignal::Quit),
    ("none", DumpSignal::None),
];

fn default_name() -> String {
    program::name().filter(|name| check_name(name).is_ok()).unwrap_or_else(|| "program".to_owned())
}
