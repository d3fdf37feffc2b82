//! Waits until a descriptor can be read or written, or until another thread wakes the caller. Unix
//! only.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// There is data, a connection, the end of the data, or an error.
    Read,
    /// There is room, a connection was made, or there is an error.
    Write,
}

impl Interest {
    fn events(self) -> libc::c_short {
        match self {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
        }
    }
}

/// Rounded up: a wait must not end before its time. -1: no limit.
fn millis(limit: Option<Duration>) -> libc::c_int {
    limit.map_or(-1, |limit| libc::c_int::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX))
}

/// Blocks until `fd` is ready, or `wake` was woken, or `limit` has passed, or a signal handler has
/// run. Returns `true` if `fd` is ready.
///
/// # Errors
/// The errors of `poll`, except an interruption by a signal handler.
pub(crate) fn until_ready(
    fd: BorrowedFd<'_>,
    interest: Interest,
    wake: Option<&Waker>,
    limit: Option<Duration>,
) -> io::Result<bool> {
    let entry = |fd: libc::c_int, events| libc::pollfd { fd, events, revents: 0 };
    // `poll` ignores a negative descriptor.
    let woken = wake.map_or(-1, |wake| wake.as_fd().as_raw_fd());
    let mut entries = [entry(fd.as_raw_fd(), interest.events()), entry(woken, libc::POLLIN)];
    // SAFETY: `entries` is an array of that many pollfds, which the call may write to. Both
    // descriptors are open, since they are borrowed.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, millis(limit)) };
    if ready >= 0 {
        return Ok(entries[0].revents != 0);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
}

/// Blocks until one of the descriptors is ready for its interest, or `limit` has passed, or a signal
/// handler has run. Returns for each whether it is ready, or has an error.
///
/// # Errors
/// The errors of `poll`, except an interruption by a signal handler.
#[cfg(feature = "inspect")]
pub(crate) fn until_any(entries: &[(BorrowedFd<'_>, Interest)], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let entry = |&(fd, interest): &(BorrowedFd<'_>, Interest)| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: interest.events(),
        revents: 0,
    };
    let mut entries: Vec<libc::pollfd> = entries.iter().map(entry).collect();
    // SAFETY: `entries` is an array of that many pollfds, which the call may write to. The
    // descriptors are open, since they are borrowed.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, millis(limit)) };
    let error = io::Error::last_os_error();
    if ready < 0 && error.kind() != io::ErrorKind::Interrupted {
        return Err(error);
    }
    Ok(entries.iter().map(|entry| ready > 0 && entry.revents != 0).collect())
}

pub(crate) use waker::Waker;

#[cfg(target_os = "linux")]
mod waker {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    /// A descriptor that can be read once it was woken, and from then on.
    #[derive(Debug)]
    pub(crate) struct Waker(OwnedFd);

    impl Waker {
        /// # Errors
        /// No descriptor is to be had.
        pub(crate) fn new() -> io::Result<Waker> {
            // SAFETY: has no preconditions.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call has just made it, so it is open, and nothing else owns it.
            Ok(Waker(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        /// Does not block.
        pub(crate) fn wake(&self) {
            let one = 1_u64;
            // SAFETY: the descriptor is open, and the eight bytes of `one` can be read. Only a
            // counter near its limit of 2^64 refuses the call.
            unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
        }

        /// Forgets the wake-ups up to now. Does not block.
        #[cfg(feature = "inspect")]
        pub(crate) fn clear(&self) {
            let mut count = 0_u64;
            // SAFETY: the descriptor is open, and the eight bytes of `count` can be written.
            unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
        }
    }

    impl AsFd for Waker {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod waker {
    use std::io::{self, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    /// A descriptor that can be read once it was woken, and from then on.
    #[derive(Debug)]
    pub(crate) struct Waker {
        woken: UnixStream,
        waker: UnixStream,
    }

    impl Waker {
        /// # Errors
        /// No descriptors are to be had.
        pub(crate) fn new() -> io::Result<Waker> {
            let (woken, waker) = UnixStream::pair()?;
            Ok(Waker { woken, waker })
        }

        /// Does not block: one byte into an empty socket.
        pub(crate) fn wake(&self) {
            let _ = (&self.waker).write(b"!");
        }

        /// Forgets the wake-ups up to now. Does not block.
        #[cfg(feature = "inspect")]
        pub(crate) fn clear(&self) {
            use std::io::Read;
            let mut bytes = [0; 64];
            let _ = self.woken.set_nonblocking(true);
            while (&self.woken).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        }
    }

    impl AsFd for Waker {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.woken.as_fd()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn it_waits_for_the_interest_and_stays_woken() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let waker = Waker::new().unwrap();
        let ready = |interest, limit| until_ready(ours.as_fd(), interest, Some(&waker), limit).unwrap();
        assert!(ready(Interest::Write, None));
        assert!(!ready(Interest::Read, Some(Duration::from_micros(1))));
        theirs.write_all(b"!").unwrap();
        assert!(ready(Interest::Read, None));
        let (silent, _other) = UnixStream::pair().unwrap();
        waker.wake();
        // Without a limit: only the wake-up ends it.
        assert!((0..2).all(|_| !until_ready(silent.as_fd(), Interest::Read, Some(&waker), None).unwrap()));
    }
}
