//! Connecting a TCP or Unix socket until a signal goes. The wait itself is in `wait.rs`.

use super::names::Names;
use super::wait::{Outcome, Wake, wait};
use crate::os::net::{Connecting, connect_to, connect_to_path};
use crate::os::poll::Interest;
use crate::signal::Signal;
use crate::wait::WaitDescription;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const WHAT: &str = "connecting";
const KIND: &str = "connection to";

/// Connects as [`TcpStream::connect`] does, until `till` goes: to the first address that accepts.
///
/// # Blocking
/// Until the connection is made or refused, or `till` goes. A name is looked up first, which no
/// signal ends; an address in numbers needs no look-up.
///
/// # Errors
/// [`is_stopped`](super::is_stopped): `till` has gone. The last address's error, if none accepts.
///
/// ```
/// # use selvedge::{Signal, net};
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let stream = net::connect_till(listener.local_addr()?, &Signal::never())?;
/// assert!(net::is_stopped(&net::connect_till("127.0.0.1:1", &Signal::gone()).unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn connect_till(address: impl ToSocketAddrs, till: &Signal) -> io::Result<TcpStream> {
    let wake = Wake::new(till);
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match connect_to_one(&address, &wake) {
            Ok(stream) => return Ok(stream),
            Err(error) if super::is_stopped(&error) => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address to connect to")))
}

fn connect_to_one(address: &SocketAddr, wake: &Wake) -> io::Result<TcpStream> {
    if wake.till().is_go() {
        return Err(wake.stopped(WHAT));
    }
    let (socket, is_pending) = match connect_to(address)? {
        Connecting::Done(socket) => (socket, false),
        Connecting::Pending(socket) => (socket, true),
        Connecting::Full => return Err(io::ErrorKind::WouldBlock.into()),
    };
    let stream = TcpStream::from(socket);
    if is_pending {
        match wait(stream.as_fd(), Interest::Write, wake, None, KIND, &Names::of_peer(*address))? {
            Outcome::Ready => {}
            Outcome::Stopped | Outcome::TimedOut => return Err(wake.stopped(WHAT)),
        }
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Connects as [`UnixStream::connect`] does, until `till` goes.
///
/// # Blocking
/// While the listener has no room for a further connection, until there is room or `till` goes. The
/// system does not tell when there is room, so the call tries again, at first after a millisecond
/// and later every 50 ms.
///
/// # Errors
/// [`is_stopped`](super::is_stopped): `till` has gone. Others as `connect` has them.
///
/// ```
/// # use selvedge::{Signal, net};
/// let path = std::env::temp_dir().join(format!("selvedge-doc-{}.sock", std::process::id()));
/// let listener = std::os::unix::net::UnixListener::bind(&path)?;
/// let stream = net::connect_unix_till(&path, &Signal::never())?;
/// # drop((listener, stream));
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn connect_unix_till(path: impl AsRef<Path>, till: &Signal) -> io::Result<UnixStream> {
    let (path, wake) = (path.as_ref(), Wake::new(till));
    let mut pause = Duration::from_millis(1);
    let mut published = None;
    loop {
        if till.is_go() {
            return Err(wake.stopped(WHAT));
        }
        match connect_to_path(path)? {
            Connecting::Done(socket) | Connecting::Pending(socket) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Connecting::Full => {
                let name = || path.display().to_string().into();
                published.get_or_insert_with(|| WaitDescription::new(KIND, name()).limited(till.can_go()).publish());
                till.wait_unpublished(None, std::time::Instant::now().checked_add(pause));
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
    }
}
