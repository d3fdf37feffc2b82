//! A log4rs file, read strictly: each key and value is checked, with its line, before anything is
//! opened. What log4rs itself would print to stderr and leave out is an error here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::log::LevelFilter;
use log4rs::config::{Deserializable, Deserializers, Logger};
use log4rs::encode::Encode;
use log4rs::filter::Filter;

use super::plan::{CheckedAppender, CheckedLog};
use super::settings::for_log4rs;
use super::wiring::{levels, read_level, read_queue};
use super::{check_rolling, paths, pattern, queued};
use crate::error::{Error, Kind};
use crate::yaml::{Document, Field, Section, did_you_mean, expand_env, plain, quoted};

/// Reads `file` and checks everything that can be checked without opening a log file.
pub(crate) fn load(file: &Path) -> Result<CheckedLog, Error> {
    load_below(file, Path::new(""))
}

/// The same, where paths of log files are relative to `folder`.
pub(super) fn load_below(file: &Path, folder: &Path) -> Result<CheckedLog, Error> {
    let document = Document::read(file)?;
    let mut check = Check {
        with: queued::deserializers(),
        folder: folder.to_owned(),
        warnings: Vec::new(),
        unset: RefCell::default(),
    };
    check.document(&document)
}

pub(super) struct Check {
    with: Deserializers,
    folder: PathBuf,
    warnings: Vec<String>,
    /// Line, key and fault of each text with an environment variable that cannot be replaced.
    unset: RefCell<Vec<(u64, String, String)>>,
}

impl Check {
    fn document(&mut self, document: &Document) -> Result<CheckedLog, Error> {
        let top = document.top().section(&["refresh_rate", "appenders", "root", "loggers"])?;
        let mut refresh = None;
        if let Some(rate) = top.get("refresh_rate") {
            let every = rate.duration()?;
            if every < Duration::from_millis(1) {
                let message =
                    "shorter than a millisecond; name how often is looked whether this file has changed, as `30s`";
                return Err(rate.error(message));
            }
            refresh = Some(every);
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
        check_rolling::not_shared(&appenders)?;
        self.same_file_twice(&appenders);
        let appenders: Vec<CheckedAppender> = appenders.into_iter().map(|(_, appender)| appender).collect();
        Ok(CheckedLog {
            file: Some(document.file().to_owned()),
            refresh,
            files: appenders.iter().flat_map(CheckedAppender::files).cloned().collect(),
            root,
            loggers,
            appenders,
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    pub(super) fn warn(&mut self, field: &Field<'_>, message: &str) {
        self.warnings.push(field.remark(message));
    }

    fn appender(&mut self, name: &str, field: &Field<'_>) -> Result<CheckedAppender, Error> {
        let kind = read_kind(field, "appender", &["console", "file", "rolling_file", "queued"], None)?;
        if kind == "queued" {
            return self.queued(name, field);
        }
        let mut rolling = None;
        let path = match kind {
            "console" => {
                let section = field.section(&["kind", "filters", "encoder", "target", "tty_only"])?;
                if let Some(target) = section.get("target") {
                    target.choice(&[("stdout", ()), ("stderr", ())])?;
                }
                section.get("tty_only").map_or(Ok(false), |tty_only| tty_only.boolean())?;
                None
            }
            "file" => {
                let section = field.section(&["kind", "filters", "encoder", "path", "append"])?;
                Some(self.path(&section, true)?)
            }
            _ => {
                let section = field.section(&["kind", "filters", "encoder", "path", "append", "policy"])?;
                let policy = section.required("policy", "when and how the file is rolled")?;
                let folder = self.folder.clone();
                let (path, expanded) = self.path(&section, false)?;
                let read = check_rolling::policy(self, &policy, &folder)?;
                check_rolling::apart(&policy, &read, &path)?;
                rolling = Some(read);
                Some((path, expanded))
            }
        };
        let section = field.open()?;
        if let Some(encoder) = section.get("encoder") {
            self.encoder(&encoder)?;
        }
        let filters = self.filters(&section)?;
        let mut settings = for_log4rs(field.node(), &["kind", "filters"]);
        let path = path.map(|(path, expanded)| {
            if let serde_value::Value::Map(settings) = &mut settings {
                // The expanded one: `$TIME{…}` must not give another name when log4rs comes to
                // expand it. Absolute, unless it cannot be said in YAML where we are.
                let text = |text: &str| serde_value::Value::String(text.to_owned());
                settings.insert(text("path"), text(path.to_str().unwrap_or(&expanded)));
            }
            path
        });
        let line = Some(field.line());
        let (name, kind) = (name.to_owned(), kind.to_owned());
        Ok(CheckedAppender { name, kind, settings, filters, path, rolling, line, behind: None })
    }

    /// An appender that hands its records to others, through a queue and a thread of its own.
    fn queued(&mut self, name: &str, field: &Field<'_>) -> Result<CheckedAppender, Error> {
        let section = field.section(&["kind", "filters", "capacity", "overflow", "appenders"])?;
        let queue = read_queue(&section)?;
        let list = section.required("appenders", "a list of the appenders that write what is queued")?;
        let mut behind = Vec::new();
        for (at, item) in list.list()?.iter().enumerate() {
            let inner = item.open()?;
            if let Some(filters) = inner.get("filters") {
                return Err(filters.error("filters belong to the queued appender itself: they spare the queue"));
            }
            let checked = self.appender(&format!("{name}[{at}]"), item)?;
            if checked.behind.is_some() {
                return Err(item.error("a queued appender within another one; put its appenders into the outer one"));
            }
            behind.push(checked);
        }
        if behind.is_empty() {
            return Err(list.error("no appenders, so what is queued would be lost"));
        }
        Ok(CheckedAppender {
            name: name.to_owned(),
            kind: "queued".to_owned(),
            settings: serde_value::Value::Unit,
            filters: self.filters(&section)?,
            path: None,
            rolling: None,
            line: Some(field.line()),
            behind: Some((queue, behind)),
        })
    }

    fn filters(&self, section: &Section<'_>) -> Result<Vec<Box<dyn Filter>>, Error> {
        match section.get("filters") {
            Some(filters) => filters.list()?.iter().map(|filter| self.filter(filter)).collect(),
            None => Ok(Vec::new()),
        }
    }

    /// Where it leads, and as it stands in the file, variables expanded.
    fn path(&mut self, section: &Section<'_>, with_time: bool) -> Result<(PathBuf, String), Error> {
        section.get("append").map_or(Ok(false), |append| append.boolean())?;
        let field = section.required("path", "the file to log to")?;
        let mut path = self.variables(&field, field.text("the path of the log file")?);
        if with_time {
            path = paths::expand_time(&path).map_err(|message| field.error(message))?;
        } else if path.contains("$TIME{") {
            self.warn(&field, "a rolling_file does not replace `$TIME{…}`; it stays in the path");
        }
        if path.starts_with("~/") {
            self.warn(&field, "`~` is a folder of that name here; the home folder is `$ENV{HOME}`");
        }
        let whole = self.folder.join(&path);
        match paths::unwritable(&whole) {
            Some(reason) => Err(field.error(reason)),
            // Absolute: it is shown to people in other directories, and the program may change its
            // own.
            None => Ok((std::path::absolute(&whole).unwrap_or(whole), path)),
        }
    }

    /// `text` with its environment variables replaced. A variable that cannot be replaced is an
    /// error of the whole file. All such variables are told together, since mostly several are
    /// missing.
    pub(super) fn variables(&self, field: &Field<'_>, text: &str) -> String {
        expand_env(text).unwrap_or_else(|fault| {
            self.unset.borrow_mut().push((field.line(), field.key().to_owned(), fault));
            text.to_owned()
        })
    }

    pub(super) fn no_unset_variable(&self, field: &Field<'_>) -> Result<(), Error> {
        let mut unset = self.unset.take();
        unset.sort();
        let Some(((line, key, fault), more)) = unset.split_first() else { return Ok(()) };
        let more = more.iter().map(|(line, key, fault)| format!("; also on line {line}, {key}: {fault}"));
        let message = fault.clone() + &more.collect::<String>();
        Err(Error::new(Kind::Config, message).at_file(field.file()).at_line(*line).at_key(key.clone()))
    }

    fn encoder(&self, field: &Field<'_>) -> Result<(), Error> {
        match read_kind(field, "encoder", &["pattern", "json"], Some("pattern"))? {
            "pattern" => {
                let section = field.section(&["kind", "pattern"])?;
                if let Some(field) = section.get("pattern") {
                    let text = field.text("a pattern such as \"{d} {l} {T} {t}: {m}{n}\"")?;
                    if let Some(fault) = pattern::fault(text) {
                        return Err(field.error(format!("the pattern {fault}")));
                    }
                }
                self.build::<dyn Encode>(field, "pattern").map(drop)
            }
            kind => {
                field.section(&["kind"])?;
                self.build::<dyn Encode>(field, kind).map(drop)
            }
        }
    }

    fn filter(&self, field: &Field<'_>) -> Result<Box<dyn Filter>, Error> {
        let kind = read_kind(field, "filter", &["threshold"], None)?;
        read_level(&field.section(&["kind", "level"])?.required("level", "the least level that passes")?)?;
        self.build(field, kind)
    }

    /// Lets log4rs build a component that opens nothing, so that it has its say while the key is
    /// known.
    pub(super) fn build<T: Deserializable + ?Sized>(&self, field: &Field<'_>, kind: &str) -> Result<Box<T>, Error> {
        let settings = match for_log4rs(field.node(), &["kind"]) {
            // All its keys are commented out.
            serde_value::Value::Unit => serde_value::Value::Map(BTreeMap::new()),
            settings => settings,
        };
        let built = self.with.deserialize::<T>(kind, settings);
        built.map_err(|reason| field.error(format!("log4rs refuses this {}", T::name())).because(reason))
    }

    fn root(
        &mut self,
        top: &Section<'_>,
        known: &[&str],
        used: &mut BTreeSet<String>,
        loggers: &[Logger],
    ) -> Result<(LevelFilter, Vec<String>), Error> {
        const HINT: &str = "name them, as `root: { level: info, appenders: [console] }`, or, so that nothing is logged, \
                            write `root: { level: off }`";
        const NOT_ALL: &str = "root has no appenders, so what no logger takes is not logged";
        let was_logged = |logger: &Logger| logger.level() != LevelFilter::Off && !logger.appenders().is_empty();
        // An empty file, or one of which the end is not written yet: log4rs would log nothing,
        // without a word.
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

/// As log4rs: words that are parted by `::`, not empty at the end.
pub(super) fn is_logger_name(name: &str) -> bool {
    let good = !name.replace("::", " ").contains(':') && !name.ends_with(':') && !name.contains(":::");
    !name.is_empty() && good
}

fn read_logger(
    name: &str,
    field: &Field<'_>,
    known: &[&str],
    used: &mut BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Logger, Error> {
    if !is_logger_name(name) {
        return Err(field.error("not a logger's name; expected modules parted by `::`, as `my_crate::parser`"));
    }
    let section = field.section(&["level", "appenders", "additive"])?;
    let level = read_level(&section.required("level", &levels())?)?;
    let mut logger = Logger::builder();
    if let Some(field) = section.get("appenders") {
        logger = logger.appenders(read_names(&field, known, used, warnings)?);
    }
    if let Some(field) = section.get("additive") {
        logger = logger.additive(field.boolean()?);
    }
    Ok(logger.build(name, level))
}

fn read_names(
    field: &Field<'_>,
    known: &[&str],
    used: &mut BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for item in field.list()? {
        let name = item.text("the name of an appender")?;
        if !known.contains(&name) {
            let hint = did_you_mean(name, known);
            let defined = if known.is_empty() { "none".to_owned() } else { plain(&known.join(", ")) };
            return Err(item.error(format!("no appender is named {}; defined: {defined}{hint}", quoted(name))));
        }
        if names.iter().any(|before| before == name) {
            warnings.push(item.remark("named twice, so each record is written twice"));
        }
        used.insert(name.to_owned());
        names.push(name.to_owned());
    }
    Ok(names)
}

/// The kind of a component, one of the known ones.
pub(super) fn read_kind<'k>(
    field: &Field<'_>,
    role: &str,
    known: &[&'k str],
    default: Option<&'k str>,
) -> Result<&'k str, Error> {
    let section = field.open()?;
    let Some(kind) = section.get("kind") else {
        let missing = || field.error(format!("the key `kind` is missing; kinds of {role}: {}", known.join(", ")));
        return default.ok_or_else(missing);
    };
    let text = kind.text(&format!("a kind of {role}"))?;
    known.iter().find(|word| **word == text).copied().ok_or_else(|| {
        let hint = did_you_mean(text, known);
        kind.error(format!("unknown kind of {role} {}; known: {}{hint}", quoted(text), known.join(", ")))
    })
}
