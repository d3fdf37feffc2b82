//! Triggers: what makes the kernel send signals to a thread. A trigger is a timer on the thread's
//! CPU clock or, where a timer is not exact enough, a perf clock. Perf clocks are exact, but each
//! takes a file, they are not permitted everywhere, and making one takes too long for a spawn.
//! Knows clocks and system calls, no threads of the tree.

use super::accounting::ThreadClock;
use crate::os::CpuClock;
use crate::os::counted::counted;
use crate::os::perf::{self, PerfClock};
use crate::os::thread_timer::ThreadTimer;
use std::io;
use std::time::Duration;

/// The source of signals. The kernel checks timers at its ticks only. So perf clocks are needed for
/// rates above the tick's, and for threads that run for less than a tick at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// By the CPU clock.
    Cpu { tick: Duration, rate: Rate },
    /// By the wall clock: the sampler sends the signals.
    Wall,
    /// By the CPU clock, without signals: the kernel writes the samples into its rings.
    Rings,
}

/// How the rate compares to the rate of the kernel's tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// A timer expires at the tick after its time.
    Below,
    /// About the tick's rate. A timer of that very period would beat with the tick, and every tenth
    /// expiration would be merged with another. So the timer expires at each tick that finds the
    /// thread running.
    EachTick,
    /// Only perf clocks reach this rate. Until a thread has one, it is sampled at each tick.
    Above,
}

/// The period of a timer that is to expire at each tick.
const AT_ONCE: Duration = Duration::from_micros(1);

/// A running trigger. Dropping it ends it.
pub(super) enum Trigger {
    Timer { _timer: ThreadTimer },
    Perf { _event: PerfClock },
}

impl Trigger {
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Trigger::Perf { .. })
    }
}

/// Makes triggers, and decides which kind a thread needs.
pub(super) struct Triggers {
    period: Duration,
    source: Source,
    exact: PerfClocks,
    /// The number of threads that have neither a timer nor a perf clock.
    untimed: u64,
    /// Why the first of them got no timer, until it is reported.
    no_timer: Option<String>,
    has_noted_no_timer: bool,
    /// The number of threads that needed a perf clock, have a timer, and got no perf clock.
    inexact: u64,
    /// The warning about the first of each kind, until it is taken.
    warnings: Vec<String>,
}

/// Whether perf clocks can be made.
enum PerfClocks {
    /// Not known before the first is needed.
    NotProbed,
    /// This many more, as each takes a file.
    For(u64),
    Refused,
}

/// The last check whether a thread's timer is enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimerCheck {
    /// The samples that were due by then.
    due: u64,
    /// The samples that were lost by then.
    lost: u64,
    /// A perf clock was needed and could not be made: no second try.
    refused: bool,
    /// The first check is over.
    is_checked: bool,
    /// The thread has no timer: without a perf clock it has no samples.
    untimed: bool,
}

/// The number of samples that must be due between two checks.
const ENOUGH: u64 = 4;

impl Triggers {
    pub(super) fn new(period: Duration, source: Source) -> Triggers {
        Triggers {
            period,
            source,
            exact: PerfClocks::NotProbed,
            untimed: 0,
            no_timer: None,
            has_noted_no_timer: false,
            inexact: 0,
            warnings: Vec::new(),
        }
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// The CPU time after which a thread's first sample is due. `random` is from 0 up to 1.
    pub(super) fn first_expiry(&self, random: f64) -> Duration {
        match self.source {
            Source::Cpu { tick, .. } => first_expiry(self.period, tick, random),
            Source::Wall | Source::Rings => Duration::ZERO,
        }
    }

    /// Returns `true` if a thread whose first sample is due after `first` can get its timer from
    /// the sampler, which comes at each tick.
    pub(super) fn can_wait(&self, first: Duration) -> bool {
        matches!(self.source, Source::Cpu { tick, .. } if first >= tick && !tick.is_zero())
    }

    /// A timer for the thread with that clock, which expires first after `first`. `None`: the
    /// system gives none, or the thread needs none.
    pub(super) fn timer(&mut self, clock: CpuClock, first: Duration) -> Option<Trigger> {
        let Source::Cpu { rate, .. } = self.source else { return None };
        let below = rate == Rate::Below;
        match ThreadTimer::start(clock, first, if below { self.period } else { AT_ONCE }) {
            Ok(timer) => Some(Trigger::Timer { _timer: timer }),
            Err(cause) => {
                self.untimed += 1;
                // It is reported only if no perf clock can be made in its place.
                if !self.has_noted_no_timer {
                    self.has_noted_no_timer = true;
                    self.no_timer = Some(no_timer(&cause));
                }
                None
            }
        }
    }

    /// The check to begin with, for a thread with the result of [`timer`](Self::timer).
    pub(super) fn first_timer_check(&self, trigger: Option<&Trigger>) -> TimerCheck {
        TimerCheck { untimed: trigger.is_none() && matches!(self.source, Source::Cpu { .. }), ..TimerCheck::default() }
    }

    /// Returns `true` if all threads need perf clocks.
    pub(super) fn is_above_tick(&self) -> bool {
        matches!(self.source, Source::Cpu { rate: Rate::Above, .. })
    }

    /// Returns `true` if the thread, whose CPU clock is at `clock`, needs a perf clock. `runs`
    /// returns `true` if the thread runs or waits for a processor; it is called at most once per
    /// thread.
    pub(super) fn needs_perf_clock(
        &self,
        timer_check: &mut TimerCheck,
        thread_clock: &ThreadClock,
        clock: u64,
        runs: impl FnOnce() -> bool,
    ) -> bool {
        let Source::Cpu { rate, .. } = self.source else { return false };
        let period = self.period.as_nanos() as u64;
        let due = thread_clock.due(clock, period);
        if rate == Rate::Above || timer_check.untimed {
            // Of many threads that wait for a processor, each runs for some periods in its first
            // turn, before any of its samples is due. But a thousand sleeping threads must not take
            // a thousand files.
            let is_first = !std::mem::replace(&mut timer_check.is_checked, true);
            return !timer_check.refused && (due > 0 || is_first && runs());
        }
        if timer_check.refused || due < timer_check.due + ENOUGH {
            return false;
        }
        let lost = thread_clock.lost_so_far() + thread_clock.missing(clock, period);
        // Half of the due samples were merged, or have not come at all.
        let wants = (lost - timer_check.lost.min(lost)) * 2 >= due - timer_check.due;
        (timer_check.due, timer_check.lost) = (due, lost);
        wants
    }

    /// A perf clock for the thread. `None`: it could not be made.
    pub(super) fn perf_clock(&mut self, timer_check: &mut TimerCheck, clock: CpuClock) -> Option<Trigger> {
        if let PerfClocks::NotProbed = self.exact {
            self.exact = PerfClocks::For(perf::files_to_spend());
        }
        let cause = match &mut self.exact {
            PerfClocks::For(files @ 1..) => match PerfClock::start(clock, self.period) {
                Ok(event) => {
                    *files -= 1;
                    if std::mem::take(&mut timer_check.untimed) {
                        self.untimed -= 1;
                    }
                    return Some(Trigger::Perf { _event: event });
                }
                Err(cause) => {
                    if perf::is_refusal(&cause) {
                        self.exact = PerfClocks::Refused;
                    }
                    cause.to_string()
                }
            },
            PerfClocks::For(_) => "a quarter of the files that the process may still open is spent on them".into(),
            PerfClocks::NotProbed | PerfClocks::Refused => "the system does not permit them".into(),
        };
        timer_check.refused = true;
        if timer_check.untimed {
            if let Some(no_timer) = self.no_timer.take() {
                self.warnings.push(format!("{no_timer}; and no perf clock for it: {cause}. Its time is [unsampled]."));
            }
            return None;
        }
        if self.inexact == 0 {
            let text = format!("no perf clock for a thread: {cause}. What its timer merges is counted as lost.");
            self.warnings.push(text);
        }
        self.inexact += 1;
        None
    }

    /// Ends the trigger.
    pub(super) fn end(&mut self, trigger: Option<Trigger>) {
        if let (Some(Trigger::Perf { .. }), PerfClocks::For(files)) = (trigger, &mut self.exact) {
            *files += 1;
        }
    }

    /// What kept threads from being sampled, as a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        (self.untimed > 0)
            .then(|| format!("{} got neither a timer nor a perf clock: [unsampled]", counted(self.untimed, "thread")))
    }

    /// The number of threads that needed a perf clock and got none.
    pub(super) fn inexact(&self) -> u64 {
        self.inexact
    }

    /// The warnings to log. The caller logs them without a lock, since appenders are the user's.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

/// Why a thread has no timer, as a sentence.
fn no_timer(cause: &io::Error) -> String {
    let limit = match cause.raw_os_error() {
        Some(libc::EAGAIN) => " (RLIMIT_SIGPENDING, `ulimit -i`)",
        _ => "",
    };
    format!("the system gives no timer for a thread: {cause}{limit}")
}

/// The source and the period for a frequency. The kernel checks timers once a tick. So a shorter
/// period needs perf clocks; `probe` says whether the kernel permits them. If not, the period is
/// the tick.
pub(super) fn source(
    frequency: u32,
    tick: Option<Duration>,
    probe: &dyn Fn(Duration) -> io::Result<()>,
) -> (Source, Duration) {
    let asked = Duration::from_secs(1) / frequency.max(1);
    let above = is_above_tick(asked, tick);
    let tick = tick.unwrap_or_default();
    if asked >= tick.mul_f64(1.2) {
        return (Source::Cpu { tick, rate: Rate::Below }, asked);
    }
    if !above {
        return (Source::Cpu { tick, rate: Rate::EachTick }, tick);
    }
    match probe(asked) {
        Ok(()) => (Source::Cpu { tick, rate: Rate::Above }, asked),
        Err(cause) => {
            log::info!("profiling: no perf events ({cause}): the rate is that of the kernel's tick at most");
            (Source::Cpu { tick, rate: Rate::EachTick }, tick)
        }
    }
}

/// Returns `true` if only perf events reach that period.
pub(super) fn is_above_tick(period: Duration, tick: Option<Duration>) -> bool {
    period < tick.unwrap_or_default().mul_f64(0.9)
}

/// The first expiry, uniform in one period: so a thread that lives for a tenth of a period is
/// sampled in one case of ten. `random` is from 0 up to 1.
///
/// The kernel checks timers at its ticks only. So the tick is drawn: each tick of the first period,
/// also the first one, has the same share of tick / period.
fn first_expiry(period: Duration, tick: Duration, random: f64) -> Duration {
    let drawn = period.mul_f64(random).as_nanos();
    let tick = tick.as_nanos().max(1);
    Duration::from_nanos((drawn / tick * tick) as u64).max(Duration::from_nanos(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tick_of_the_first_period_is_as_likely() {
        let ms = Duration::from_millis;
        let first = |random| first_expiry(ms(10), ms(4), random);
        assert_eq!([first(0.0), first(0.39)], [Duration::from_nanos(1); 2]);
        assert_eq!([first(0.41), first(0.79), first(0.81), first(0.99)], [ms(4), ms(4), ms(8), ms(8)]);
        assert_eq!(first_expiry(ms(4), ms(4), 0.99), Duration::from_nanos(1));
        // Where the tick is not known, any time may be drawn.
        assert_eq!(first_expiry(ms(10), Duration::ZERO, 0.5), ms(5));
    }

    #[test]
    fn above_the_tick_perf_clocks_are_used_if_permitted() {
        let ms = Duration::from_millis;
        let refused = |_| Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        let granted = |_| Ok(());
        let source = |frequency, probe| source(frequency, Some(ms(4)), probe);
        let of = |rate| Source::Cpu { tick: ms(4), rate };
        assert_eq!(source(100, &|_| unreachable!("not above the tick")), (of(Rate::Below), ms(10)));
        assert_eq!(source(250, &|_| unreachable!("not above the tick")), (of(Rate::EachTick), ms(4)));
        assert_eq!(source(260, &refused), (of(Rate::EachTick), ms(4)));
        assert_eq!(source(1000, &granted), (of(Rate::Above), ms(1)));
        assert_eq!(source(1000, &refused), (of(Rate::EachTick), ms(4)));
    }

    #[test]
    fn above_the_tick_a_running_thread_gets_a_perf_clock_at_once() {
        let ms = Duration::from_millis;
        let triggers = Triggers::new(ms(1), Source::Cpu { tick: ms(4), rate: Rate::Above });
        assert!(triggers.is_above_tick());
        let (thread_clock, mut runs, mut sleeps) =
            (ThreadClock::new(0, 0), TimerCheck::default(), TimerCheck::default());
        assert!(triggers.needs_perf_clock(&mut runs, &thread_clock, 700_000, || true));
        assert!(!triggers.needs_perf_clock(&mut sleeps, &thread_clock, 700_000, || false));
        // It reads a file in /proc: once for each thread.
        let never = || unreachable!("it was called");
        assert!(!triggers.needs_perf_clock(&mut sleeps, &thread_clock, 999_999, never));
        assert!(triggers.needs_perf_clock(&mut sleeps, &thread_clock, 1_000_000, never));
        sleeps.refused = true;
        assert!(!triggers.needs_perf_clock(&mut sleeps, &thread_clock, 1_000_000, never));
        let below = Triggers::new(ms(10), Source::Cpu { tick: ms(4), rate: Rate::Below });
        assert!(
            !below.is_above_tick()
                && !below.needs_perf_clock(&mut TimerCheck::default(), &thread_clock, 700_000, never)
        );
    }
}
