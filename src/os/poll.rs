//! Unix: waiting until a descriptor can be read, or another one that wakes the caller.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Blocks until a read of `input` would not block (there is data, its end or an error), or until `wake` can be read, or a
/// signal handler has run. Returns `true` if `input` can be read.
///
/// # Errors
/// Those of `poll`, but for an interruption by a signal handler.
pub(crate) fn until_readable(input: BorrowedFd<'_>, wake: BorrowedFd<'_>) -> io::Result<bool> {
    let entry = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(input), entry(wake)];
    // SAFETY: `entries` is an array of that many pollfds, which the call may write to. Both descriptors are open, since they
    // are borrowed. -1: no time limit.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, -1) };
    if ready >= 0 {
        return Ok(entries[0].revents != 0);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
}
