//! Reads a log4rs file strictly: each key and value is checked before anything is opened, and a
//! fault names its line. What log4rs itself would print to stderr and leave out is an error here.

mod appender;
mod context;
mod logger;
mod rolling;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use ::log::LevelFilter;
use log4rs::config::Logger;

use self::context::Check;
use self::logger::{read_logger, read_names};
use super::checked::{CheckedAppender, CheckedLog};
use super::refresh::{Refresh, Version};
use super::wiring::read_level;
use crate::error::Error;
use crate::yaml::{Document, Field, Section, quoted};

/// Reads `file` and checks everything that can be checked without opening a log file. Called by the
/// start of the runtime, before anything is started.
pub(crate) fn load(file: &Path) -> Result<CheckedLog, Error> {
    load_below(file, Path::new(""))
}

/// The same, where paths of log files are relative to `folder`.
pub(super) fn load_below(file: &Path, folder: &Path) -> Result<CheckedLog, Error> {
    let seen = Version::of(file);
    let document = Document::read(file)?;
    Check::new(folder).document(&document, seen)
}

impl Check {
    /// `seen`: the version of the file that was read.
    fn document(&mut self, document: &Document, seen: Version) -> Result<CheckedLog, Error> {
        let top = document.top().section(&["refresh_rate", "appenders", "root", "loggers"])?;
        let mut refresh = None;
        if let Some(rate) = top.get("refresh_rate") {
            let every = rate.duration()?;
            if every < Duration::from_millis(1) {
                let message =
                    "shorter than a millisecond; name how often to check whether this file has changed, as `30s`";
                return Err(rate.error(message));
            }
            refresh = Some(Refresh { every, seen });
        }
        let mut appenders = Vec::new();
        if let Some(field) = top.get("appenders") {
            for (name, appender) in field.open()?.all() {
                appenders.push((appender.clone(), self.appender(name, &appender)?));
            }
        }
        self.no_unset_variable(top.field())?;
        let names: Vec<&str> = appenders.iter().map(|(_, appender)| appender.name.as_str()).collect();
        let mut used = BTreeSet::new();
        let mut loggers = Vec::new();
        if let Some(field) = top.get("loggers") {
            for (name, logger) in field.open()?.all() {
                loggers.push(read_logger(name, &logger, &names, &mut used, &mut self.warnings)?);
            }
        }
        let root = self.root(&top, &names, &mut used, &loggers)?;
        for (field, appender) in &appenders {
            if !used.contains(&appender.name) {
                self.warn(field, "neither root nor a logger names this appender, so it gets no records");
            }
        }
        rolling::not_shared(&appenders)?;
        self.same_file_twice(&appenders);
        let appenders: Vec<CheckedAppender> = appenders.into_iter().map(|(_, appender)| appender).collect();
        Ok(CheckedLog {
            is_asked: true,
            file: Some(document.file().to_owned()),
            refresh,
            files: appenders.iter().flat_map(CheckedAppender::files).cloned().collect(),
            root,
            loggers,
            appenders,
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    fn root(
        &mut self,
        top: &Section<'_>,
        known: &[&str],
        used: &mut BTreeSet<String>,
        loggers: &[Logger],
    ) -> Result<(LevelFilter, Vec<String>), Error> {
        const HINT: &str = "name them, as `root: { level: info, appenders: [console] }`, or, so that nothing is \
                            logged, write `root: { level: off }`";
        const NOT_ALL: &str = "root has no appenders, so what no logger takes is not logged";
        let was_logged = |logger: &Logger| logger.level() != LevelFilter::Off && !logger.appenders().is_empty();
        // An empty file, or a file that is half written: log4rs would log nothing, without a word.
        let Some(field) = top.get("root") else {
            if !loggers.iter().any(was_logged) {
                let message = format!("the key `root` is missing, so nothing would be logged; {HINT}");
                return Err(top.field().error(message));
            }
            self.warn(top.field(), NOT_ALL);
            return Ok((LevelFilter::Debug, Vec::new()));
        };
        let root = field.section(&["level", "appenders"])?;
        let level = root.get("level").map_or(Ok(LevelFilter::Debug), |field| read_level(&field))?;
        let Some(list) = root.get("appenders") else {
            if level != LevelFilter::Off {
                if !loggers.iter().any(was_logged) {
                    let message = format!("the key `appenders` is missing, so root would log nothing; {HINT}");
                    return Err(field.error(message));
                }
                self.warn(&field, NOT_ALL);
            }
            return Ok((level, Vec::new()));
        };
        let appenders = read_names(&list, known, used, &mut self.warnings)?;
        if appenders.is_empty() && level != LevelFilter::Off {
            if !loggers.iter().any(was_logged) {
                return Err(list.error(format!("no appenders, so nothing would be logged; {HINT}")));
            }
            self.warn(&field, NOT_ALL);
        }
        Ok((level, appenders))
    }

    fn same_file_twice(&mut self, appenders: &[(Field<'_>, CheckedAppender)]) {
        let mut seen = BTreeMap::new();
        for (field, appender) in appenders {
            for path in appender.files() {
                if let Some(other) = seen.insert(path, &appender.name) {
                    self.warn(field, &format!("the appender {} writes to the same file", quoted(other)));
                }
            }
        }
    }
}
