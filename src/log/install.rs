//! The process's logger: one log takes the place of another, levels are set, and the sinks are
//! finished at the end of the runtime. Owns the static that holds the installed log.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use ::log::{Level, LevelFilter};
use arc_swap::ArcSwapOption;
use log4rs::config::Logger;

use super::build::{Parts, with_file};
use super::checked::{CheckedLog, console};
use super::logger::{self, Logger as ProcessLogger};
use super::paths::Created;
use super::process_hooks;
use super::wiring::Wiring;
use super::writer;
use crate::error::{Error, Kind};
use crate::model::locks::{Mutex, MutexGuard};
use crate::os::fork::{self, PerProcess};
use crate::os::tell;

#[derive(Clone)]
struct Installed {
    handle: log4rs::Handle,
    files: Vec<PathBuf>,
    /// All files that were written since the start, also files that a reload has taken out: if they
    /// come back, they are not emptied.
    written: BTreeSet<PathBuf>,
    parts: Parts,
    wiring: Wiring,
}

/// The log that is installed. A change replaces it as a whole. So a child that is forked meanwhile
/// has the earlier log or the new one, and no lock of a thread that is not there.
static INSTALLED: ArcSwapOption<Installed> = ArcSwapOption::const_empty();

/// Returns `true` if a runtime of this process has installed its logger.
pub(crate) fn is_installed() -> bool {
    INSTALLED.load().is_some()
}

/// The right to change the log, until the guard drops.
fn change() -> MutexGuard<'static, ()> {
    static CHANGE: PerProcess<Mutex<()>> = PerProcess::new(Mutex::new(()), Mutex::default);
    fork::watch();
    CHANGE.lock()
}

/// Returns `true` if that logger writes no files, so that a person at the terminal sees what it
/// takes.
pub(crate) fn is_console() -> bool {
    INSTALLED.load().as_ref().is_some_and(|installed| installed.files.is_empty())
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
    INSTALLED.load().as_ref().map(|installed| installed.files.clone()).unwrap_or_default()
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
        let before = self.replace(wiring, reload, is_asked)?;
        // Without the right to change the log: the drop of an appender may be the user's code.
        drop(before);
        for warning in warnings {
            tell::tell(Level::Warn, "selvedge", &warning);
        }
        Ok(())
    }
}

impl CheckedLog {
    /// Returns the earlier log. All its records have been written, and no record comes to it any more.
    fn replace(mut self, wiring: Wiring, reload: bool, is_asked: bool) -> Result<Option<Arc<Installed>>, Error> {
        let _change = change();
        let before = INSTALLED.load_full();
        let mut created = Created::nothing();
        let files = std::mem::take(&mut self.files);
        let file = self.file.clone();
        let mut written = match &before {
            Some(before) if reload => before.written.clone(),
            _ => BTreeSet::new(),
        };
        let parts = self.build(wiring, &written, reload, &mut created)?;
        written.extend(files.iter().cloned());
        let config = parts.config().map_err(|error| with_file(error, file.as_deref()))?;
        let channel = parts.channel.clone();
        if let Some(before) = &before {
            ::log::logger().flush();
            let after = Arc::new(Installed { handle: before.handle.clone(), files, written, parts, wiring });
            logger::set_route(None, wiring.tail);
            writer::replace(before.parts.channel.clone(), channel, || {
                INSTALLED.store(Some(after.clone()));
                after.handle.set_config(config);
            });
            after.use_levels();
        } else {
            // By hand: log4rs::init_config sets the level even where another logger is there already.
            let logger = log4rs::Logger::new(config);
            let handle = logger.handle();
            match (::log::set_boxed_logger(Box::new(ProcessLogger(logger))), file) {
                (Ok(()), _) => {
                    tell::note_own_logger();
                    writer::replace(None, channel, || ());
                    let after = Arc::new(Installed { handle, files, written, parts, wiring });
                    INSTALLED.store(Some(after.clone()));
                    after.use_levels();
                }
                (Err(_), _) if !is_asked => {}
                (Err(_), file) => {
                    let message = "the program has installed a logger of its own before, so this file has no \
                                   effect; leave out `log`, or do not install the other";
                    return Err(with_file(Error::new(Kind::Config, message), file.as_deref()));
                }
            }
        }
        created.keep();
        Ok(before)
    }
}

impl Installed {
    /// From now on the facade and the direct way go by its levels.
    fn use_levels(&self) {
        logger::set_route(self.parts.route(), self.wiring.tail);
        logger::raise_max_level(self.wiring.tail, self.handle.max_log_level());
    }
}

/// The levels of the logger that is installed.
pub(super) fn set_level(target: Option<&str>, level: LevelFilter) -> Result<(), Error> {
    let _change = change();
    let Some(before) = INSTALLED.load_full() else {
        return Err(Error::new(Kind::Config, "no runtime has installed a logger whose levels could be set"));
    };
    let mut after = Installed::clone(&before);
    let parts = &mut after.parts;
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
    let config = parts.config()?;
    let after = Arc::new(after);
    INSTALLED.store(Some(after.clone()));
    after.handle.set_config(config);
    after.use_levels();
    Ok(())
}

/// A last try of sinks that fail, behind each queue of the process; afterwards what could not be
/// written has been said. The writers have ended, so nothing else would try them again.
pub(crate) fn finish() {
    ::log::logger().flush();
    process_hooks::all().iter().for_each(|channel| channel.finish_sinks());
}

#[cfg(all(test, unix, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::os::for_tests::in_forked_child;

    #[test]
    fn a_child_forked_during_a_change_can_change_the_log() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let changes = std::thread::spawn(move || {
            let _change = change();
            tell.send(()).unwrap();
            let _ = ends.recv();
        });
        told.recv().unwrap();
        // No log is installed here, so the call is an error; what counts is that it returns.
        let returns = in_forked_child(|| set_level(None, LevelFilter::Debug).is_err() && !is_console());
        drop(end);
        changes.join().unwrap();
        assert!(returns, "the child waits for a thread that is not there");
    }
}
