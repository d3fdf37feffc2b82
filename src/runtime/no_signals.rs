//! For systems without Unix signals: nothing interrupts the program.

use super::config::Settings;
use crate::error::Error;
use crate::thread::tree::Node;
use std::sync::Arc;

pub(super) const STOPPING: &str = "selvedge::stopping";

pub(super) fn prepare_end() {}

pub(super) fn start(_main: &Arc<Node>, _settings: &Arc<Settings>) -> Result<(), Error> {
    Ok(())
}

pub(super) fn interrupted() -> Option<i32> {
    None
}

pub(super) fn exit_code(_signal: i32) -> u8 {
    0
}

pub(super) fn name(_signal: i32) -> &'static str {
    "a signal"
}
