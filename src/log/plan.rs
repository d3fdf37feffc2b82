//! From a checked description to the process's logger: the one place where appenders are built.

use std::path::{Path, PathBuf};

use ::log::LevelFilter;
use log4rs::append::Append;
use log4rs::config::{Appender, Config, Deserializers, Logger, Root};
use log4rs::filter::Filter;
use parking_lot::Mutex;

use super::logger::Logger as ProcessLogger;
use super::paths::Created;
use super::yaml::{plain, plain_path};
use crate::error::{Error, Kind};

/// A checked log configuration. Nothing is opened before [`install`](Plan::install).
pub(crate) struct Plan {
    /// Without one: the console, which steps back behind a logger of the program's own.
    pub(super) file: Option<PathBuf>,
    pub(super) appenders: Vec<AppenderPlan>,
    pub(super) root: (LevelFilter, Vec<String>),
    pub(super) loggers: Vec<Logger>,
    /// What is odd, but no error; each begins with its place. They are logged once the plan is installed.
    pub(super) warnings: Vec<String>,
    /// Those that its appenders write, variables expanded.
    pub(super) files: Vec<PathBuf>,
}

pub(super) struct AppenderPlan {
    pub(super) name: String,
    pub(super) kind: String,
    /// For log4rs: without `kind` and `filters`, the path expanded.
    pub(super) settings: serde_value::Value,
    pub(super) filters: Vec<Box<dyn Filter>>,
    pub(super) path: Option<PathBuf>,
    /// In the log4rs file, for what comes from one.
    pub(super) line: Option<u64>,
}

struct Installed {
    handle: log4rs::Handle,
    files: Vec<PathBuf>,
}

static INSTALLED: Mutex<Option<Installed>> = Mutex::new(None);

/// What is logged without a log4rs file: info and above, to stderr, as stdout is the program's own.
pub(crate) fn console() -> Plan {
    use serde_value::Value;
    const PATTERN: &str = "{d(%Y-%m-%d %H:%M:%S%.3f)} {h({l:<5})} {T} {t}: {m}{n}";
    let text = |text: &str| Value::String(text.to_owned());
    let encoder = Value::Map([(text("pattern"), text(PATTERN))].into());
    let appender = AppenderPlan {
        name: "console".to_owned(),
        kind: "console".to_owned(),
        settings: Value::Map([(text("target"), text("stderr")), (text("encoder"), encoder)].into()),
        filters: Vec::new(),
        path: None,
        line: None,
    };
    Plan {
        file: None,
        root: (LevelFilter::Info, vec![appender.name.clone()]),
        appenders: vec![appender],
        loggers: Vec::new(),
        warnings: Vec::new(),
        files: Vec::new(),
    }
}

pub(super) fn installed_files() -> Vec<PathBuf> {
    INSTALLED.lock().as_ref().map(|installed| installed.files.clone()).unwrap_or_default()
}

impl Plan {
    /// Opens the appenders, and makes this the process's logger, or puts it in the place of the plan installed before.
    ///
    /// If it fails, the logger is as before, and files that were created for this are gone again.
    pub(crate) fn install(mut self) -> Result<(), Error> {
        let warnings = std::mem::take(&mut self.warnings);
        {
            let mut installed = INSTALLED.lock();
            let mut created = Created::nothing();
            let files = std::mem::take(&mut self.files);
            let file = self.file.clone();
            let config = self.build(&mut created)?;
            match &mut *installed {
                Some(installed) => {
                    ::log::logger().flush();
                    installed.handle.set_config(config);
                    installed.files = files;
                }
                // By hand: log4rs::init_config sets the level even where another logger is there already.
                none => {
                    let logger = log4rs::Logger::new(config);
                    let (handle, level) = (logger.handle(), logger.max_log_level());
                    match (::log::set_boxed_logger(Box::new(ProcessLogger(logger))), file) {
                        (Ok(()), _) => {
                            ::log::set_max_level(level);
                            *none = Some(Installed { handle, files });
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
            ::log::warn!(target: "selvedge", "{warning}");
        }
        Ok(())
    }

    fn build(mut self, created: &mut Created) -> Result<Config, Error> {
        let deserializers = Deserializers::default();
        // To open an old file may truncate it, which cannot be undone: so those come last.
        self.appenders.sort_by_key(|appender| appender.path.as_deref().is_some_and(Path::exists));
        let mut config = Config::builder().loggers(self.loggers);
        for appender in self.appenders {
            config = config.appender(appender.build(&deserializers, self.file.as_deref(), created)?);
        }
        let (level, appenders) = self.root;
        let root = Root::builder().appenders(appenders).build(level);
        config.build(root).map_err(|errors| {
            let error = Error::new(Kind::Config, "refused by log4rs").because(errors);
            with_file(error, self.file.as_deref())
        })
    }
}

impl AppenderPlan {
    fn build(self, with: &Deserializers, file: Option<&Path>, created: &mut Created) -> Result<Appender, Error> {
        if let Some(path) = &self.path {
            created.will_open(path);
        }
        let appender = with.deserialize::<dyn Append>(&self.kind, self.settings).map_err(|reason| {
            let message = match &self.path {
                Some(path) => format!("cannot open {}", plain_path(path)),
                None => "this appender cannot be built".to_owned(),
            };
            let key = format!("appenders.{}", plain(&self.name));
            let error = Error::new(Kind::Config, message).because(reason).at_key(key);
            self.line.iter().fold(with_file(error, file), |error, line| error.at_line(*line))
        })?;
        Ok(Appender::builder().filters(self.filters).build(self.name, appender))
    }
}

fn with_file(error: Error, file: Option<&Path>) -> Error {
    match file {
        Some(file) => error.at_file(file),
        None => error,
    }
}
