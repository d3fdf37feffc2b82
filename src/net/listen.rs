//! Listeners: accepting connections until a signal goes. The wait itself is in `wait.rs`.

use super::names::Named;
use super::wait::{Wake, wait};
use crate::os::poll::{Interest, until_ready};
use crate::signal::Signal;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::time::Duration;

/// The pause before the next accept after an error that would come again at once, for example that
/// no descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::net::TcpListener {}
    impl Sealed for std::os::unix::net::UnixListener {}
}

/// Accepting until a signal goes, for [`TcpListener`] and [`UnixListener`].
///
/// The first such call puts the listener into non-blocking mode, and it stays so: several threads
/// may accept from one listener, and the slower thread must not block in the system. Streams come
/// in blocking mode, as from the standard library's `accept`.
pub trait ListenTill: sealed::Sealed + Sized {
    /// What is accepted.
    type Stream;
    /// Where it comes from.
    type Address;

    /// Accepts a connection. A signal that has gone comes before a connection that is there.
    ///
    /// # Blocking
    /// Until there is a connection, or `till` goes.
    ///
    /// # Errors
    /// [`is_stopped`](super::is_stopped): `till` has gone. Others as `accept` has them.
    ///
    /// ```
    /// # use selvedge::{Till, net::{ListenTill, is_stopped}};
    /// # use std::time::Duration;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let patience = Till::after(Duration::from_millis(1));
    /// assert!(is_stopped(&listener.accept_till(&patience).unwrap_err()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn accept_till(&self, till: &Signal) -> io::Result<(Self::Stream, Self::Address)>;

    /// The streams of [`accept_till`](Self::accept_till), until `till` has gone: then the iterator
    /// ends.
    ///
    /// An item is an error if one connection could not be accepted; the next item may be well.
    /// Where an error would come again at once (no descriptor is left), the next item comes a tenth
    /// of a second later, so that a loop that logs and goes on does not take a whole processor.
    fn incoming_till<'a>(&'a self, till: &Signal) -> IncomingTill<'a, Self>;
}

trait Accept: Named + AsFd {
    type Accepted;
    fn accept_now(&self) -> io::Result<Self::Accepted>;
    fn do_not_block(&self) -> io::Result<()>;
}

fn accept<L: Accept>(listener: &L, wake: &Wake) -> io::Result<L::Accepted> {
    listener.do_not_block()?;
    loop {
        if wake.till().is_go() {
            return Err(wake.stopped("waiting for a connection"));
        }
        match listener.accept_now() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The system looks for a descriptor before it looks for a connection: without a
            // connection nothing has failed.
            Err(_) if !until_ready(listener.as_fd(), Interest::Read, None, Some(Duration::ZERO))? => {}
            other => return other,
        }
        wait(listener.as_fd(), Interest::Read, wake, None, "connection on", &listener.names())?;
    }
}

/// The connections of a listener, until a signal goes; made by [`ListenTill::incoming_till`].
pub struct IncomingTill<'a, L> {
    listener: &'a L,
    wake: Wake,
    must_pause: bool,
}

impl<L> fmt::Debug for IncomingTill<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IncomingTill({})", self.wake.till().name())
    }
}

/// A connection that has failed by itself is over with its error; all other errors are the
/// listener's or the process's.
fn comes_again(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

macro_rules! listener {
    ($listener:ty, $stream:ty, $address:ty) => {
        impl Accept for $listener {
            type Accepted = ($stream, $address);

            fn accept_now(&self) -> io::Result<($stream, $address)> {
                let (stream, address) = self.accept()?;
                // Some systems hand the listener's mode on.
                #[cfg(not(target_os = "linux"))]
                stream.set_nonblocking(false)?;
                Ok((stream, address))
            }

            fn do_not_block(&self) -> io::Result<()> {
                self.set_nonblocking(true)
            }
        }

        impl ListenTill for $listener {
            type Stream = $stream;
            type Address = $address;

            fn accept_till(&self, till: &Signal) -> io::Result<($stream, $address)> {
                accept(self, &Wake::new(till))
            }

            fn incoming_till<'a>(&'a self, till: &Signal) -> IncomingTill<'a, Self> {
                IncomingTill { listener: self, wake: Wake::new(till), must_pause: false }
            }
        }

        impl Iterator for IncomingTill<'_, $listener> {
            type Item = io::Result<$stream>;

            fn next(&mut self) -> Option<io::Result<$stream>> {
                if std::mem::take(&mut self.must_pause) && self.wake.till().wait_for_go_timeout(PAUSE) {
                    return None;
                }
                match accept(self.listener, &self.wake) {
                    Ok((stream, _)) => Some(Ok(stream)),
                    Err(error) if super::is_stopped(&error) => None,
                    Err(error) => {
                        self.must_pause = comes_again(&error);
                        Some(Err(error))
                    }
                }
            }
        }
    };
}

listener!(TcpListener, TcpStream, SocketAddr);
listener!(UnixListener, UnixStream, UnixAddr);
