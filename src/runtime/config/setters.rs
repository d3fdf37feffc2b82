//! `Config`: what a program asks of a runtime, setting by setter. The setters of the log are in
//! `log`, the limits of values in `checks`. Opens nothing but the file that `load` is given.

use super::checks::LONGEST_PATIENCE;
use super::choices::{Ask, OnStuck, OsSignal, ProfileFormat};
use super::file;
use super::set::Set;
use super::settings::LogTo;
use crate::error::Error;
#[cfg(feature = "profiling")]
use crate::profile::Options;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of a runtime: its name, log, shutdown and profile.
///
/// Each setting has a default. They come from a YAML file, from the setters, or from both: a setter
/// goes before the file. Where a function takes `impl Into<Config>`, a path (`&str`, `String`,
/// `&Path`, `PathBuf`) stands for the file at that path; the file is read, and its errors appear,
/// when that function runs.
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
/// profile: { enabled: true, frequency: 100, clock: cpu, output: ../flamegraphs, formats: [svg, folded, pprof] }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Not read yet.
    pub(super) file: Option<PathBuf>,
    pub(super) set: Set,
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
    /// Where `impl Into<Config>` is asked for, the path itself does as well. `load` gives the error
    /// at once, and lets the program change a setting of the file by a setter. Blocks while it
    /// reads the file.
    ///
    /// # Errors
    ///
    /// [`is_config`](Error::is_config): the file cannot be read, is not YAML, has an unknown key,
    /// or a value that does not fit. The error names the line and the key.
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
    /// It must be good as a file name: not empty, at most 200 bytes, without `/`, `\`, control
    /// characters, ends of lines, and marks that change the order of a text.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Config {
        self.set.name = Some(name.into());
        self
    }

    /// How long a thread may take to stop before it is reported. Default: 5 s; more than a
    /// year counts as a year.
    ///
    /// The clock of a thread starts when the thread is asked, even if its parent is busy meanwhile,
    /// and stops when the thread and its children have ended. `main`'s stops when its function
    /// returns. The report says what the thread waits for, which thread holds that, its stack (with
    /// the feature `profiling`), and why and when it was asked. It comes again when twice the
    /// time has passed that had passed at the report before, at least once an hour.
    /// [`Builder::patience`](crate::Builder::patience) gives one thread another patience.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Config {
        self.set.patience = Some(patience.min(LONGEST_PATIENCE));
        self
    }

    /// What happens once the patience is over. Default: [`OnStuck::Wait`].
    #[must_use]
    pub fn on_stuck(mut self, on_stuck: OnStuck) -> Config {
        self.set.on_stuck = Some(on_stuck);
        self
    }

    /// How long after the first SIGINT or SIGTERM further ones are the same request. Default: 1 s;
    /// more than a year counts as a year; zero: every second one ends the process at once.
    ///
    /// One stop often comes as several signals: `timeout` signals the program and then its process
    /// group, Ctrl-C at a terminal reaches the program and its parent, which passes it on.
    ///
    /// ```
    /// # use selvedge::Config; use std::time::Duration;
    /// let config = Config::new("importer").grace(Duration::from_secs(3));
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Config {
        self.set.grace = Some(grace.min(LONGEST_PATIENCE));
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

    /// The signal that asks for a dump of all threads. Default: [`OsSignal::Usr1`], unless the
    /// program has a handler for SIGUSR1 when the runtime starts; that is left alone. A handler for
    /// a signal that is asked for here is called as before.
    ///
    /// The dump goes to the log, as one record of level WARN and target `selvedge::dump`. Where the
    /// log goes to files, it goes to stderr as well, as it does if the log does not take it within
    /// a second.
    #[must_use]
    pub fn dump_signal(mut self, signal: OsSignal) -> Config {
        self.set.dump_signal = Some(signal);
        self
    }

    /// How long a wait must last before it is asked whether it can end at all; `None`: never.
    /// Default: 5 s; at least a millisecond; more than a year counts as a year.
    ///
    /// A thread of the runtime's own looks that often at what all threads of the tree wait for. A
    /// *deadlock*, threads that wait for each other's locks, monitors and ends, is logged as an
    /// error, once, with the waiting threads, what each waits for, since when, the holder and where
    /// it took the lock; so is a wait for a [`Signal`](crate::Signal), [`Queue`](crate::Queue) or
    /// [`Promise`](crate::Promise) to which no other thread has a handle any more. What is likely
    /// but not certain is a warning that says so. Waits with a `till` or a timeout can end, and are
    /// no part of it.
    ///
    /// ```
    /// # use selvedge::Config; use std::time::Duration;
    /// let config = Config::new("trader").deadlocks(Duration::from_millis(500));
    /// let config = Config::new("trader").deadlocks(None);
    /// ```
    #[must_use]
    pub fn deadlocks(mut self, after: impl Into<Option<Duration>>) -> Config {
        self.set.deadlocks = Some(after.into().map(|after| after.min(LONGEST_PATIENCE)));
        self
    }

    /// Whether to record a profile from start to shutdown. Default: false.
    ///
    /// The environment variable `SELVEDGE_PROFILE` goes before this, and before the file: `on` or
    /// `off`, or `cpu` or `wall` for `on` with that clock. Any other value is an error in the
    /// configuration. It is inherited by child processes.
    #[must_use]
    pub fn profile_enabled(mut self, enabled: bool) -> Config {
        self.set.profile_enabled = Some(enabled);
        self
    }

    /// The signal that starts a recording in the running program, and the next one ends it and
    /// writes its files; [`OsSignal::None`] by default. Without the feature `profiling` it does
    /// nothing.
    ///
    /// With [`profile_enabled`](Self::profile_enabled) a recording runs from the start, and the
    /// first signal ends it. The first recording's files are called as [`name`](Self::name) says;
    /// those of the second `<name>-2.svg`, and so on. What runs at the end of the program is
    /// written then. What was done is in the log, as a warning. A signal that comes while a
    /// recording is started or written does nothing.
    ///
    /// ```
    /// use selvedge::{Config, OsSignal};
    ///
    /// let config = Config::new("importer").profile_signal(OsSignal::Usr2);
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn profile_signal(mut self, signal: OsSignal) -> Config {
        self.set.profile_signal = Some(signal);
        self
    }

    /// What to record. Does not by itself enable it.
    #[cfg(feature = "profiling")]
    #[must_use]
    pub fn profile_options(mut self, options: Options) -> Config {
        self.set.profile_options = Some(options);
        self
    }

    /// The folder for the profile's files, relative to the working directory. Default:
    /// `flamegraphs`. `$ENV{NAME}` in it is replaced by the environment variable, as in a file. The
    /// environment variable `SELVEDGE_PROFILE_OUTPUT` goes before this, and before the file.
    #[must_use]
    pub fn profile_output(mut self, folder: impl Into<PathBuf>) -> Config {
        self.set.profile_output = Some(folder.into());
        self
    }

    /// The files to write the profile to. Default: the flamegraph, folded stacks and pprof. All
    /// others make the recording count waits.
    #[must_use]
    pub fn profile_formats(mut self, formats: impl IntoIterator<Item = ProfileFormat>) -> Config {
        self.set.profile_formats = Some(formats.into_iter().collect());
        self
    }

    /// Whether the flamegraph draws each pool of threads as one thread: `reader-1` to `reader-8` as
    /// `reader-*`. Default: only pools of more than 16 threads.
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

    /// Which machinery the flamegraph draws as one frame: `rayon`, `tokio`, `serde`, or names of
    /// crates. Default: these three; of an empty list none. What that means is told at
    /// [`FlameOptions::collapse`](crate::profile::FlameOptions::collapse).
    #[cfg(feature = "profiling")]
    #[must_use]
    pub fn profile_collapse(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Config {
        self.set.profile_collapse = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Whether the flamegraph leaves out the runtime's own threads, `main/selvedge/…`, and says so
    /// in its subtitle. Default: by the wall clock only, where they would take a great part of the
    /// picture with their waits.
    #[must_use]
    pub fn profile_hide_runtime(mut self, hide: bool) -> Config {
        self.set.profile_hide_runtime = Some(hide);
        self
    }

    /// Whether the runtime logs, at its end, where the lifetime of each thread went: CPU, runnable,
    /// waits by name and by the thread that ended them, outside. Default: no. Counts the waits, as
    /// `profile::Options::waits` does.
    #[must_use]
    pub fn profile_accounts(mut self, wanted: bool) -> Config {
        self.set.profile_accounts = Some(wanted);
        self
    }

    /// Looks for errors in the settings, in the file and in the log4rs file that it names, and
    /// starts nothing.
    ///
    /// For a `--check-config` of one's own, or a test that the files one ships are good. Blocks
    /// while it reads the files; creates none.
    ///
    /// # Errors
    ///
    /// [`is_config`](Error::is_config), the first that is found. Not found here is what only
    /// opening a log file shows, as a full disk.
    ///
    /// # Examples
    ///
    /// ```
    /// selvedge::Config::from("config/selvedge.yaml").check()?;
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        let settings = self.clone().resolve()?;
        match settings.log.to {
            LogTo::File(file) => crate::log::load(&file).map(drop),
            _ => Ok(()),
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
