//! The options of a recording. Compiled without the feature as well, since the configuration names
//! these settings. Uses nothing else of the room.
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
    /// A kernel timer for each thread, which sends it a signal. Linux on x86_64 and aarch64.
    Timer,
    /// Samples that the kernel writes into memory, without a signal: by the CPU clock, on Linux
    /// since 5.13. No system call is interrupted, and no handler is installed.
    ///
    /// Above the rate of the kernel's tick it costs about half as much as signals, and
    /// [`Auto`](Self::Auto) takes it there. A new thread takes a perf event for each processor,
    /// some microseconds each; with more than 16 processors it must be asked for. Threads that use
    /// less CPU time than one period have no samples. A stack is copied up to 8 KiB, and up to 32
    /// KiB where many are longer; what lies beyond is `[truncated]`.
    ///
    /// The system may refuse it: `kernel.perf_event_paranoid` above 2, a sandbox, the limit of
    /// locked memory (`RLIMIT_MEMLOCK` and `kernel.perf_event_mlock_kb`) or of files. Then
    /// [`Timer`](Self::Timer) samples, and the profile's summary says why.
    Ring,
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
    waits: bool,
}

impl Options {
    /// The accepted numbers of samples per second.
    pub const FREQUENCIES: std::ops::RangeInclusive<u32> = 1..=10_000;

    /// The default options.
    pub fn new() -> Options {
        Options { frequency: 100, clock: Clock::Cpu, engine: Engine::Auto, unregistered: false, waits: false }
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

    /// Samples unregistered threads as well: the threads of other libraries, of `std::thread`, of
    /// rayon. They stand under `other;<name in the system>`. Default: `false`.
    ///
    /// With [`Engine::Timer`], the list of the process's threads is scanned some twenty times a
    /// second. The CPU time of a thread before it is found, at most fifty milliseconds as a rule,
    /// is its `[unsampled]`. Threads that start and end between two scans are reported together as
    /// `other;[unseen]`, computed from the process CPU clock, so that totals match it. The kernel
    /// copies their stacks (`process_vm_readv`), since a stack may be unmapped at any time; where
    /// the system refuses that, only the leaf is known. [`Engine::Process`] samples all threads in
    /// any case.
    #[must_use]
    pub fn unregistered(mut self, wanted: bool) -> Options {
        self.unregistered = wanted;
        self
    }

    /// Whether each blocking call of this crate counts how long its thread slept, for what, and
    /// which thread ended that: see [`Profile::accounts`](super::Profile::accounts). Default:
    /// false.
    ///
    /// Costs some tens of nanoseconds on a call that blocks, and a load on a call that does not.
    /// Takes at most 30 KiB for each thread, 3 KiB for a thread that hardly waits, and 32 MiB in
    /// all for what happened when. Beyond that the oldest events are forgotten, and counted.
    #[must_use]
    pub fn waits(mut self, wanted: bool) -> Options {
        self.waits = wanted;
        self
    }

    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn get_waits(&self) -> bool {
        self.waits
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
            Engine::Ring => "ring",
            Engine::Process => "process",
        })
    }
}
