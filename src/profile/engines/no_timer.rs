//! Where `Engine::Timer` cannot run: it needs Linux, on x86_64 or aarch64.

use super::sampler::Start;
use crate::error::{Error, Kind};
use crate::profile::options::{Clock, Engine};
use crate::profile::raw::Reply;
use crate::profile::trace::Collector;
use crate::thread::Thread;
use std::sync::Arc;

pub(super) const CAN_RUN: bool = false;

pub(super) fn start(
    asked: Engine,
    _frequency: u32,
    _clock: Clock,
    _unregistered: bool,
    _collector: Option<Arc<Collector>>,
) -> Result<Start, Error> {
    let message = format!("this system has no {asked} engine: take `auto` or `process`");
    Err(Error::new(Kind::Profile, message).at_key("profile.engine"))
}

/// Whether its signal handler is in place.
#[cfg(all(unix, feature = "pprof-engine"))]
pub(super) fn is_installed() -> bool {
    false
}

/// Whether a return address is in a function that threads start with: not known here.
#[cfg(all(unix, feature = "pprof-engine"))]
pub(super) fn starts() -> impl Fn(u64) -> bool {
    |_| true
}

pub(super) fn request_stacks(_threads: &[Thread], _unregistered: &[i32]) -> Result<Vec<Reply>, String> {
    Err("stacks of running threads are available on Linux only, on x86_64 or aarch64".into())
}
