//! A log configuration that has been checked, and of which nothing has been opened: what a log4rs
//! file says, the console, or a plain file.

use std::path::{Path, PathBuf};

use ::log::LevelFilter;
use log4rs::config::Logger;
use log4rs::filter::Filter;
use serde_value::Value;

use super::refresh::Refresh;
use super::rolling::Policy;
use super::rust_log::{self, Levels};
use super::wiring::Queue;

/// A checked log configuration. Nothing is opened before `install`.
pub(crate) struct CheckedLog {
    /// The log4rs file.
    pub(super) file: Option<PathBuf>,
    /// The program has asked for it. Otherwise it steps back behind a logger of the program's own.
    pub(super) is_asked: bool,
    pub(super) appenders: Vec<CheckedAppender>,
    pub(super) root: (LevelFilter, Vec<String>),
    pub(super) loggers: Vec<Logger>,
    /// What is odd, but no error; each begins with its place. They are logged once it is installed.
    pub(super) warnings: Vec<String>,
    /// The files that its appenders write, variables expanded.
    pub(super) files: Vec<PathBuf>,
    /// How often to check whether the file has changed, and since when.
    pub(super) refresh: Option<Refresh>,
}

pub(super) struct CheckedAppender {
    pub(super) name: String,
    pub(super) kind: String,
    /// For log4rs: without `kind` and `filters`, the path expanded.
    pub(super) settings: Value,
    pub(super) filters: Vec<Box<dyn Filter>>,
    pub(super) path: Option<PathBuf>,
    /// Of a rolling file: when it is rolled, and where its archives are.
    pub(super) rolling: Option<Policy>,
    /// In the log4rs file, for what comes from one.
    pub(super) line: Option<u64>,
    /// Of the kind `queued`: its queue, and what is behind it.
    pub(super) behind: Option<(Queue, Vec<CheckedAppender>)>,
}

impl CheckedAppender {
    /// The files that it and those behind it write.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let behind = self.behind.iter().flat_map(|(_, behind)| behind.iter().filter_map(|inner| inner.path.as_ref()));
        self.path.iter().chain(behind)
    }
}

impl CheckedLog {
    /// How its file asks to be checked; `None` if it does not.
    pub(crate) fn refresh(&self) -> Option<Refresh> {
        self.refresh
    }

    /// Whether its levels let no record through.
    pub(super) fn logs_nothing(&self) -> bool {
        self.root.0 == LevelFilter::Off && self.loggers.iter().all(|logger| logger.level() == LevelFilter::Off)
    }
}

/// What is logged without a log4rs file: to stderr, as stdout is the program's own. RUST_LOG says
/// from which level on, else `level`. Without both it is info for the program, and a runtime that
/// is well says nothing.
pub(crate) fn console(level: Option<LevelFilter>) -> CheckedLog {
    const PATTERN: &str = "{d(%Y-%m-%d %H:%M:%S%.3f)} {h({l:<5})} {T} {t}: {m}{n}";
    let settings = [(text("target"), text("stderr")), (text("encoder"), encoder(PATTERN))];
    CheckedLog::of_one("console", Value::Map(settings.into()), None, level, Levels::of_default_console())
}

/// A log file that no log4rs file describes, with the lines of the console. Without RUST_LOG and
/// `level` it has all from info on, of the runtime too.
pub(crate) fn plain_file(path: &Path, level: Option<LevelFilter>) -> CheckedLog {
    const PATTERN: &str = "{d(%Y-%m-%d %H:%M:%S%.3f)} {l:<5} {T} {t}: {m}{n}";
    let settings = [(text("path"), text(&path.to_string_lossy())), (text("encoder"), encoder(PATTERN))];
    let levels = Levels { root: LevelFilter::Info, ..Levels::default() };
    let log = CheckedLog::of_one("file", Value::Map(settings.into()), Some(path.to_owned()), level, levels);
    CheckedLog { is_asked: true, ..log }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn encoder(pattern: &str) -> Value {
    Value::Map([(text("pattern"), text(pattern))].into())
}

impl CheckedLog {
    /// One appender, named as its kind.
    fn of_one(
        kind: &str,
        settings: Value,
        path: Option<PathBuf>,
        level: Option<LevelFilter>,
        default: Levels,
    ) -> CheckedLog {
        let Levels { root, targets, faults } = match (rust_log::from_environment(), level) {
            (Some(levels), _) => levels,
            (None, Some(level)) => Levels { root: level, ..Levels::default() },
            (None, None) => default,
        };
        let logger = |(target, level)| Logger::builder().build::<String>(target, level);
        let appender = CheckedAppender {
            name: kind.to_owned(),
            kind: kind.to_owned(),
            settings,
            filters: Vec::new(),
            path,
            rolling: None,
            line: None,
            behind: None,
        };
        CheckedLog {
            file: None,
            is_asked: false,
            root: (root, vec![appender.name.clone()]),
            files: appender.files().cloned().collect(),
            appenders: vec![appender],
            loggers: targets.into_iter().map(logger).collect(),
            warnings: faults,
            refresh: None,
        }
    }
}
