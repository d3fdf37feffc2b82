//! What ended a wait, and when, on one clock. Data only: how a thread stamps the waits that it ends
//! stands in `sleep`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// `true` while a recording counts waits. Relaxed throughout: a wait that begins or ends while a
/// recording begins or ends is counted or not. A forked child inherits it, and its slots count
/// nothing.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Switches the counting of waits on or off, for all threads.
pub(super) fn switch(wanted: bool) {
    IS_ON.store(wanted, Ordering::Relaxed);
}

/// Returns `true` while a recording counts waits.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    // A model has no recording: stamps would only add to the orders that it looks through.
    !cfg!(all(test, selvedge_model)) && IS_ON.load(Ordering::Relaxed)
}

/// Where the clock of all stamps begins.
static BASE: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds on the one clock of all stamps and events; never 0.
pub(crate) fn nanos(at: Instant) -> u64 {
    since(*BASE.get_or_init(|| at), at)
}

fn since(base: Instant, at: Instant) -> u64 {
    // Times before the first one asked for count as that one.
    at.saturating_duration_since(base).as_nanos() as u64 + 1
}

/// Now, on the clock of [`nanos`]; 0 before that was first asked for.
///
/// # Signal safety
/// Safe: `clock_gettime`, and a load.
pub(crate) fn nanos_in_handler() -> u64 {
    BASE.get().map_or(0, |base| since(*base, Instant::now()))
}

/// By the number of its thread, or one of the causes below.
const UNKNOWN: u64 = 0;
const CLOCK: u64 = u64::MAX;
const OUTSIDE: u64 = u64::MAX - 1;

/// What ended a wait, and when it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ender {
    pub(super) by: u64,
    /// 0: not known.
    pub(super) at: u64,
}

impl Ender {
    /// Not known.
    pub(crate) const UNKNOWN: Ender = Ender { by: UNKNOWN, at: 0 };
    /// The system, or a process: input has come, a connection is there.
    pub(crate) const OUTSIDE: Ender = Ender { by: OUTSIDE, at: 0 };

    /// The clock, at this time. `None`: at a time that is not known.
    pub(crate) fn clock(at: Option<Instant>) -> Ender {
        Ender { by: CLOCK, at: at.map_or(0, nanos) }
    }

    /// Returns `true` if a deadline or a timer ended the wait.
    pub(super) fn is_clock(self) -> bool {
        self.by == CLOCK
    }

    /// When it ended the wait, on the clock of [`nanos`]; 0 if that is not known.
    pub(crate) fn at(self) -> u64 {
        self.at
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Unknown,
    Clock,
    Outside,
    /// The thread of this number.
    Thread(u64),
}

impl Cause {
    /// What the number in a stamp, or in an event, stands for.
    pub(crate) fn of(by: u64) -> Cause {
        match by {
            UNKNOWN => Cause::Unknown,
            CLOCK => Cause::Clock,
            OUTSIDE => Cause::Outside,
            number => Cause::Thread(number),
        }
    }
}
