//! The one opaque error of this crate, with predicates instead of public variants. Names nothing
//! else in the crate.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong when a part of the runtime was configured or started.
///
/// Failures of *threads* are not errors of this crate: see [`Failure`](crate::Failure).
///
/// Its text is one sentence that says what, where (`path:line: key:`) and what was expected.
pub struct Error {
    kind: Kind,
    message: String,
    place: Place,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    Profile,
    AlreadyRunning,
    Io,
}

#[derive(Default)]
struct Place {
    file: Option<PathBuf>,
    line: Option<u64>,
    key: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), place: Place::default(), source: None }
    }

    pub(crate) fn at_file(mut self, file: impl Into<PathBuf>) -> Error {
        self.place.file = Some(file.into());
        self
    }

    pub(crate) fn at_line(mut self, line: u64) -> Error {
        self.place.line = Some(line);
        self
    }

    pub(crate) fn at_key(mut self, key: impl Into<String>) -> Error {
        self.place.key = Some(key.into());
        self
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// A setting is wrong: a file that is missing or unreadable, an unknown key, a value out of
    /// range, an appender that cannot be built.
    pub fn is_config(&self) -> bool {
        self.kind == Kind::Config
    }

    /// The profiler cannot run as asked, or a profile could not be made.
    pub fn is_profile(&self) -> bool {
        self.kind == Kind::Profile
    }

    /// A runtime or a recording runs already in this process.
    pub fn is_already_running(&self) -> bool {
        self.kind == Kind::AlreadyRunning
    }

    /// The operating system refused: a thread, a file, a signal handler.
    pub fn is_io(&self) -> bool {
        self.kind == Kind::Io
    }

    /// The file that the error is about, if it is about one.
    pub fn file(&self) -> Option<&Path> {
        self.place.file.as_deref()
    }

    /// The line in that file, counted from 1, where it is known.
    pub fn line(&self) -> Option<u64> {
        self.place.line
    }

    /// The setting that the error is about, as a dotted path (`profile.frequency`).
    pub fn key(&self) -> Option<&str> {
        self.place.key.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.place.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.place.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if let Some(key) = &self.place.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What a panic said, if it said it with a string.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a payload that is no string".to_owned()
    }
}

/// Drops what a panic carried, or an error; its own drop may panic as well, and that must not take
/// the runtime down.
pub(crate) fn drop_payload<T: ?Sized>(payload: Box<T>) {
    if let Err(second) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload))) {
        // A payload whose drop panics with another such payload: leaked rather than tried forever.
        std::mem::forget(second);
    }
}

/// Calls what may run a logger of the program's where a panic would cost more than a record: a
/// thread that never counts as stopped.
pub(crate) fn shielded(log: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(log)) {
        drop_payload(payload);
    }
}
