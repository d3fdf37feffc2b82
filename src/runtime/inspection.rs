//! Starts the inspection of the running program, where the configuration asks for it.

use super::config::{Listen, Settings};
use crate::error::Error;
use crate::inspect::{self, Place};
use crate::thread::tree::Node;
use std::sync::Arc;

/// Listens, if the settings say where.
///
/// # Errors
/// The place cannot be had.
pub(super) fn start(settings: &Settings, main: &Arc<Node>) -> Result<(), Error> {
    let Some(inspect) = &settings.inspect else { return Ok(()) };
    let address = match inspect.listen {
        Listen::Unix => None,
        Listen::Tcp(address) => Some(address),
    };
    let place = Place { address, token_file: inspect.token_file.clone() };
    inspect::start(main, &settings.name, &place, settings.shutdown.patience)
}

/// The process ends without an end of its threads: what would be left of it is removed.
pub(super) fn forget() {
    inspect::forget();
}
