//! An appender in a log4rs file: its kind, path, encoder and filters, and for the kind `queued` the
//! appenders behind it. Opens nothing.

use std::path::PathBuf;

use log4rs::encode::Encode;
use log4rs::filter::Filter;

use super::context::{Check, read_kind};
use super::rolling;
use crate::error::Error;
use crate::log::checked::CheckedAppender;
use crate::log::settings::for_log4rs;
use crate::log::wiring::{read_level, read_queue};
use crate::log::{paths, pattern_syntax};
use crate::yaml::{Field, Section, unreplaced};

impl Check {
    pub(super) fn appender(&mut self, name: &str, field: &Field<'_>) -> Result<CheckedAppender, Error> {
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
                let read = rolling::policy(self, &policy, &folder)?;
                rolling::apart(&policy, &read, &path)?;
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

    /// The absolute path, and the path as it stands in the file with its variables expanded.
    fn path(&mut self, section: &Section<'_>, with_time: bool) -> Result<(PathBuf, String), Error> {
        section.get("append").map_or(Ok(false), |append| append.boolean())?;
        let field = section.required("path", "the file to log to")?;
        let written = field.text("the path of the log file")?;
        if let Some(fault) = unreplaced(written) {
            return Err(field.error(fault));
        }
        let mut path = self.variables(&field, written);
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

    fn encoder(&self, field: &Field<'_>) -> Result<(), Error> {
        match read_kind(field, "encoder", &["pattern", "json"], Some("pattern"))? {
            "pattern" => {
                let section = field.section(&["kind", "pattern"])?;
                if let Some(field) = section.get("pattern") {
                    let text = field.text("a pattern such as \"{d} {l} {T} {t}: {m}{n}\"")?;
                    if let Some(fault) = pattern_syntax::fault(text) {
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
}
