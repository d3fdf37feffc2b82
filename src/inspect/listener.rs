//! The socket that clients connect to, and one connection: a Unix socket or TCP, alike from here
//! on.

use super::access::{Access, Secrets};
use super::socket;
use super::token::Token;
use crate::error::{Error, Kind};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// Where to listen.
pub(crate) struct Place {
    /// `None`: a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// With an address.
    pub(crate) token_file: Option<PathBuf>,
}

pub(super) struct Listener {
    socket: Socket,
    /// `unix:/run/user/0/selvedge/indexer-4711.sock`, or `tcp:127.0.0.1:6060`.
    pub(super) shown: String,
    /// What a person may wonder about.
    pub(super) remark: Option<String>,
}

enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listener {
    /// `None`: there is no place for the socket. A warning has said so.
    ///
    /// # Errors
    /// The socket or the token cannot be had.
    pub(super) fn bind(place: &Place, name: &str) -> Result<Option<(Listener, Access)>, Error> {
        let refused = |error: io::Error| Error::new(Kind::Io, "no socket for the inspection").because(error);
        let Some(address) = place.address else {
            let Some(bound) = socket::bind(name)? else { return Ok(None) };
            bound.listener.set_nonblocking(true).map_err(refused)?;
            socket_file::keep(bound.file.clone());
            let shown = format!("unix:{}", bound.file.display());
            let listener = Listener { socket: Socket::Unix(bound.listener), shown, remark: bound.remark };
            return Ok(Some((listener, Access { secrets: None })));
        };
        let wrong = |error: io::Error| {
            Error::new(Kind::Config, format!("cannot listen on {address}")).at_key("inspect.listen").because(error)
        };
        let file = place.token_file.as_ref();
        let file = file.ok_or_else(|| Error::new(Kind::Config, "an address needs a token file").at_key("inspect"))?;
        let token = Token::of_file(file)?;
        let session = Token::random().map_err(refused)?;
        let tcp = TcpListener::bind(address).map_err(wrong)?;
        tcp.set_nonblocking(true).map_err(refused)?;
        let local = tcp.local_addr().map_err(refused)?;
        let listener = Listener { socket: Socket::Tcp(tcp), shown: format!("tcp:{local}"), remark: None };
        Ok(Some((listener, Access { secrets: Some(Secrets { token, session, port: local.port() }) })))
    }

    /// # Errors
    /// `WouldBlock`: there is no connection just now. Others as `accept` has them.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Unix(socket) => socket.accept().map(|(stream, _)| Stream::Unix(stream)),
            Socket::Tcp(socket) => socket.accept().map(|(stream, _)| Stream::Tcp(stream)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if matches!(self.socket, Socket::Unix(_)) {
            socket_file::remove();
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Stream {
    /// No more is sent.
    pub(super) fn end(&self) {
        // A client that has gone has nothing to be told.
        let _ = match self {
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Removes the file of the socket: the process ends without an end of its threads.
pub(crate) fn forget() {
    socket_file::remove();
}

/// The file of the socket, which is removed also by an end of the process that ends no thread
/// (`exit`).
mod socket_file {
    use crate::model::locks::Mutex;
    use crate::os::fork::PerProcess;
    use crate::os::process;
    use std::path::PathBuf;
    use std::sync::Once;

    /// A forked child removes nothing: the socket is the parent process's.
    static FILE: PerProcess<Mutex<Option<PathBuf>>> = PerProcess::new(Mutex::new(None), Mutex::default);

    pub(super) fn keep(file: PathBuf) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| process::at_exit(at_exit));
        *FILE.lock() = Some(file);
    }

    pub(super) fn remove() {
        let file = FILE.lock().take();
        // It may be gone already: another process has taken the folder away.
        let _ = file.map(std::fs::remove_file);
    }

    extern "C" fn at_exit() {
        remove();
    }
}
