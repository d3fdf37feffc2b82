//! Without Unix: no FIFO, and files that cannot be removed while they are open.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

pub(crate) fn open_for_log(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.open(path)
}

pub(crate) fn make_as(_before: &Metadata, path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).open(path)
}

pub(crate) fn give_access(_before: &Metadata, _path: &Path) {}

pub(crate) fn own_descriptor(_path: &Path) -> Option<File> {
    None
}

pub(crate) fn is_without_reader(_error: &io::Error) -> bool {
    false
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

pub(crate) fn identity(_metadata: &Metadata) -> Option<(u64, u64)> {
    None
}

pub(crate) fn is_deleted(_metadata: &Metadata) -> bool {
    false
}

pub(crate) fn is_socket(_metadata: &Metadata) -> bool {
    false
}
