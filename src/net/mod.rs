//! Sockets whose blocking calls end when a signal goes: accept, read, write, connect.
//!
//! The types are the standard library's own. [`ListenTill`] adds
//! [`accept_till`](ListenTill::accept_till) and [`incoming_till`](ListenTill::incoming_till) to
//! listeners; [`SocketTill`] adds [`till`](SocketTill::till) to streams, which gives a
//! [`StreamTill`] that implements [`Read`](std::io::Read) and [`Write`](std::io::Write);
//! [`connect_till`] and [`connect_unix_till`] connect. A call that a signal has ended returns an
//! error for which [`is_stopped`] is `true`.
//!
//! While such a call blocks, the thread shows in dumps and wall-clock profiles as waiting for
//! `connection on "127.0.0.1:8080"`, `data from "10.0.0.7:51312"`, `room to send to "…"` or
//! `connection to "…"`. [A recipe](crate::guide::recipes::threaded_server) has a whole server. Unix
//! only.
//!
//! ```
//! use selvedge::net::{ListenTill, SocketTill, is_stopped};
//! use selvedge::spawn;
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let echo = spawn("echo", move |please_stop| {
//!     for stream in listener.incoming_till(please_stop) {
//!         let mut stream = stream?.till(please_stop);
//!         let mut bytes = [0; 1024];
//!         loop {
//!             match stream.read(&mut bytes) {
//!                 Ok(0) => break,
//!                 Ok(count) => stream.write_all(&bytes[..count])?,
//!                 Err(error) if is_stopped(&error) => break,
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!     }
//!     Ok(())
//! });
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"hello")?;
//! let mut bytes = [0; 5];
//! client.read_exact(&mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! // The connection is still open, and the thread reads from it.
//! echo.stop();
//! echo.join()??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connect;
mod listen;
mod names;
mod stream;
mod wait;

pub use connect::{connect_till, connect_unix_till};
pub use listen::{IncomingTill, ListenTill};
pub use stream::{SocketTill, StreamTill};

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
struct Stopped {
    what: &'static str,
    signal: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped while {}: signal \"{}\" has gone", self.what, self.signal)
    }
}

impl std::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(crate::error::STOPPED)
    }
}
