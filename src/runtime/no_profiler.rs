//! The profiler of a program that was built without the feature `profiling`: where a profile is
//! asked for, it warns.

use super::config::{ProfileSettings, Settings};
use crate::error::Error;
use crate::signal::Reason;
use crate::thread::tree::Node;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn planned() -> Vec<PathBuf> {
    Vec::new()
}

/// What the log is told of a file.
pub(super) struct LogLine {
    pub(super) level: log::Level,
    pub(super) target: &'static str,
    pub(super) text: String,
}

/// There is none.
pub(super) enum Profiler {}

pub(super) fn check(_settings: &ProfileSettings) -> Result<(), Error> {
    Ok(())
}

impl Profiler {
    pub(super) fn start(_settings: &Settings, _main: &Arc<Node>, _number: u32) -> Result<Option<Profiler>, Error> {
        log::warn!(
            "profile.enabled: this program was built without the feature \"profiling\"; there will be no profile"
        );
        Ok(None)
    }

    pub(super) fn finish(self, _stopped_for: Option<Reason>) -> Vec<LogLine> {
        match self {}
    }

    pub(super) fn snapshot(&self) -> Vec<LogLine> {
        match *self {}
    }
}
