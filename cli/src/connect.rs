//! A connection to a program: through its Unix socket, or by TCP with a token.

use crate::fault::{Exit, Fault};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Where a program listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Unix(PathBuf),
    /// Host and port, and the token that the program asks for.
    Tcp {
        host: String,
        port: u16,
        token: Option<String>,
    },
}

pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Place {
    /// A connection. A Unix socket with a full backlog blocks in `connect`, so a thread of its own
    /// connects, and is left behind where that takes longer than the limit.
    pub(crate) fn connect(&self, deadline: Instant) -> Result<Stream, Fault> {
        let (told, result) = mpsc::channel();
        let place = self.clone();
        std::thread::spawn(move || told.send(place.connect_now(deadline)));
        match result.recv_timeout(left(deadline)) {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(self.silent("take a connection")),
        }
    }

    fn connect_now(&self, deadline: Instant) -> io::Result<Stream> {
        match self {
            Place::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Place::Tcp { host, port, .. } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, left(deadline)) {
                        Ok(stream) => return Ok(Stream::Tcp(stream)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    fn refused(&self, error: &io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                Fault::new(Exit::NotFound, format!("no program listens at {self}: {error}"))
            }
            io::ErrorKind::TimedOut => self.silent("take a connection"),
            _ => Fault::failed(format!("cannot connect to {self}: {error}")),
        }
    }

    /// The program is there, and does nothing for too long.
    pub(crate) fn silent(&self, what: &str) -> Fault {
        let mut text = format!("the program at {self} does not {what} in time");
        if let Place::Unix(path) = self
            && let Some(pid) = crate::find::pid_of(path)
            && let Some(state) = process_state(pid)
        {
            text += &match state {
                'T' | 't' => format!(": process {pid} is halted; `kill -CONT {pid}` lets it go on"),
                'Z' => format!(": process {pid} has ended, and its parent has not collected it"),
                'D' => format!(": process {pid} is blocked in the kernel (state D), as on a disk or a network mount"),
                _ => format!("; `cat /proc/{pid}/stack /proc/{pid}/wchan` tells where its main thread is"),
            };
        }
        Fault::new(Exit::NoAnswer, text)
    }
}

/// The kernel's letter for what a process does.
fn process_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn left(deadline: Instant) -> Duration {
    // A limit of zero would mean no limit to the socket's options.
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Unix(path) => write!(f, "{}", crate::text::plain(&path.to_string_lossy())),
            Place::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

impl Stream {
    pub(crate) fn set_limits(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(limit).and(stream.set_write_timeout(limit)),
            Stream::Tcp(stream) => stream.set_read_timeout(limit).and(stream.set_write_timeout(limit)),
        }
    }

    /// Ends both directions; a thread that reads from it sees the end.
    pub(crate) fn shut_down(&self) {
        // An error means that the other side has ended it before.
        let _ = match self {
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
        };
    }

    /// The other side sees the end of its input; its answer still comes.
    pub(crate) fn shut_down_writing(&self) {
        // An error means that the other side has ended it before.
        let _ = match self {
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }

    pub(crate) fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
        })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
