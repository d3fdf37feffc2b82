//! The push of a program that was built without the feature `push`: where it is asked for, the log
//! says so.

use super::config::Settings;
use crate::error::Error;
#[cfg(feature = "profiling")]
use crate::profile::Profile;
use crate::thread::tree::Node;
use std::sync::Arc;

pub(super) fn needs_recording(_settings: &Settings) -> bool {
    false
}

pub(super) fn start(settings: &Settings, _main: &Arc<Node>) -> Result<(), Error> {
    if settings.push.is_some() {
        let why = match cfg!(feature = "push") {
            true => "this system is none of Unix",
            false => "this program was built without the feature \"push\"",
        };
        log::warn!("push.url: {why}; nothing is pushed");
    }
    Ok(())
}

#[cfg(feature = "profiling")]
pub(super) fn hand_over(_profile: &Profile) {}

#[cfg(feature = "profiling")]
pub(super) fn wait() {}

pub(super) fn forget() {}
