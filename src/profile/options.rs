//! What a recording can be asked for. Compiled without the feature as well: the configuration names
//! these settings.
#![cfg_attr(not(feature = "profiling"), allow(dead_code, unreachable_pub))]

use std::fmt;

/// Which clock drives the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Clock {
    /// CPU time: a thread is sampled while it runs.
    #[default]
    Cpu,
    /// Wall time: a thread is sampled whether it runs or waits.
    Wall,
}

/// What takes the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Engine {
    /// The best engine that can run here.
    #[default]
    Auto,
    /// A kernel timer for each thread.
    Timer,
    /// The pprof crate: one timer for the process. Compiled in by the feature `pprof-engine`.
    Process,
}

/// What to record, and how. The default is 100 samples per second of CPU time by the best engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    frequency: u32,
    clock: Clock,
    engine: Engine,
    unregistered: bool,
}

impl Options {
    /// Samples per second that can be asked for.
    pub const FREQUENCIES: std::ops::RangeInclusive<u32> = 1..=10_000;

    /// The default options.
    pub fn new() -> Options {
        Options { frequency: 100, clock: Clock::Cpu, engine: Engine::Auto, unregistered: false }
    }

    /// Samples per second of the clock, for each thread; [`FREQUENCIES`](Self::FREQUENCIES) are
    /// accepted when the recording starts.
    #[must_use]
    pub fn frequency(mut self, hz: u32) -> Options {
        self.frequency = hz;
        self
    }

    /// Which clock drives the samples.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Options {
        self.clock = clock;
        self
    }

    /// What takes the samples.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Options {
        self.engine = engine;
        self
    }

    /// Whether threads that are not in the tree are looked for and sampled as well: other
    /// libraries' own, `std::thread`'s, rayon's. They stand under `other;<name in the system>`.
    /// Default: false.
    ///
    /// For [`Engine::Timer`]: the list of the process's threads is looked at some twenty times a
    /// second. What a thread uses before it is found, fifty milliseconds at most as a rule, is its
    /// `[unsampled]`. Threads that start and end between two scans are reported together as
    /// `other;[unseen]`, computed from the process CPU clock, so that totals match it. The kernel
    /// copies their stacks (`process_vm_readv`), since they may go at any time; where it does not
    /// permit that, only the leaf is known. [`Engine::Process`] meets all threads in any case.
    #[must_use]
    pub fn unregistered(mut self, wanted: bool) -> Options {
        self.unregistered = wanted;
        self
    }

    pub(crate) fn get_frequency(&self) -> u32 {
        self.frequency
    }

    pub(crate) fn get_clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn get_engine(&self) -> Engine {
        self.engine
    }

    pub(crate) fn get_unregistered(&self) -> bool {
        self.unregistered
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Cpu => "cpu",
            Clock::Wall => "wall",
        })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Auto => "auto",
            Engine::Timer => "timer",
            Engine::Process => "process",
        })
    }
}
