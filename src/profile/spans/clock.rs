//! The clock of spans. Where the processor's counter can be trusted, a tick is one step of it, and
//! a recording finds out how long a tick is by the system's clock. Elsewhere a tick is a
//! nanosecond.

use crate::os::ticks;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Which clock counts the ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Counter,
    System,
}

impl Source {
    /// The fastest source that can be trusted.
    pub(super) fn best() -> Source {
        if ticks::is_steady() { Source::Counter } else { Source::System }
    }

    /// Ticks since some moment; never 0.
    #[inline(always)]
    pub(super) fn now(self) -> u64 {
        match self {
            Source::Counter => ticks::now(),
            Source::System => nanos(),
        }
    }
}

#[cold]
fn nanos() -> u64 {
    static BASE: OnceLock<Instant> = OnceLock::new();
    BASE.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

/// The clock of one recording.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) source: Source,
    begin: Reading,
    /// The length of a tick in nanoseconds, as measured when the recording began.
    first: f64,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    ticks: u64,
    at: Instant,
}

/// How long ticks are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    nanos: f64,
    /// The counter has gone at another rate than when the recording began, by more than a
    /// hundredth: the machine slept, or was moved to another one.
    pub(super) has_changed: bool,
}

/// The first measurement takes so long. Reading both clocks is out by some 50 ns at most.
const FIRST: Duration = Duration::from_millis(1);

impl Clock {
    /// Blocks for a millisecond with [`Source::Counter`].
    pub(super) fn start(source: Source) -> Clock {
        let begin = Reading::take(source);
        let first = match source {
            Source::System => 1.0,
            Source::Counter => {
                while begin.at.elapsed() < FIRST {
                    std::hint::spin_loop();
                }
                begin.rate(Reading::take(source))
            }
        };
        Clock { source, begin, first }
    }

    /// How long the ticks up to now were.
    pub(super) fn rate(&self) -> Rate {
        let nanos = match self.source {
            Source::System => 1.0,
            Source::Counter => self.begin.rate(Reading::take(self.source)),
        };
        Rate { nanos, has_changed: (nanos / self.first - 1.0).abs() > 0.01 }
    }
}

impl Reading {
    /// The best of three: the thread may lose its processor between two clocks.
    fn take(source: Source) -> Reading {
        let one = || {
            let before = source.now();
            let at = Instant::now();
            let apart = source.now().saturating_sub(before);
            (apart, Reading { ticks: before + apart / 2, at })
        };
        let best = |a: (u64, Reading), b: (u64, Reading)| if b.0 < a.0 { b } else { a };
        best(one(), best(one(), one())).1
    }

    /// Nanoseconds of a tick between the two.
    fn rate(self, later: Reading) -> f64 {
        let nanos = later.at.saturating_duration_since(self.at).as_nanos() as f64;
        nanos / later.ticks.saturating_sub(self.ticks).max(1) as f64
    }
}

impl Rate {
    pub(super) fn time(self, ticks: u64) -> Duration {
        Duration::from_nanos((ticks as f64 * self.nanos).round() as u64)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_tick_has_the_length_that_the_systems_clock_says() {
        for source in [Source::System, Source::best()] {
            let clock = Clock::start(source);
            // A thread that loses its processor within a stretch measures again.
            let is_right = || {
                let (ticks, at) = (source.now(), Instant::now());
                while at.elapsed() < Duration::from_millis(5) {}
                let ticks = source.now() - ticks;
                let took = at.elapsed().as_secs_f64();
                (clock.rate().time(ticks).as_secs_f64() / took - 1.0).abs() < 0.01
            };
            assert!((0..100).any(|_| is_right()), "{clock:?}");
        }
    }

    #[test]
    fn a_counter_that_changes_its_rate_is_noticed() {
        let at = Instant::now();
        let begin = Reading { ticks: 1_000, at };
        let later = Reading { ticks: 4_000, at: at + Duration::from_nanos(1_000) };
        assert!((begin.rate(later) - 1.0 / 3.0).abs() < 1e-9);
        let mut clock = Clock::start(Source::System);
        assert!(!clock.rate().has_changed);
        clock.first = 1.1;
        assert!(clock.rate().has_changed);
    }
}
