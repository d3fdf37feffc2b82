//! Files that this process alone has made.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How often a name is drawn that another process has drawn too.
const ATTEMPTS: usize = 16;

/// Makes a file of which the name begins with that of `beside` and ends in `ending`. No other process
/// has it, also not one with the same number, as two containers have it. A symbolic link is not followed.
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
