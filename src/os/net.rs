//! Calls on sockets that never block, whatever mode the socket is in. Unix only; the waits are in
//! `poll.rs`.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Receives what there is.
///
/// # Errors
/// `WouldBlock`: there is nothing just now. Others as `recv` has them.
pub(crate) fn receive_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is open, since it is borrowed, and `buffer` is writable for its
    // length.
    let count = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends as much as there is room for. A connection that the other side has closed is an error, and
/// no SIGPIPE.
///
/// # Errors
/// `WouldBlock`: there is no room just now. Others as `send` has them.
pub(crate) fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(target_vendor = "apple")]
    // The standard library has set SO_NOSIGPIPE.
    let flags = libc::MSG_DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the descriptor is open, since it is borrowed, and `bytes` can be read for its length.
    let count = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Connecting {
    Done(OwnedFd),
    /// It is made, or refused, once the socket is ready for writing. The socket is in non-blocking
    /// mode.
    Pending(OwnedFd),
    /// The other side has no room for it just now; nothing tells when it will.
    Full,
}

/// Begins a TCP connection.
///
/// # Errors
/// As `socket` and `connect` have them.
pub(crate) fn connect_to(address: &SocketAddr) -> io::Result<Connecting> {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: all-zero is a valid sockaddr_in.
            let mut raw: libc::sockaddr_in = unsafe { mem::zeroed() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = address.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            connect(libc::AF_INET, &raw, mem::size_of_val(&raw))
        }
        SocketAddr::V6(address) => {
            // SAFETY: all-zero is a valid sockaddr_in6.
            let mut raw: libc::sockaddr_in6 = unsafe { mem::zeroed() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = address.port().to_be();
            raw.sin6_addr.s6_addr = address.ip().octets();
            raw.sin6_flowinfo = address.flowinfo();
            raw.sin6_scope_id = address.scope_id();
            connect(libc::AF_INET6, &raw, mem::size_of_val(&raw))
        }
    }
}

/// Begins a connection to the Unix socket at `path`.
///
/// # Errors
/// As `socket` and `connect` have them; the path is too long, or has a NUL in it.
pub(crate) fn connect_to_path(path: &Path) -> io::Result<Connecting> {
    // SAFETY: all-zero is a valid sockaddr_un.
    let mut raw: libc::sockaddr_un = unsafe { mem::zeroed() };
    raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // The last byte stays a NUL.
    if bytes.len() >= raw.sun_path.len() || bytes.contains(&0) || bytes.is_empty() {
        let most = raw.sun_path.len() - 1;
        let text = format!("the path of a Unix socket has from 1 to {most} bytes and no NUL: {}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    for (to, from) in raw.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    connect(libc::AF_UNIX, &raw, mem::size_of_val(&raw))
}

/// `A` is the `sockaddr` of that family.
fn connect<A>(family: libc::c_int, address: &A, length: usize) -> io::Result<Connecting> {
    let socket = new_socket(family)?;
    // SAFETY: `address` can be read for `length` bytes, which are a sockaddr of the socket's
    // family.
    let outcome = unsafe { libc::connect(socket.as_raw_fd(), (address as *const A).cast(), length as libc::socklen_t) };
    if outcome == 0 {
        return Ok(Connecting::Done(socket));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // EINTR: it goes on all the same.
        Some(libc::EINPROGRESS | libc::EINTR) => Ok(Connecting::Pending(socket)),
        // A Unix socket with a full backlog. Of a TCP socket it says that no local port is left.
        Some(libc::EAGAIN) if family == libc::AF_UNIX => Ok(Connecting::Full),
        _ => Err(error),
    }
}

/// A stream socket in non-blocking mode, which no child process inherits.
fn new_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
    let kind = libc::SOCK_STREAM;
    // SAFETY: has no preconditions.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, so it is open, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
    // SAFETY: fcntl with these commands has no memory preconditions; the descriptor is open.
    unsafe {
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(fd, libc::F_SETFL, libc::fcntl(fd, libc::F_GETFL) | libc::O_NONBLOCK);
    }
    Ok(socket)
}
