//! Why the command ends without having done what it was asked for, and the exit code of that.

use std::fmt;

/// The exit codes, as the manual page lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The program refused, a file could not be read or written, or `doctor` found something to change.
    Failed = 1,
    /// The command line cannot be obeyed as it is: a wrong argument, or several programs fit.
    Usage = 2,
    /// There is no program that could be asked.
    NotFound = 3,
    /// A program is there, and does not answer in time.
    NoAnswer = 4,
}

/// The text says what happened, to what, and what to do.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Fault {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What could not be done with a file.
pub(crate) fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Fault {
    Fault::failed(format!("cannot {what} {}: {error}", path.display()))
}
