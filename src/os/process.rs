//! Unix: what happens to the whole process (fork, exit), and files that must not be waited for.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// From now on each `fork` calls `before` in the forking thread, then `parent` and `child` in the two processes.
pub(crate) fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) {
    // SAFETY: the three are functions of this program, which stay valid; libc keeps the pointers. Without memory for
    // that (ENOMEM) a fork is not prepared, which only a program that forks and logs in the child could notice.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
}

/// `run` is called by `exit`, and so by `std::process::exit` and after a return from `main`.
pub(crate) fn at_exit(run: extern "C" fn()) {
    // SAFETY: `run` is a function of this program, which stays valid; one that cannot be kept is not called.
    unsafe { libc::atexit(run) };
}

/// Whether this process does something with that signal, or ignores it, instead of what the system does by default.
pub(crate) fn is_handled(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action asks only; `action` is writable for one sigaction.
    let failed = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: written by the successful call.
    failed == 0 && unsafe { action.assume_init() }.sa_sigaction != libc::SIG_DFL
}

/// Opens for appending. A FIFO that nobody reads is an error (ENXIO) instead of a wait without end.
pub(crate) fn open_for_log(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        options.custom_flags(libc::O_NONBLOCK);
    }
    options.open(path)
}

/// An error that says: nobody reads this FIFO now.
pub(crate) fn is_without_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// Which file it is, whatever its name.
pub(crate) fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    Some((metadata.dev(), metadata.ino()))
}

/// Whether the file has no name any more: what is written to it is lost once it is closed.
pub(crate) fn is_deleted(metadata: &Metadata) -> bool {
    metadata.nlink() == 0
}
