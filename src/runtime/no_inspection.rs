//! The inspection of a program that was built without the feature `inspect`: where it is asked for,
//! the log says so.

use super::config::Settings;
use crate::error::Error;
use crate::thread::tree::Node;
use std::sync::Arc;

pub(super) fn start(settings: &Settings, _main: &Arc<Node>) -> Result<(), Error> {
    if let Some(inspect) = &settings.inspect {
        let why = match cfg!(feature = "inspect") {
            true => "this system has no Unix sockets",
            false => "this program was built without the feature \"inspect\"",
        };
        log::warn!("inspect.listen ({:?}): {why}; nothing listens", inspect.listen);
    }
    Ok(())
}

pub(super) fn forget() {}
