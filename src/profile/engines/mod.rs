//! What takes samples. An engine finds addresses and the times they were found at; names, threads and pictures are made
//! of them later, by rooms that do not know which engine it was.

#[cfg(unix)]
mod process;

use super::{Clock, Engine, Options};
use crate::error::{Error, Kind};
use std::time::{Duration, Instant, SystemTime};

/// An engine at work. Dropping it stops it.
pub(super) trait Sampler: Send + Sync {
    /// Everything sampled since the start.
    ///
    /// # Errors
    /// Why the samples could not be read, as a sentence.
    fn snapshot(&self) -> Result<Vec<RawSample>, String>;
}

/// Samples of one thread that found the same stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawSample {
    /// The thread's `pthread_t`.
    pub(super) os_thread: u64,
    /// The thread's name as the system knows it, cut to what the system keeps.
    pub(super) os_name: String,
    /// When the first of them was taken.
    pub(super) at: Nanos,
    /// Leaf first. The leaf is the instruction that was interrupted; the others are return addresses.
    pub(super) addresses: Vec<u64>,
    /// Callers are missing: the stack was deeper than the engine looks.
    pub(super) truncated: bool,
    pub(super) samples: u64,
    /// Nanoseconds of the clock that these samples stand for.
    pub(super) weight: u64,
}

/// Nanoseconds since the recording began; negative before.
pub(super) type Nanos = i64;

/// What a recording really does, which is not always what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effective {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    /// The clock's time between two samples.
    pub(super) period: Duration,
}

/// A started engine, what it does, and since when, by both clocks.
pub(super) struct Start {
    pub(super) sampler: Box<dyn Sampler>,
    pub(super) effective: Effective,
    pub(super) began: Instant,
    pub(super) epoch: SystemTime,
}

/// Starts the engine that `options` ask for.
///
/// # Errors
/// [`Error::is_profile`]: the engine, the clock or the frequency cannot be had.
pub(super) fn start(options: &Options) -> Result<Start, Error> {
    let frequency = options.get_frequency();
    if !Options::FREQUENCIES.contains(&frequency) {
        let (least, most) = (Options::FREQUENCIES.start(), Options::FREQUENCIES.end());
        let message = format!("{frequency} Hz cannot be sampled: from {least} to {most} Hz can");
        return Err(Error::new(Kind::Profile, message).at_key("profile.frequency"));
    }
    if options.get_clock() == Clock::Wall {
        let message = "wall time cannot be sampled by this version: take `cpu`";
        return Err(Error::new(Kind::Profile, message).at_key("profile.clock"));
    }
    match options.get_engine() {
        Engine::Auto | Engine::Process => start_process(frequency),
        Engine::Timer => {
            let message = "this version has no timer engine: take `auto` or `process`";
            Err(Error::new(Kind::Profile, message).at_key("profile.engine"))
        }
    }
}

#[cfg(unix)]
fn start_process(frequency: u32) -> Result<Start, Error> {
    process::start(frequency)
}

#[cfg(not(unix))]
fn start_process(_frequency: u32) -> Result<Start, Error> {
    Err(Error::new(Kind::Profile, "no engine can sample on this system: one needs unix").at_key("profile.enabled"))
}
