//! Unix: files that a log is written to. A FIFO is not waited for, a limit of a file's size does
//! not end the process, and a file is known also when its name changes.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Opens for appending. A FIFO without a reader is an error (ENXIO) instead of a wait without end.
pub(crate) fn open_for_log(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        options.custom_flags(libc::O_NONBLOCK);
    }
    options.open(path)
}

/// Makes a file for appending, with the mode of the file before. It also has the owner and the group of that
/// file, if this process may give them. Without that group, no group has rights: it would be another group.
pub(crate) fn make_as(before: &Metadata, path: &Path) -> io::Result<File> {
    let mode = before.mode() & 0o777;
    // No other user can open it until it has its owner and its mode.
    let file = OpenOptions::new().append(true).create_new(true).mode(mode & 0o600).open(path)?;
    set_access(&file, before)?;
    Ok(file)
}

/// Gives the file at `path`, if it is one, the access of the file before, as far as that is possible. A symbolic
/// link is not followed: another user may have put it there. A FIFO is not waited for.
pub(crate) fn give_access(before: &Metadata, path: &Path) {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    if let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path)
        && file.metadata().is_ok_and(|made| made.is_file())
    {
        let _best_effort = set_access(&file, before);
    }
}

/// Gives the file the mode of the file before, and its owner and group, if this process may give them.
fn set_access(file: &File, before: &Metadata) -> io::Result<()> {
    let (mode, made) = (before.mode() & 0o777, file.metadata()?);
    let is_given = |owner, group| fchown(file, owner, group).is_ok();
    let (owner, group) = (Some(before.uid()), Some(before.gid()));
    let is_same = (made.uid(), made.gid()) == (before.uid(), before.gid());
    let has_group = is_same || is_given(owner, group) || made.gid() == before.gid() || is_given(None, group);
    file.set_permissions(Permissions::from_mode(if has_group { mode } else { mode & !0o070 }))
}

/// A duplicate of the descriptor that `path` names (`/dev/stdout`, `/dev/fd/3`), if that is a regular file. A
/// file that is opened anew has a place of its own, so the log would be written over what others write there.
pub(crate) fn own_descriptor(path: &Path) -> Option<File> {
    let number = match path.to_str()? {
        "/dev/stdout" => 1,
        "/dev/stderr" => 2,
        path => path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?.parse().ok()?,
    };
    if number < 0 || !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    // SAFETY: the descriptor is not negative. It is borrowed for this call alone, in which it is duplicated; if
    // it is closed meanwhile, that fails or gives another file, as opening the path would.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().ok().map(File::from)
}

/// Returns `true` for the error that a FIFO has no reader now.
pub(crate) fn is_without_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// Returns `true` for the error that nothing is at a path. Other errors do not tell what is there:
/// the process may have no right to look, or the disk may fail.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The identity of the file, which does not depend on its name.
pub(crate) fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    Some((metadata.dev(), metadata.ino()))
}

/// A socket has a path, but cannot be opened by it.
pub(crate) fn is_socket(metadata: &Metadata) -> bool {
    metadata.file_type().is_socket()
}

/// Returns `true` if the file has no name any more: what is written to it is lost once it is
/// closed.
pub(crate) fn is_deleted(metadata: &Metadata) -> bool {
    metadata.nlink() == 0
}
