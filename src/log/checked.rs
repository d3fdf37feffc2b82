//! A log configuration that has been checked, and of which nothing has been opened: what a log4rs
//! file says, or the console.

use std::path::PathBuf;
use std::time::Duration;

use ::log::LevelFilter;
use log4rs::config::Logger;
use log4rs::filter::Filter;

use super::rolling::Policy;
use super::rust_log::{self, Levels};
use super::wiring::Queue;

/// A checked log configuration. Nothing is opened before `install`.
pub(crate) struct CheckedLog {
    /// Without one: the console, which steps back behind a logger of the program's own.
    pub(super) file: Option<PathBuf>,
    pub(super) appenders: Vec<CheckedAppender>,
    pub(super) root: (LevelFilter, Vec<String>),
    pub(super) loggers: Vec<Logger>,
    /// What is odd, but no error; each begins with its place. They are logged once it is installed.
    pub(super) warnings: Vec<String>,
    /// The files that its appenders write, variables expanded.
    pub(super) files: Vec<PathBuf>,
    /// How often to check whether the file has changed.
    pub(super) refresh: Option<Duration>,
}

pub(super) struct CheckedAppender {
    pub(super) name: String,
    pub(super) kind: String,
    /// For log4rs: without `kind` and `filters`, the path expanded.
    pub(super) settings: serde_value::Value,
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
    /// How often its file asks to be looked at again.
    pub(crate) fn refresh(&self) -> Option<Duration> {
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
    use serde_value::Value;
    const PATTERN: &str = "{d(%Y-%m-%d %H:%M:%S%.3f)} {h({l:<5})} {T} {t}: {m}{n}";
    let text = |text: &str| Value::String(text.to_owned());
    let encoder = Value::Map([(text("pattern"), text(PATTERN))].into());
    let appender = CheckedAppender {
        name: "console".to_owned(),
        kind: "console".to_owned(),
        settings: Value::Map([(text("target"), text("stderr")), (text("encoder"), encoder)].into()),
        filters: Vec::new(),
        path: None,
        rolling: None,
        line: None,
        behind: None,
    };
    let Levels { root, targets, faults } = match (rust_log::from_environment(), level) {
        (Some(levels), _) => levels,
        (None, Some(level)) => Levels { root: level, ..Levels::default() },
        (None, None) => Levels::of_default_console(),
    };
    let logger = |(target, level)| Logger::builder().build::<String>(target, level);
    CheckedLog {
        file: None,
        root: (root, vec![appender.name.clone()]),
        appenders: vec![appender],
        loggers: targets.into_iter().map(logger).collect(),
        warnings: faults,
        files: Vec::new(),
        refresh: None,
    }
}
