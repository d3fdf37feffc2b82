//! Opens the appenders of a checked log. The only place where appenders are built. Does not touch
//! the process's logger.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::log::LevelFilter;
use log4rs::append::Append;
use log4rs::config::{Appender, Config, Deserializers, Logger, Root};
use log4rs::filter::{Filter, Response};

use super::channel::Channel;
use super::checked::{CheckedAppender, CheckedLog};
use super::console::{Console, DirectConsole, NoConsole};
use super::contained::Contained;
use super::deserialize::{self, Opening};
use super::paths::Created;
use super::process_hooks;
use super::queue_appender::{DirectAppender, QueueAppender};
use super::queued::Queued;
use super::route::Route;
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::{Queue, Wiring};
use crate::error::{Error, Kind};
use crate::yaml::{plain, plain_path};

/// The filters of one appender.
type Filters = Arc<[Box<dyn Filter>]>;

/// An appender that is open: its name, itself, its filters.
type Open = (String, Arc<dyn Append>, Filters);

/// What a log4rs config is made of; it can be made anew from them with the appenders open.
#[derive(Clone)]
pub(super) struct Parts {
    appenders: Vec<Open>,
    pub(super) root: (LevelFilter, Vec<String>),
    pub(super) loggers: Vec<Logger>,
    pub(super) channel: Option<Arc<Channel>>,
}

impl CheckedLog {
    /// Opens the appenders. `written`: the log files that this program has written, which are not
    /// emptied; `reload`: the place of this log is that of the same file before.
    pub(super) fn build(
        mut self,
        wiring: Wiring,
        written: &BTreeSet<PathBuf>,
        reload: bool,
        created: &mut Created,
    ) -> Result<Parts, Error> {
        let file = self.file.take();
        let with = deserialize::deserializers();
        let file = file.as_deref();
        let build = Build { with, file, written, reload, queue: wiring.queue, created };
        // To open an old file may truncate it, which cannot be undone: so those come last.
        self.appenders.sort_by_key(|appender| appender.path.as_deref().is_some_and(Path::exists));
        let mut opened = Opened { build, appenders: Vec::new(), sinks: Vec::new(), queued: Vec::new() };
        for appender in self.appenders {
            opened.add(appender)?;
        }
        Ok(opened.into_parts(self.root, self.loggers))
    }
}

/// What has been opened so far.
struct Opened<'a> {
    build: Build<'a>,
    appenders: Vec<Open>,
    /// The outputs behind the queue of the log, and the appenders that lead to them.
    sinks: Vec<Sink>,
    queued: Vec<(String, Filters)>,
}

impl Opened<'_> {
    fn add(&mut self, mut appender: CheckedAppender) -> Result<(), Error> {
        let filters: Filters = std::mem::take(&mut appender.filters).into();
        let name = appender.name.clone();
        let open: Arc<dyn Append> = match (appender.behind.take(), self.build.queue) {
            (Some((queue, behind)), _) => Arc::new(self.build.queued(&name, queue, behind)?),
            (None, Some(queue)) => match self.build.output(appender)? {
                Some(output) => {
                    self.sinks.push(Sink::new(&name, output, queue.capacity));
                    self.queued.push((name, filters));
                    return Ok(());
                }
                None => Arc::new(NoConsole),
            },
            (None, None) if appender.rolling.is_some() => match self.build.output(appender)? {
                Some(output) => Arc::new(DirectAppender::start(&name, output)),
                // A file that is rolled has an output.
                None => return Ok(()),
            },
            (None, None) => match self.build.direct(appender)? {
                Some(open) => Arc::new(Contained::new(&name, open)),
                None => Arc::new(NoConsole),
            },
        };
        self.appenders.push((name, open, filters));
        Ok(())
    }

    fn into_parts(mut self, root: (LevelFilter, Vec<String>), loggers: Vec<Logger>) -> Parts {
        let sinks = Sinks::new(self.sinks);
        let channel = self.build.queue.filter(|_| sinks.count() > 0).map(|queue| {
            let channel = Channel::new("log", queue.capacity, queue.overflow, sinks);
            process_hooks::register(Arc::new(channel))
        });
        if let Some(channel) = &channel {
            for (sink, (name, filters)) in self.queued.into_iter().enumerate() {
                self.appenders.push((name, Arc::new(QueueAppender::one(channel.clone(), sink)), filters));
            }
        }
        Parts { appenders: self.appenders, root, loggers, channel }
    }
}

impl Parts {
    pub(super) fn config(&self) -> Result<Config, Error> {
        let mut config = Config::builder().loggers(self.loggers.iter().cloned());
        for (name, appender, filters) in &self.appenders {
            let appender = Box::new(Shared(appender.clone()));
            let filter: Box<dyn Filter> = Box::new(AllOf(filters.clone()));
            config = config.appender(Appender::builder().filter(filter).build(name, appender));
        }
        let (level, appenders) = &self.root;
        let root = Root::builder().appenders(appenders).build(*level);
        config.build(root).map_err(|errors| Error::new(Kind::Config, "refused by log4rs").because(errors))
    }

    /// The direct way of a record, if there is one appender, and it only captures records for a
    /// queue.
    pub(super) fn route(&self) -> Option<Route> {
        let channel = self.channel.as_ref().filter(|channel| channel.sinks() == self.appenders.len())?;
        let [(_, _, filters)] = &self.appenders[..] else { return None };
        Some(Route::new(&self.root, &self.loggers, filters.clone(), QueueAppender::one(channel.clone(), 0)))
    }
}

/// One appender in several configs.
#[derive(Debug)]
struct Shared(Arc<dyn Append>);

impl Append for Shared {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        self.0.append(record)
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// The filters of one appender, in several configs.
#[derive(Debug)]
struct AllOf(Filters);

impl Filter for AllOf {
    fn filter(&self, record: &::log::Record<'_>) -> Response {
        let decided = self.0.iter().map(|filter| filter.filter(record)).find(|said| *said != Response::Neutral);
        decided.unwrap_or(Response::Neutral)
    }
}

/// Opens appenders.
struct Build<'a> {
    with: Deserializers,
    file: Option<&'a Path>,
    /// Log files that this program has written. They are not emptied.
    written: &'a BTreeSet<PathBuf>,
    reload: bool,
    /// `None`: records are written on the thread that logs them.
    queue: Option<Queue>,
    created: &'a mut Created,
}

impl Build<'_> {
    /// An appender with a queue and a writer of its own.
    fn queued(&mut self, name: &str, queue: Queue, behind: Vec<CheckedAppender>) -> Result<Queued, Error> {
        let mut outputs = Vec::new();
        for inner in behind {
            let name = inner.name.clone();
            outputs.extend(self.output(inner)?.map(|output| (name, output)));
        }
        Queued::start(name, queue, outputs).map_err(|error| {
            with_file(Error::new(Kind::Io, "no thread for a queued appender").because(error), self.file)
        })
    }

    /// An appender that the thread that logs calls. `None` if there is nothing to write to.
    fn direct(&mut self, appender: CheckedAppender) -> Result<Option<Box<dyn Append>>, Error> {
        match self.console(&appender)? {
            Some(console) => Ok(console.map(|console| Box::new(DirectConsole::new(console)) as _)),
            None => self.appender(appender).map(Some),
        }
    }

    fn appender(&mut self, mut checked: CheckedAppender) -> Result<Box<dyn Append>, Error> {
        self.will_open(&mut checked);
        let built = self.with.deserialize::<dyn Append>(&checked.kind, checked.settings.clone());
        built.map_err(|reason| self.refused(&checked, reason))
    }

    /// Before the file of this appender is opened.
    fn will_open(&mut self, checked: &mut CheckedAppender) {
        if let Some(path) = &checked.path {
            if self.written.contains(path) {
                deserialize::force_append(&mut checked.settings);
            }
            self.created.will_open(path);
        }
    }

    /// `None` if it is no console. `Some(None)` if it is a console for terminals only, and
    /// there is no terminal.
    fn console(&self, checked: &CheckedAppender) -> Result<Option<Option<Console>>, Error> {
        if checked.kind != "console" {
            return Ok(None);
        }
        let console = Console::from_settings(checked.settings.clone(), &self.with, true);
        console.map(Some).map_err(|reason| self.refused(checked, reason))
    }

    /// What stands behind a queue: a log file or console of ours, or an appender of log4rs. `None`
    /// if there is nothing to write to.
    fn output(&mut self, mut checked: CheckedAppender) -> Result<Option<Output>, Error> {
        if let Some(console) = self.console(&checked)? {
            return Ok(console.map(Output::Console));
        }
        if checked.kind != "file" && checked.rolling.is_none() {
            return self.appender(checked).map(|appender| Some(Output::Other(appender)));
        }
        self.will_open(&mut checked);
        let (path, rolling) = (checked.path.as_deref(), checked.rolling.take());
        let opening = Opening { path, ours: true, rolling, reload: self.reload };
        let opened = deserialize::open_file(checked.settings.clone(), &self.with, opening);
        opened.map(|file| Some(Output::File(Box::new(file)))).map_err(|reason| self.refused(&checked, reason))
    }

    fn refused(&self, checked: &CheckedAppender, reason: anyhow::Error) -> Error {
        let message = match &checked.path {
            Some(path) => format!("cannot open {}", plain_path(path)),
            None => "this appender cannot be built".to_owned(),
        };
        let key = format!("appenders.{}", plain(&checked.name));
        let error = Error::new(Kind::Config, message).because(reason).at_key(key);
        checked.line.iter().fold(with_file(error, self.file), |error, line| error.at_line(*line))
    }
}

pub(super) fn with_file(error: Error, file: Option<&Path>) -> Error {
    match file {
        Some(file) => error.at_file(file),
        None => error,
    }
}
