//! Waits until a descriptor can be read or written, or until another thread wakes the caller. Unix
//! only.

use super::fork;
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

/// A descriptor that can be read once it was woken, and from then on.
///
/// A forked child shares the descriptor with its parent. A wake-up by the child would also wake the
/// parent, whose waits on it would all end at once from then on. So in a child a wake-up does nothing,
/// and a wait there needs a waker of its own.
#[derive(Debug)]
pub(crate) struct Waker {
    descriptor: Descriptor,
    made_in: u32,
}

impl Waker {
    /// # Errors
    /// No descriptor is to be had.
    pub(crate) fn new() -> io::Result<Waker> {
        fork::watch();
        Ok(Waker { descriptor: Descriptor::new()?, made_in: fork::generation() })
    }

    /// Returns `true` in a forked child of the process that made it.
    pub(crate) fn is_inherited(&self) -> bool {
        self.made_in != fork::generation()
    }

    /// Does not block.
    pub(crate) fn wake(&self) {
        if !self.is_inherited() {
            self.descriptor.wake();
        }
    }

    /// Forgets the wake-ups up to now. Does not block.
    #[cfg(feature = "inspect")]
    pub(crate) fn clear(&self) {
        if !self.is_inherited() {
            self.descriptor.clear();
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

use descriptor::Descriptor;

#[cfg(target_os = "linux")]
mod descriptor {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    #[derive(Debug)]
    pub(super) struct Descriptor(OwnedFd);

    impl Descriptor {
        pub(super) fn new() -> io::Result<Descriptor> {
            // SAFETY: has no preconditions.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call has just made it, so it is open, and nothing else owns it.
            Ok(Descriptor(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        pub(super) fn wake(&self) {
            let one = 1_u64;
            // SAFETY: the descriptor is open, and the eight bytes of `one` can be read. Only a
            // counter near its limit of 2^64 refuses the call.
            unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
        }

        #[cfg(feature = "inspect")]
        pub(super) fn clear(&self) {
            let mut count = 0_u64;
            // SAFETY: the descriptor is open, and the eight bytes of `count` can be written.
            unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
        }
    }

    impl AsFd for Descriptor {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod descriptor {
    use std::io::{self, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    #[derive(Debug)]
    pub(super) struct Descriptor {
        woken: UnixStream,
        waker: UnixStream,
    }

    impl Descriptor {
        pub(super) fn new() -> io::Result<Descriptor> {
            let (woken, waker) = UnixStream::pair()?;
            Ok(Descriptor { woken, waker })
        }

        /// Does not block: one byte into an empty socket.
        pub(super) fn wake(&self) {
            let _ = (&self.waker).write(b"!");
        }

        #[cfg(feature = "inspect")]
        pub(super) fn clear(&self) {
            use std::io::Read;
            let mut bytes = [0; 64];
            let _ = self.woken.set_nonblocking(true);
            while (&self.woken).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        }
    }

    impl AsFd for Descriptor {
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
