//! The process's logger: one log takes the place of another, levels are set, and the sinks are
//! finished at the end of the runtime. Owns the static that holds the installed log.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ::log::{Level, LevelFilter};
use log4rs::config::Logger;

use super::build::{Parts, with_file};
use super::checked::{CheckedLog, console};
use super::logger::{self, Logger as ProcessLogger};
use super::paths::Created;
use super::process_hooks;
use super::wiring::Wiring;
use super::writer;
use crate::error::{Error, Kind};
use crate::model::locks::Mutex;
use crate::os::{log_file, tell};

struct Installed {
    handle: log4rs::Handle,
    files: Vec<PathBuf>,
    /// All files that were written since the start, also files that a reload has taken out: if they
    /// come back, they are not emptied.
    written: BTreeSet<PathBuf>,
    parts: Parts,
    wiring: Wiring,
}

static INSTALLED: Mutex<Option<Installed>> = Mutex::new(None);

/// Returns `true` if a runtime of this process has installed its logger.
pub(crate) fn is_installed() -> bool {
    INSTALLED.lock().is_some()
}

/// Returns `true` if that logger writes no files, so that a person at the terminal sees what it
/// takes.
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
    /// Opens the appenders, and makes this the process's logger, or puts it in the place of the log
    /// that was installed before. With `reload` the place is that of this very file, and its log
    /// files are gone on with.
    ///
    /// If it fails, the logger is as before, and files that were created for this are gone again.
    pub(crate) fn install(mut self, wiring: Wiring, reload: bool) -> Result<(), Error> {
        let warnings = std::mem::take(&mut self.warnings);
        let is_asked = self.is_asked;
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
                    logger::set_route(None, wiring.tail);
                    writer::replace(before.channel, channel, || installed.handle.set_config(config));
                    logger::set_route(installed.parts.route(), wiring.tail);
                    logger::raise_max_level(wiring.tail, installed.handle.max_log_level());
                }
                // By hand: log4rs::init_config sets the level even where another logger is there
                // already.
                none => {
                    let logger = log4rs::Logger::new(config);
                    let (handle, level) = (logger.handle(), logger.max_log_level());
                    match (::log::set_boxed_logger(Box::new(ProcessLogger(logger))), file) {
                        (Ok(()), _) => {
                            writer::replace(None, parts.channel.clone(), || ());
                            logger::set_route(parts.route(), wiring.tail);
                            logger::raise_max_level(wiring.tail, level);
                            *none = Some(Installed { handle, files, written, parts, wiring });
                        }
                        (Err(_), _) if !is_asked => {}
                        (Err(_), file) => {
                            let message = "the program has installed a logger of its own before, so this file has no \
                                           effect; leave out `log`, or do not install the other";
                            return Err(with_file(Error::new(Kind::Config, message), file.as_deref()));
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
        Ok(config) => {
            installed.handle.set_config(config);
            logger::set_route(parts.route(), installed.wiring.tail);
        }
        Err(error) => {
            parts.loggers = before;
            return Err(error);
        }
    }
    logger::raise_max_level(installed.wiring.tail, installed.handle.max_log_level());
    Ok(())
}

/// A last try of sinks that fail, behind each queue of the process; afterwards what could not be
/// written has been said. The writers have ended, so nothing else would try them again.
pub(crate) fn finish() {
    ::log::logger().flush();
    process_hooks::all().iter().for_each(|channel| channel.finish_sinks());
}
