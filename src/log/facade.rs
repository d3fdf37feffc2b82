//! The log room of a build without the feature `log4rs`. The runtime installs no logger: its
//! records go through the facade to the logger of the program, if it has installed one. Has the
//! functions of `mod.rs` that the runtime calls.

#[cfg(feature = "inspect")]
mod tail_record;
mod wiring;

#[cfg(feature = "inspect")]
pub(crate) use tail_record::TailRecord;
pub(crate) use wiring::{Overflow, Queue, Wiring, read_level, read_queue};

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::log::{Level, LevelFilter};

use crate::error::{Error, Kind};
use crate::os::tell;
use crate::thread::tree::Node;

/// What a program may ask of its log, and change.
pub mod logging {
    pub use ::log::{Level, LevelFilter};

    /// Asks the program's logger to flush.
    ///
    /// Blocks for as long as that logger's `flush` does.
    ///
    /// # Examples
    ///
    /// ```
    /// log::warn!("about to do something that may not come back");
    /// selvedge::logging::flush();
    /// ```
    pub fn flush() {
        ::log::logger().flush();
    }
}

/// How a file asks to be checked. Without log4rs there is no such file.
pub(crate) enum Refresh {}

/// The level for the program's logger. There is nothing else to install.
pub(crate) struct CheckedLog {
    level: Option<LevelFilter>,
}

impl CheckedLog {
    /// Sets the most verbose level that the facade passes on.
    pub(crate) fn install(self, _: Wiring, _: bool) -> Result<(), Error> {
        if let Some(level) = self.level {
            ::log::set_max_level(level);
        }
        Ok(())
    }

    /// `None`: there is no file that could change.
    pub(crate) fn refresh(&self) -> Option<Refresh> {
        None
    }
}

pub(crate) fn console(level: Option<LevelFilter>) -> CheckedLog {
    CheckedLog { level }
}

/// A log file is refused before: see [`not_built_in`].
pub(crate) fn plain_file(_: &Path, level: Option<LevelFilter>) -> CheckedLog {
    CheckedLog { level }
}

/// No log file is written.
pub(crate) fn unwritable(_: &Path) -> Option<String> {
    None
}

/// What a setting that only log4rs can follow is refused with.
pub(crate) fn not_built_in() -> Option<&'static str> {
    Some(
        "needs selvedge's feature `log4rs`, without which this program is built; enable the feature in Cargo.toml, or \
         write `log: own` and install a logger in the program",
    )
}

pub(crate) fn load(file: &Path) -> Result<CheckedLog, Error> {
    let message = format!("a log4rs file {}", not_built_in().unwrap_or_default());
    Err(Error::new(Kind::Config, message).at_file(file))
}

pub(crate) fn switch_off() -> Result<(), Error> {
    Ok(())
}

pub(crate) fn is_installed() -> bool {
    false
}

pub(crate) fn is_console() -> bool {
    false
}

pub(crate) fn is_asked_by_environment() -> bool {
    false
}

pub(crate) fn files() -> Vec<PathBuf> {
    Vec::new()
}

/// Logs `text`, and writes it to stderr: whether the program's logger shows it is not known.
pub(crate) fn tell_log_and_stderr(level: Level, target: &str, text: &str) {
    ::log::log!(target: target, level, "{text}");
    tell::remark(&format!("selvedge: {text}"));
}

pub(crate) fn install_exit_hook() {}

pub(crate) fn flush_in_time() {}

pub(crate) fn begin_exit() {}

pub(crate) fn finish_exit() {}

/// The logger of a program keeps no records for the failure of a thread.
pub(crate) fn recent_of_this_thread() -> Vec<String> {
    Vec::new()
}

pub(crate) fn start_writer(_: &Arc<Node>) -> io::Result<()> {
    Ok(())
}

pub(crate) fn start_reload(_: &Arc<Node>, _: PathBuf, _: Refresh, _: Wiring) -> io::Result<()> {
    Ok(())
}

pub(crate) fn finish() {
    logging::flush();
}

#[cfg(feature = "inspect")]
pub(crate) fn keep_tail(_: bool) {}

#[cfg(feature = "inspect")]
pub(crate) fn tail(_: u64, _: Level, _: usize) -> (Vec<TailRecord>, u64) {
    (Vec::new(), 0)
}

#[cfg(feature = "inspect")]
pub(crate) fn counts() -> ([u64; 5], u64) {
    ([0; 5], 0)
}
