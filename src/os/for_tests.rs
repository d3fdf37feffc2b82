//! For unit tests: takes from this process what its system may refuse, and gives it back; and forks.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// While it lives, this process can open no file.
pub(crate) struct NoFiles(libc::rlimit);

impl NoFiles {
    pub(crate) fn new() -> NoFiles {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: getrlimit writes one rlimit, which `limit` is.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
        set_files(libc::rlimit { rlim_cur: 0, ..limit });
        NoFiles(limit)
    }

    pub(crate) fn is_why(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::EMFILE)
    }
}

impl Drop for NoFiles {
    fn drop(&mut self) {
        set_files(self.0);
    }
}

fn set_files(limit: libc::rlimit) {
    // SAFETY: setrlimit reads one rlimit, which `limit` is.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// While it lives, the stdout of this process is a pipe that has no reader. Keeps the stdout of before.
pub(crate) struct StdoutWithoutReader(OwnedFd);

impl StdoutWithoutReader {
    pub(crate) fn new() -> StdoutWithoutReader {
        let stdout = io::stdout().as_fd().try_clone_to_owned().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        set_stdout(writer.as_fd());
        StdoutWithoutReader(stdout)
    }
}

impl Drop for StdoutWithoutReader {
    fn drop(&mut self) {
        set_stdout(self.0.as_fd());
    }
}

fn set_stdout(to: BorrowedFd<'_>) {
    // SAFETY: dup2 takes numbers. The first is of an open descriptor, the second one is stdout's.
    assert_eq!(unsafe { libc::dup2(to.as_raw_fd(), 1) }, 1);
}

/// Forks. Returns what `check` returns in the child; `false` if the child hangs or panics.
pub(crate) fn in_forked_child(check: impl FnOnce() -> bool) -> bool {
    /// In seconds. The child dies of the alarm then.
    const LONGEST: libc::c_uint = 100;
    // SAFETY: the child does what this crate promises of a forked child, and then ends at once.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", io::Error::last_os_error());
    if child == 0 {
        // SAFETY: it takes a number. The default action of its signal ends the child.
        unsafe { libc::alarm(LONGEST) };
        let is_well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).unwrap_or(false);
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(i32::from(!is_well)) };
    }
    let mut status = 0;
    // SAFETY: `status` is writable. The child was not waited for, so the id is still its own.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {}
    status == 0
}
