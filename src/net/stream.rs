//! Streams: reading and writing until a signal goes. The wait itself is in `wait.rs`.

use super::names::Names;
use super::wait::{Outcome, Wake, wait};
use crate::os::net::{receive_now, send_now};
use crate::os::poll::{Interest, until_ready};
use crate::signal::Signal;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::OnceLock;
use std::time::Duration;

mod sealed {
    use super::super::names::Named;
    use std::io;
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[allow(private_bounds)]
    pub trait Sealed: AsFd + Named {
        /// The socket's time limits for reads and for writes.
        fn read_limit(&self) -> io::Result<Option<Duration>>;
        fn write_limit(&self) -> io::Result<Option<Duration>>;
    }

    impl Sealed for TcpStream {
        fn read_limit(&self) -> io::Result<Option<Duration>> {
            self.read_timeout()
        }

        fn write_limit(&self) -> io::Result<Option<Duration>> {
            self.write_timeout()
        }
    }

    impl Sealed for UnixStream {
        fn read_limit(&self) -> io::Result<Option<Duration>> {
            self.read_timeout()
        }

        fn write_limit(&self) -> io::Result<Option<Duration>> {
            self.write_timeout()
        }
    }

    impl<S: Sealed> Sealed for &S {
        fn read_limit(&self) -> io::Result<Option<Duration>> {
            (**self).read_limit()
        }

        fn write_limit(&self) -> io::Result<Option<Duration>> {
            (**self).write_limit()
        }
    }
}

/// Reading and writing until a signal goes, for [`TcpStream`](std::net::TcpStream),
/// [`UnixStream`](std::os::unix::net::UnixStream) and references to them.
pub trait SocketTill: sealed::Sealed + Sized {
    /// The stream, with reads and writes that end when `till` goes. Does not block, and changes
    /// nothing of the socket.
    ///
    /// ```
    /// # use selvedge::{Till, net::{SocketTill, is_stopped}};
    /// # use std::{io::{BufRead, BufReader}, os::unix::net::UnixStream, time::Duration};
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut lines = BufReader::new(ours.till(&Till::after(Duration::from_millis(1))));
    /// assert!(is_stopped(&lines.read_line(&mut String::new()).unwrap_err()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn till(self, till: &Signal) -> StreamTill<Self> {
        StreamTill { stream: self, wake: Wake::new(till), names: OnceLock::new() }
    }

    /// Waits for something to read. Returns `true` if there is something, which may be the end or an
    /// error, and `false` if `till` has gone. Data that is there comes before a signal that has gone.
    ///
    /// # Blocking
    /// Until there is something to read, `till` goes, or the stream's time limit for reads has passed.
    ///
    /// This is where a server waits between two requests: a stop ends the connection here and not
    /// within a request.
    ///
    /// # Errors
    /// The errors of `poll`; [`ErrorKind::WouldBlock`] if the stream's time limit for reads has
    /// passed.
    ///
    /// ```
    /// # use selvedge::{Signal, net::SocketTill};
    /// # use std::{io::Write, os::unix::net::UnixStream};
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// assert!(!ours.readable_till(&Signal::gone())?);
    /// theirs.write_all(b"GET")?;
    /// assert!(ours.readable_till(&Signal::gone())?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn readable_till(&self, till: &Signal) -> io::Result<bool> {
        // A new wake-up costs more than a look at what is there.
        if is_readable(self)? {
            return Ok(true);
        }
        readable(self, &Wake::new(till), || self.names())
    }
}

impl<S: sealed::Sealed> SocketTill for S {}

/// A stream whose reads and writes end when a signal goes; made by [`SocketTill::till`].
///
/// Reads and writes go directly to the socket. A call that would block waits until the socket is
/// ready or the signal has gone. Then it fails with an error for which
/// [`is_stopped`](super::is_stopped) is `true`, and it has read or written nothing; what
/// [`write_all`](Write::write_all) has sent before is sent. A signal that has gone comes before
/// data that is there. The time limits of the stream
/// ([`set_read_timeout`](std::net::TcpStream::set_read_timeout)) hold, and are
/// [`ErrorKind::WouldBlock`] when they have passed.
///
/// `&StreamTill` reads and writes too, so one thread can read while another writes. From the first
/// call that blocks the stream has a second descriptor, by which the signal wakes the call. If none
/// is to be had, the call looks at the signal every 50 ms.
pub struct StreamTill<S> {
    stream: S,
    wake: Wake,
    names: OnceLock<Names>,
}

impl<S: SocketTill> StreamTill<S> {
    /// The stream itself, whose own `read` and `write` no signal ends.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream itself.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// The signal that ends reads and writes.
    pub fn signal(&self) -> &Signal {
        self.wake.till()
    }

    /// From now on reads and writes end when `till` goes, and no longer with the signal before.
    ///
    /// So that a request that has begun is read and answered, while the wait for the next one ends
    /// with `please_stop`.
    pub fn set_signal(&mut self, till: &Signal) {
        self.wake = Wake::new(till);
    }

    /// [`SocketTill::readable_till`] with the signal of this stream.
    ///
    /// # Errors
    /// As there.
    pub fn readable(&self) -> io::Result<bool> {
        readable(&self.stream, &self.wake, || self.names().clone())
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| self.stream.names())
    }

    /// Calls `attempt` until it does not answer that it would block.
    fn until_done(&self, side: Side, mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            if self.wake.till().is_go() {
                return Err(self.wake.stopped(side.what()));
            }
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => return other,
            }
            let (interest, limit) = match side {
                Side::Read => (Interest::Read, self.stream.read_limit()?),
                Side::Write => (Interest::Write, self.stream.write_limit()?),
            };
            match wait(self.stream.as_fd(), interest, &self.wake, limit, side.kind(), self.names())? {
                Outcome::Ready => {}
                Outcome::Stopped => return Err(self.wake.stopped(side.what())),
                Outcome::TimedOut => return Err(timed_out()),
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

impl Side {
    fn what(self) -> &'static str {
        match self {
            Side::Read => "reading from a socket",
            Side::Write => "writing to a socket",
        }
    }

    /// As dumps and profiles show the wait.
    fn kind(self) -> &'static str {
        match self {
            Side::Read => "data from",
            Side::Write => "room to send to",
        }
    }
}

/// As the standard library has it on Unix.
fn timed_out() -> io::Error {
    io::Error::new(ErrorKind::WouldBlock, "the socket's time limit has passed")
}

fn is_readable<S: sealed::Sealed>(stream: &S) -> io::Result<bool> {
    until_ready(stream.as_fd(), Interest::Read, None, Some(Duration::ZERO))
}

fn readable<S: sealed::Sealed>(stream: &S, wake: &Wake, names: impl FnOnce() -> Names) -> io::Result<bool> {
    if wake.till().is_go() {
        return is_readable(stream);
    }
    let limit = stream.read_limit()?;
    match wait(stream.as_fd(), Interest::Read, wake, limit, Side::Read.kind(), &names())? {
        Outcome::Ready => Ok(true),
        // The data may have come at the same moment.
        Outcome::Stopped => is_readable(stream),
        Outcome::TimedOut => Err(timed_out()),
    }
}

impl<S: SocketTill> Read for &StreamTill<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until_done(Side::Read, || receive_now(self.stream.as_fd(), buffer))
    }
}

impl<S: SocketTill> Write for &StreamTill<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until_done(Side::Write, || send_now(self.stream.as_fd(), bytes))
    }

    /// Does nothing: nothing is kept back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: SocketTill> Read for StreamTill<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl<S: SocketTill> Write for StreamTill<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: SocketTill> fmt::Debug for StreamTill<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamTill({}, till {})", self.names().name, self.wake.till().name())
    }
}
