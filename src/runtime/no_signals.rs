//! For systems without Unix signals: nothing interrupts the program.

use super::config::Settings;
use crate::error::Error;
use crate::thread::tree::Node;
use std::sync::Arc;
use std::time::Instant;

pub(super) const STOPPING: &str = "selvedge::stopping";

pub(super) fn prepare_end() {}

pub(super) fn start(_main: &Arc<Node>, _settings: &Arc<Settings>) -> Result<(), Error> {
    Ok(())
}

/// Nothing takes a signal away.
pub(super) struct Looks(());

impl Looks {
    pub(super) fn start() -> Looks {
        Looks(())
    }

    pub(super) fn look_in_time(&mut self) -> Option<Instant> {
        None
    }
}

pub(super) fn look_at_end() {}

pub(super) fn interrupted() -> Option<i32> {
    None
}

pub(super) fn exit_code(_signal: i32) -> u8 {
    0
}

pub(super) fn name(_signal: i32) -> &'static str {
    "a signal"
}
