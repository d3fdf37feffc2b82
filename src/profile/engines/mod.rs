//! Engines take samples: addresses, and the times at which they were found. Starts the engine that
//! the options ask for. Engines know threads and clocks, but no names of functions, profiles or
//! pictures.

#[cfg(all(unix, feature = "pprof-engine"))]
mod process;
mod sampler;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[path = "no_timer.rs"]
mod timer;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod timer;

pub(super) use sampler::{Sampler, Start, TakeOwnStack};

use super::options::{Clock, Engine, Options};
use super::raw::Reply;
use crate::error::{Error, Kind};
use crate::profile::trace::Collector;
use crate::thread::Thread;
use std::sync::Arc;

/// Requests the present stacks of threads of the tree, and then of unregistered threads by their
/// kernel ids, whether a recording runs or not.
///
/// # Errors
/// Why no thread can be sent a request, as a part of a sentence.
pub(super) fn request_stacks(threads: &[Thread], unregistered: &[i32]) -> Result<Vec<Reply>, String> {
    timer::request_stacks(threads, unregistered)
}

/// Starts the engine that `options` ask for. `collector`: has the threads' events, if waits are
/// counted.
///
/// # Errors
/// [`Error::is_profile`]: the engine, the clock or the frequency cannot be had.
pub(super) fn start(options: &Options, collector: Option<Arc<Collector>>) -> Result<Start, Error> {
    let frequency = options.get_frequency();
    if !Options::FREQUENCIES.contains(&frequency) {
        let (least, most) = (Options::FREQUENCIES.start(), Options::FREQUENCIES.end());
        let message = format!("{frequency} Hz is out of range; expected {least} to {most} Hz");
        return Err(Error::new(Kind::Profile, message).at_key("profile.frequency"));
    }
    let clock = options.get_clock();
    let engine = match options.get_engine() {
        Engine::Auto if !timer::CAN_RUN => Engine::Process,
        asked => asked,
    };
    if clock == Clock::Wall && matches!(engine, Engine::Process | Engine::Ring) {
        let message = format!("the {engine} engine cannot sample wall time: take `cpu`");
        return Err(Error::new(Kind::Profile, message).at_key("profile.clock"));
    }
    #[cfg(all(unix, feature = "pprof-engine"))]
    process::put_away_inherited()
        .map_err(|cause| Error::new(Kind::Profile, "the parent process's handler stays").because(cause))?;
    match engine {
        Engine::Process => start_process(frequency),
        asked => timer::start(asked, frequency, clock, options.get_unregistered(), collector),
    }
}

#[cfg(all(unix, feature = "pprof-engine"))]
fn start_process(frequency: u32) -> Result<Start, Error> {
    process::start(frequency)
}

#[cfg(not(all(unix, feature = "pprof-engine")))]
fn start_process(_frequency: u32) -> Result<Start, Error> {
    let message = if cfg!(unix) {
        "the process engine is not compiled in: build with the feature `pprof-engine`"
    } else {
        "no engine can sample on this system: one needs unix"
    };
    Err(Error::new(Kind::Profile, message).at_key("profile.engine"))
}
