//! How the log's file asks to be read again, and which version of it was read.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Differs between a file and the same file after a change. The text of the file is read only if
/// this differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Version(Option<Found>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    modified: SystemTime,
    length: u64,
    identity: Option<(u64, u64)>,
}

impl Version {
    /// The version that the file has now. Taken before the file is read, so that a change in between
    /// counts as one.
    pub(super) fn of(file: &Path) -> Version {
        let found = fs::metadata(file).and_then(|found| {
            let identity = crate::os::log_file::identity(&found);
            Ok(Found { modified: found.modified()?, length: found.len(), identity })
        });
        Version(found.ok())
    }
}

/// How a file asks to be checked, and the version that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refresh {
    /// How often to check whether the file has changed.
    pub(super) every: Duration,
    pub(super) seen: Version,
}
