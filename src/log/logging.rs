//! What a program may ask of its log: where it is, that it is written out, another level; and the
//! appender [`Queued`] for programs that build their own log4rs configuration.
//!
//! Records are made by the macros of the crate [`log`](::log). The log itself is configured by a
//! log4rs file that the YAML of the runtime names: [the guide](crate::guide::logging).

use std::path::PathBuf;

use super::install;
use crate::error::Error;

pub use super::deserialize::deserializers;
pub use super::queued::{Queued, QueuedBuilder};
pub use super::wiring::Overflow;
/// The levels that functions here and [`Config`](crate::Config) take: those of the crate `log`.
pub use ::log::{Level, LevelFilter};
/// The crate whose traits appenders implement.
pub use ::log4rs;

/// The log files that the runtime's logger writes, each with its variables expanded.
///
/// Relative paths are relative to the working directory at the time the runtime started. Empty if
/// the runtime has installed no logger, or one without files.
///
/// # Examples
///
/// ```
/// for file in selvedge::logging::files() {
///     println!("the log is in {}", file.display());
/// }
/// ```
pub fn files() -> Vec<PathBuf> {
    install::installed_files()
}

/// Returns when everything that any thread has logged before this call has passed through the
/// appenders.
///
/// Blocks until then, for as long as an appender takes. A failing appender does not hold it up.
/// Within an appender it returns at once.
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

/// Sets the level of the root logger, for all targets that have no logger of their own.
///
/// Holds until it is set again or the log's file is read again.
///
/// # Errors
///
/// No runtime has installed a logger.
///
/// # Examples
///
/// ```
/// use log::LevelFilter;
///
/// let runtime = selvedge::Runtime::start(selvedge::Config::new("doc"))?;
/// selvedge::logging::set_root_level(LevelFilter::Debug)?;
/// log::debug!("now this is to be seen");
/// # runtime.shutdown().unwrap();
/// # Ok::<(), selvedge::Error>(())
/// ```
pub fn set_root_level(level: LevelFilter) -> Result<(), Error> {
    install::set_level(None, level)
}

/// Sets the level of a target and all below it, as `loggers` in a log4rs file does.
///
/// The appenders of its logger stay. A target without a logger gets a logger with the appenders of
/// the logger above it.
/// Holds until it is set again or the log's file is read again.
///
/// # Errors
///
/// No runtime has installed a logger, or log4rs takes `target` for no logger's name.
///
/// # Examples
///
/// ```
/// use log::LevelFilter;
///
/// let runtime = selvedge::Runtime::start(selvedge::Config::new("doc"))?;
/// selvedge::logging::set_level("hyper::client", LevelFilter::Off)?;
/// # runtime.shutdown().unwrap();
/// # Ok::<(), selvedge::Error>(())
/// ```
pub fn set_level(target: &str, level: LevelFilter) -> Result<(), Error> {
    install::set_level(Some(target), level)
}

/// For the fuzz target, which lies outside of this crate: see `log/fuzz.rs`.
#[cfg(fuzzing)]
#[doc(hidden)]
#[allow(clippy::type_complexity, missing_docs)]
pub mod fuzz {
    use std::collections::BTreeMap;
    use std::path::Path;

    pub fn strict(file: &Path) -> Result<BTreeMap<String, usize>, crate::Error> {
        crate::log::fuzz::strict(file)
    }

    pub fn plain(text: &str) -> Option<BTreeMap<String, usize>> {
        crate::log::fuzz::plain(text)
    }
}
