//! The error of a socket call that a signal has ended: how a program tells it apart, and that a
//! [`Failure`](crate::Failure) with it counts as stopped.

use std::fmt;
use std::io;

/// Returns `true` if a call of this module has returned `error` because its signal had gone.
///
/// The kind of such an error is [`Other`](io::ErrorKind::Other), not
/// [`Interrupted`](io::ErrorKind::Interrupted): after that kind
/// [`read_exact`](io::Read::read_exact), [`BufReader`](io::BufReader) and their like try again
/// without end.
///
/// ```
/// # use selvedge::{Signal, net::{ListenTill, is_stopped}};
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let error = listener.accept_till(&Signal::gone()).unwrap_err();
/// assert!(is_stopped(&error));
/// assert_eq!(error.to_string(), r#"stopped while waiting for a connection: signal "gone" has gone"#);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_stopped(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Stopped>())
}

/// What an error of a call that a signal has ended holds.
#[derive(Debug)]
pub(super) struct Stopped {
    /// The wait, as "waiting for a connection".
    pub(super) what: &'static str,
    pub(super) signal: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped while {}: signal \"{}\" has gone", self.what, self.signal)
    }
}

impl std::error::Error for Stopped {
    /// By this source a failure is found to be a stop.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(crate::error::STOPPED)
    }
}
