//! The setters of `Config` for the log. The settings themselves are in `settings.rs`.

use super::setters::Config;
#[cfg(feature = "log4rs")]
use super::settings::LogOutput;
use super::settings::LogTo;
#[cfg(feature = "log4rs")]
use crate::log::Overflow;
use ::log::LevelFilter;
#[cfg(feature = "log4rs")]
use std::path::PathBuf;

impl Config {
    /// The least severe level that is logged. On the console the default is info for the program's
    /// records, and warn for the runtime's own; with a level set here both have that level. In a
    /// file of `log_output` the default is info for both. With a log4rs file it
    /// is the level of the file's `root`, in place of the level that the file names. Without the
    /// feature `log4rs` it is the most verbose level that the facade `log` passes to the program's
    /// own logger; a logger that is installed later may set another.
    ///
    /// On the console the environment variable `RUST_LOG` goes before it, in the form that
    /// env_logger takes (`info,my_crate::parser=trace`), so that a person can ask for more without
    /// a change of the program.
    ///
    /// ```
    /// use log::LevelFilter;
    /// use selvedge::Config;
    ///
    /// let is_verbose = std::env::args().any(|argument| argument == "-v");
    /// let config = Config::new("resize").log_level(if is_verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn log_level(mut self, level: LevelFilter) -> Config {
        self.set.log_level = Some(level);
        self
    }

    /// The log is the program's own: the runtime installs no logger and does not touch an installed
    /// one. The program installs its logger or `tracing` subscriber before the runtime starts or
    /// while it is up.
    ///
    /// What the runtime itself logs goes through the facade [`log`](https://docs.rs/log), to the
    /// logger that is installed by then. What is important (panics, threads that do not stop,
    /// deadlocks) goes to stderr too: a logger of the program may filter it out.
    ///
    /// ```
    /// use selvedge::Config;
    ///
    /// selvedge::run(Config::new("service").log_own(), |_please_stop| {
    ///     tracing_subscriber::fmt().with_writer(std::io::stderr).try_init()?;
    ///     tracing::info!("from here on tracing writes the log, and takes the records of the crate log too");
    ///     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// });
    /// ```
    #[must_use]
    pub fn log_own(mut self) -> Config {
        self.set.log_to = Some(LogTo::Own);
        self
    }

    /// There is no log: the runtime installs no logger. What is important (panics, threads that do
    /// not stop, deadlocks) goes to stderr. A logger that the program installs gets what is logged,
    /// as with [`log_own`](Self::log_own); a logger that an earlier runtime of this process has
    /// installed logs nothing any more.
    #[must_use]
    pub fn log_off(mut self) -> Config {
        self.set.log_to = Some(LogTo::Off);
        self
    }
}

/// What only log4rs can follow.
#[cfg(feature = "log4rs")]
impl Config {
    /// The log4rs file, relative to the working directory. `$ENV{NAME}` in the path is replaced by
    /// the environment variable. Default: the console, which is stderr, at level info; see
    /// [`log_level`](Self::log_level).
    ///
    /// Needs the feature `log4rs`, which is on by default.
    #[must_use]
    pub fn log_file(mut self, path: impl Into<PathBuf>) -> Config {
        self.set.log_to = Some(LogTo::File(path.into()));
        self
    }

    /// A log file without a log4rs file, relative to the working directory: a line of text for each
    /// record, appended to what is there. `$ENV{NAME}` in the path is replaced by the environment
    /// variable. A variable that is not set is an error at the start. Folders that are missing are
    /// made. From info on, of the runtime itself too; [`log_level`](Self::log_level) and `RUST_LOG`
    /// set another level, as for the console. Files that are rolled, other forms of lines, and
    /// several places need a [log4rs file](Self::log_file).
    ///
    /// Needs the feature `log4rs`, which is on by default.
    ///
    /// ```
    /// use selvedge::Config;
    ///
    /// let config = Config::new("indexer").log_output("target/indexer.log");
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn log_output(mut self, path: impl Into<PathBuf>) -> Config {
        self.set.log_to = Some(LogTo::Output(LogOutput { path: path.into(), place: None }));
        self
    }

    /// Whether a thread of the runtime's own shall write the log records. Default: true.
    ///
    /// With `false` each is written on the thread that logs it, which waits until it is written.
    ///
    /// Needs the feature `log4rs`, which is on by default.
    #[must_use]
    pub fn log_queued(mut self, queued: bool) -> Config {
        self.set.log_queued = Some(queued);
        self
    }

    /// How many records wait for the log writer at most. Default: 8192; from 1 to 1,000,000.
    ///
    /// Needs the feature `log4rs`, which is on by default.
    #[must_use]
    pub fn log_capacity(mut self, records: usize) -> Config {
        self.set.log_capacity = Some(records);
        self
    }

    /// What happens to a record for which the log writer's queue has no room. Default:
    /// [`Overflow::Block`].
    ///
    /// Needs the feature `log4rs`, which is on by default.
    #[must_use]
    pub fn log_overflow(mut self, overflow: Overflow) -> Config {
        self.set.log_overflow = Some(overflow);
        self
    }

    /// How many records that were filtered out an error brings with it: the last ones of its
    /// thread. Default: 0; at most 10,000. With a tail every record is formatted, at each level.
    ///
    /// Needs the feature `log4rs`, which is on by default.
    #[must_use]
    pub fn log_tail(mut self, records: usize) -> Config {
        self.set.log_tail = Some(records);
        self
    }
}
