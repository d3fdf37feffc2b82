//! From a checked description to the process's logger: the one place where appenders are built.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::model::locks::Mutex;
use ::log::{Level, LevelFilter};
use log4rs::append::Append;
use log4rs::config::{Appender, Config, Deserializers, Logger, Root};
use log4rs::filter::{Filter, Response};

use super::channel::Channel;
use super::console::{self, Console, NoConsole};
use super::contained::Contained;
use super::logger::{self, Logger as ProcessLogger};
use super::paths::Created;
use super::queued::Opening;
use super::rolling::Policy;
use super::rust_log::{self, Levels};
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::{Queue, Wiring};
use super::{process_hooks, queued, writer};
use crate::error::{Error, Kind};
use crate::os::{log_file, tell};
use crate::yaml::{plain, plain_path};

/// A checked log configuration. Nothing is opened before [`install`](CheckedLog::install).
pub(crate) struct CheckedLog {
    /// Without one: the console, which steps back behind a logger of the program's own.
    pub(super) file: Option<PathBuf>,
    pub(super) appenders: Vec<CheckedAppender>,
    pub(super) root: (LevelFilter, Vec<String>),
    pub(super) loggers: Vec<Logger>,
    /// What is odd, but no error; each begins with its place. They are logged once the checked is
    /// installed.
    pub(super) warnings: Vec<String>,
    /// The files that its appenders write, variables expanded.
    pub(super) files: Vec<PathBuf>,
    /// How often to look whether the file has changed.
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

struct Installed {
    handle: log4rs::Handle,
    files: Vec<PathBuf>,
    /// All files that were written since the start, also files that a reload has taken out: if they
    /// come back, they are not emptied.
    written: BTreeSet<PathBuf>,
    parts: Parts,
    wiring: Wiring,
}

/// An appender that is open: its name, itself, its filters.
type Open = (String, Arc<dyn Append>, Arc<[Box<dyn Filter>]>);

/// What a log4rs config is made of; it can be made anew from them with the appenders open.
pub(super) struct Parts {
    appenders: Vec<Open>,
    root: (LevelFilter, Vec<String>),
    loggers: Vec<Logger>,
    channel: Option<Arc<Channel>>,
    /// Of the files that are written by the thread that logs.
    direct: Vec<Arc<Channel>>,
}

static INSTALLED: Mutex<Option<Installed>> = Mutex::new(None);

/// What is logged without a log4rs file: to stderr, as stdout is the program's own. RUST_LOG says from which level on, else
/// `level`. Without both it is info for the program, and a runtime that is well says nothing.
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

/// Returns `true` if a runtime of this process has installed its logger.
pub(crate) fn is_installed() -> bool {
    INSTALLED.lock().is_some()
}

/// Returns `true` if that logger writes no files, so that a person at the terminal sees what it takes.
pub(crate) fn is_console() -> bool {
    INSTALLED.lock().as_ref().is_some_and(|installed| installed.files.is_empty())
}

/// A logger that an earlier runtime of this process has installed logs nothing from now on.
pub(crate) fn switch_off() -> Result<(), Error> {
    if !is_installed() {
        return Ok(());
    }
    let mut checked = console(Some(LevelFilter::Off));
    (checked.root, checked.appenders) = ((LevelFilter::Off, Vec::new()), Vec::new());
    (checked.loggers, checked.warnings) = (Vec::new(), Vec::new());
    checked.install(Wiring::default(), false)
}

/// Logs `text`, and writes it to stderr, unless the log is a console that has taken it.
pub(crate) fn tell_log_and_stderr(level: Level, target: &str, text: &str) {
    let was_logged = tell::was_logged(|| ::log::log!(target: target, level, "{text}"));
    if !was_logged || !is_console() {
        tell::remark(&format!("selvedge: {text}"));
    }
}

pub(crate) fn installed_files() -> Vec<PathBuf> {
    INSTALLED.lock().as_ref().map(|installed| installed.files.clone()).unwrap_or_default()
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

    /// Opens the appenders, and makes this the process's logger, or puts it in the place of the
    /// checked installed before. With `reload` the place is that of this very file, and its log files
    /// are gone on with.
    ///
    /// If it fails, the logger is as before, and files that were created for this are gone again.
    pub(crate) fn install(mut self, wiring: Wiring, reload: bool) -> Result<(), Error> {
        let warnings = std::mem::take(&mut self.warnings);
        if let (Some(_), Some(level)) = (&self.file, wiring.level) {
            self.root.0 = level;
        }
        // A file that reaches a limit of its size is a full disk, and no reason to be killed.
        log_file::survive_file_size_limit();
        {
            let mut installed = INSTALLED.lock();
            let mut created = Created::nothing();
            let files = std::mem::take(&mut self.files);
            let file = self.file.clone();
            let mut written = match &*installed {
                Some(installed) if reload => installed.written.clone(),
                _ => BTreeSet::new(),
            };
            let parts = self.build(wiring, &written, reload, &mut created)?;
            written.extend(files.iter().cloned());
            let config = parts.config().map_err(|error| with_file(error, file.as_deref()))?;
            match &mut *installed {
                Some(installed) => {
                    ::log::logger().flush();
                    let channel = parts.channel.clone();
                    let before = std::mem::replace(&mut installed.parts, parts);
                    (installed.files, installed.written, installed.wiring) = (files, written, wiring);
                    logger::set_style(None, wiring);
                    writer::replace(before.channel, channel, || installed.handle.set_config(config));
                    logger::set_style(Some(&installed.parts), wiring);
                    logger::raise_max_level(wiring.tail, installed.handle.max_log_level());
                }
                // By hand: log4rs::init_config sets the level even where another logger is there
                // already.
                none => {
                    let logger = log4rs::Logger::new(config);
                    let (handle, level) = (logger.handle(), logger.max_log_level());
                    match (::log::set_boxed_logger(Box::new(ProcessLogger(logger))), file) {
                        (Ok(()), _) => {
                            logger::set_style(Some(&parts), wiring);
                            writer::replace(None, parts.channel.clone(), || ());
                            logger::raise_max_level(wiring.tail, level);
                            *none = Some(Installed { handle, files, written, parts, wiring });
                        }
                        (Err(_), None) => {}
                        (Err(_), Some(file)) => {
                            let message = "the program has installed a logger of its own before, so this file has no \
                                           effect; leave out `log`, or do not install the other";
                            return Err(Error::new(Kind::Config, message).at_file(file));
                        }
                    }
                }
            }
            created.keep();
        }
        for warning in warnings {
            tell::tell(Level::Warn, "selvedge", &warning);
        }
        Ok(())
    }

    fn build(
        mut self,
        wiring: Wiring,
        going_on: &BTreeSet<PathBuf>,
        reload: bool,
        created: &mut Created,
    ) -> Result<Parts, Error> {
        let mut build = Build { with: queued::deserializers(), file: self.file.as_deref(), going_on, reload, created };
        // To open an old file may truncate it, which cannot be undone: so those come last.
        self.appenders.sort_by_key(|appender| appender.path.as_deref().is_some_and(Path::exists));
        let mut appenders: Vec<Open> = Vec::new();
        let (mut sinks, mut waiting, mut direct) = (Vec::new(), Vec::new(), Vec::new());
        for mut appender in self.appenders {
            let (name, filters) = (appender.name.clone(), std::mem::take(&mut appender.filters).into());
            match (appender.behind.take(), wiring.queue) {
                (Some((queue, behind)), _) => {
                    let mut outputs = Vec::new();
                    for inner in behind {
                        let name = inner.name.clone();
                        outputs.extend(build.output(inner)?.map(|output| (name, output)));
                    }
                    let queued = queued::Queued::start(&name, queue, outputs).map_err(|error| {
                        with_file(Error::new(Kind::Io, "no thread for a queued appender").because(error), build.file)
                    })?;
                    appenders.push((name, Arc::new(queued), filters));
                }
                (None, Some(queue)) => match build.output(appender)? {
                    Some(output) => {
                        sinks.push(Sink::new(&name, output, queue.capacity));
                        waiting.push((name, filters));
                    }
                    None => appenders.push((name, Arc::new(NoConsole), filters)),
                },
                (None, None) if appender.rolling.is_some() => {
                    // A file that is rolled has an output.
                    if let Some(output) = build.output(appender)? {
                        let written = queued::Direct::start(&name, output);
                        direct.push(written.channel().clone());
                        appenders.push((name, Arc::new(written), filters));
                    }
                }
                (None, None) => {
                    let open: Option<Box<dyn Append>> = match build.console(&appender)? {
                        Some(console) => console.map(|console| Box::new(console::DirectConsole::new(console)) as _),
                        None => Some(build.appender(appender)?),
                    };
                    match open {
                        Some(open) => appenders.push((name.clone(), Arc::new(Contained::new(&name, open)), filters)),
                        None => appenders.push((name, Arc::new(NoConsole), filters)),
                    }
                }
            }
        }
        let channel = wiring.queue.filter(|_| !sinks.is_empty()).map(|queue| {
            let channel = Channel::new("log", queue.capacity, queue.overflow, Sinks::new(sinks));
            process_hooks::register(Arc::new(channel))
        });
        if let Some(channel) = &channel {
            for (sink, (name, filters)) in waiting.into_iter().enumerate() {
                appenders.push((name, Arc::new(queued::QueueAppender::one(channel.clone(), sink)), filters));
            }
        }
        Ok(Parts { appenders, root: self.root, loggers: self.loggers, channel, direct })
    }
}

impl Parts {
    fn config(&self) -> Result<Config, Error> {
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

    pub(super) fn appender_count(&self) -> usize {
        self.appenders.len()
    }

    /// Whether all records go through queues, so that nothing of log4rs is locked while they are
    /// captured.
    pub(super) fn all_queued(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.sinks() == self.appenders.len())
    }
}

/// The levels of the logger that is installed.
pub(super) fn set_level(target: Option<&str>, level: LevelFilter) -> Result<(), Error> {
    let mut installed = INSTALLED.lock();
    let Some(installed) = &mut *installed else {
        return Err(Error::new(Kind::Config, "no runtime has installed a logger whose levels could be set"));
    };
    let parts = &mut installed.parts;
    let before = parts.loggers.clone();
    match target {
        None => parts.root.0 = level,
        Some(target) => {
            let known = parts.loggers.iter().position(|logger| logger.name() == target);
            let logger = match known.map(|at| parts.loggers.remove(at)) {
                Some(old) => Logger::builder().appenders(old.appenders().iter().cloned()).additive(old.additive()),
                None => Logger::builder(),
            };
            parts.loggers.push(logger.build(target, level));
        }
    }
    match parts.config() {
        Ok(config) => installed.handle.set_config(config),
        Err(error) => {
            parts.loggers = before;
            return Err(error);
        }
    }
    logger::raise_max_level(installed.wiring.tail, installed.handle.max_log_level());
    Ok(())
}

/// A last try of sinks that fail; afterwards what could not be written has been said.
pub(crate) fn end() {
    ::log::logger().flush();
    let channels = INSTALLED.lock().as_ref().map(|Installed { parts, .. }| {
        let channels = parts.direct.iter().chain(&parts.channel);
        channels.cloned().collect::<Vec<_>>()
    });
    channels.iter().flatten().for_each(|channel| channel.finish_sinks());
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
struct AllOf(Arc<[Box<dyn Filter>]>);

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
    /// Log files that are not emptied.
    going_on: &'a BTreeSet<PathBuf>,
    reload: bool,
    created: &'a mut Created,
}

impl Build<'_> {
    fn appender(&mut self, mut checked: CheckedAppender) -> Result<Box<dyn Append>, Error> {
        self.will_open(&mut checked);
        let built = self.with.deserialize::<dyn Append>(&checked.kind, checked.settings.clone());
        built.map_err(|reason| self.refused(&checked, reason))
    }

    /// Before the file of `checked` is opened.
    fn will_open(&mut self, checked: &mut CheckedAppender) {
        if let Some(path) = &checked.path {
            if self.going_on.contains(path) {
                queued::force_append(&mut checked.settings);
            }
            self.created.will_open(path);
        }
    }

    /// `None` if the checked is no console. `Some(None)` if it is a console for terminals only, and
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
        let opened = queued::open_file(checked.settings.clone(), &self.with, opening);
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

fn with_file(error: Error, file: Option<&Path>) -> Error {
    match file {
        Some(file) => error.at_file(file),
        None => error,
    }
}
