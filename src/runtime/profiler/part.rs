//! Files that this process alone has made.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How many random names are tried. A name may be taken by another process.
const ATTEMPTS: usize = 16;

/// Makes a file whose name begins with that of `beside` and ends in `ending`. No other process has
/// this file, even if it has the same process id, as in another container. A symbolic link is not
/// followed.
pub(super) fn create_beside(beside: &Path, ending: &str) -> io::Result<(File, PathBuf)> {
    let mut taken = io::Error::from(ErrorKind::AlreadyExists);
    for _ in 0..ATTEMPTS {
        let random = RandomState::new().build_hasher().finish();
        let mut name = beside.as_os_str().to_owned();
        name.push(format!(".{random:016x}{ending}"));
        let path = PathBuf::from(name);
        match File::options().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => taken = error,
            made => return made.map(|file| (file, path)),
        }
    }
    Err(taken)
}
