//! The one opaque error of this crate, with predicates instead of public variants. Names nothing
//! else in the crate.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// The error of a function that ends early because its thread was asked to stop.
///
/// It is no failure: a thread that returns it, or an error that comes from it, while its
/// `please_stop` has gone has ended as it should. Nothing is reported, its parent is not told, and
/// the program's exit code is that of a stop. So `?` can be used on each call that ends on
/// `please_stop`: the errors `PopError::Stopped`, `AddError::Stopped`, `GaveUp::Stopped`,
/// `PromiseError::Stopped` and `AskError::Stopped` have `Stopped` as their
/// [source](std::error::Error::source). An error of your own that wraps one of them counts as well,
/// if it names it as its source.
///
/// A thread that was *not* asked to stop and returns it has failed: then another signal has ended
/// the wait.
///
/// ```
/// use selvedge::{Queue, Signal, Stopped, spawn_fallible};
///
/// fn load(jobs: &Queue<u32>, please_stop: &Signal) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
///     let first = jobs.pop_till(please_stop)?;
///     let second = jobs.pop_till(please_stop)?;
///     if please_stop.is_go() {
///         return Err(Stopped.into());
///     }
///     Ok(first + second)
/// }
///
/// let jobs = Queue::unbounded("jobs");
/// let loader = spawn_fallible("loader", move |please_stop| load(&jobs, please_stop));
/// loader.stop();
/// let failure = loader.join().unwrap_err(); // There is no value, ...
/// assert!(failure.is_stopped()); // ... and this is why.
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stopped;

impl Stopped {
    const TEXT: &str = "stopped";
    /// What the texts of all errors of this crate begin with that have it as their source.
    const WAITING: &str = "stopped while waiting";
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Stopped::TEXT)
    }
}

impl StdError for Stopped {}

/// The source of errors that say that a wait was ended by a stop.
pub(crate) const STOPPED: &(dyn StdError + 'static) = &Stopped;

/// Returns `true` if `text`, an error with its sources, has that of a stop in it. For errors of
/// which only the text can be had.
pub(crate) fn is_text_of_stop(text: &str) -> bool {
    text.split(": ").any(|part| part.starts_with(Stopped::WAITING)) || text.rsplit(": ").next() == Some(Stopped::TEXT)
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

thread_local! {
    /// The calling thread is in [`catching`].
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f` and catches its panic. The panic hook can tell by [`is_catching`] that the panic does
/// not end the process. The caller says why the unwinding is safe: what `f` leaves half-done is
/// the program's, or is dropped.
pub(crate) fn catching<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(outer);
    result
}

/// Returns `true` if a panic of the calling thread that unwinds is caught by this crate, and not
/// raised again.
pub(crate) fn is_catching() -> bool {
    CATCHING.get()
}

/// Drops what a panic carried, or an error; its own drop may panic as well, and that must not take
/// the runtime down. Called where this crate has caught a panic of the program's code: in a target
/// of a signal, an appender, a logger, an answer for a tool.
pub(crate) fn drop_payload<T: ?Sized>(payload: Box<T>) {
    if let Err(second) = catching(|| drop(payload)) {
        // A payload whose drop panics with another such payload: leaked rather than tried forever.
        std::mem::forget(second);
    }
}

/// Calls what may run a logger of the program's where a panic would cost more than a record: a
/// thread that never counts as stopped.
pub(crate) fn ignore_panic(log: impl FnOnce()) {
    if let Err(payload) = catching(log) {
        drop_payload(payload);
    }
}
