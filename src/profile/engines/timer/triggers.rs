//! What makes the kernel send a thread its signals: a timer on the thread's CPU clock, or, where a
//! timer is not exact enough, a perf clock. Perf clocks are exact, but take a file each, are not
//! permitted everywhere, and cost a spawn too much.

use super::accounting::ThreadClock;
use crate::os::CpuClock;
use crate::os::perf::{self, PerfClock};
use crate::os::thread_timer::ThreadTimer;
use std::io;
use std::time::Duration;

/// Perf clocks are for rates above the kernel's tick, and for threads that their timers do not
/// meet: they run for less than a tick at a time, and the kernel looks at timers only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// By the CPU clock.
    Cpu { tick: Duration, rate: Rate },
    /// The sampler asks, by the wall clock.
    Wall,
}

/// How the rate compares to that of the kernel's tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// A timer expires at the tick after its time.
    Below,
    /// A timer of that very period would beat with the tick, and merge every tenth expiration with
    /// another: so it expires at each tick that finds the thread running, whatever its clock says.
    EachTick,
    /// Only perf clocks can give it; until a thread has one it is sampled at each tick.
    Above,
}

/// The period of a timer that is to expire at each tick.
const AT_ONCE: Duration = Duration::from_micros(1);

/// One at work; dropping it ends it.
pub(super) enum Trigger {
    Timer { _timer: ThreadTimer },
    Perf { _event: PerfClock },
}

impl Trigger {
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Trigger::Perf { .. })
    }
}

/// Makes triggers, and judges which.
pub(super) struct Triggers {
    period: Duration,
    source: Source,
    exact: PerfClocks,
    /// Threads that got no timer, and no perf clock in its place so far, and why the first got no
    /// timer.
    untimed: u64,
    no_timer: Option<String>,
    has_noted_no_timer: bool,
    /// Threads that a perf clock was wanted for and not to be had.
    inexact: u64,
    /// What was said of the first of each, until it is taken.
    warnings: Vec<String>,
}

/// Whether there are perf clocks to be had.
enum PerfClocks {
    /// Not known before the first is wanted.
    NotProbed,
    /// For so many files more.
    For(u64),
    Refused,
}

/// What a thread's samples were like when it was timer_check last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimerCheck {
    due: u64,
    lost: u64,
    /// A perf clock was wanted, and is not to be had: not asked for again.
    refused: bool,
    /// Its first judgement has passed.
    known: bool,
    /// It was given no timer: without a perf clock it has no samples.
    untimed: bool,
}

/// Samples that must be due before it is timer_check how many of them came.
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

    /// After how much of its CPU clock a thread is due for the first time. `random` is from 0 up to
    /// 1.
    pub(super) fn first_expiry(&self, random: f64) -> Duration {
        match self.source {
            Source::Cpu { tick, .. } => first_expiry(self.period, tick, random),
            Source::Wall => Duration::ZERO,
        }
    }

    /// Returns `true` if a thread whose first sample is due after `first` can wait for the sampler,
    /// which visits at each tick, to get its timer.
    pub(super) fn can_wait(&self, first: Duration) -> bool {
        matches!(self.source, Source::Cpu { tick, .. } if first >= tick && !tick.is_zero())
    }

    /// A timer for that thread, which is due after `first`. `None`: the system gives none, or none
    /// is needed.
    pub(super) fn timer(&mut self, clock: CpuClock, first: Duration) -> Option<Trigger> {
        if self.source == Source::Wall {
            return None;
        }
        let below = matches!(self.source, Source::Cpu { rate: Rate::Below, .. });
        match ThreadTimer::start(clock, first, if below { self.period } else { AT_ONCE }) {
            Ok(timer) => Some(Trigger::Timer { _timer: timer }),
            Err(cause) => {
                self.untimed += 1;
                // Whether its time is lost is known when a perf clock was asked for in its place.
                if !self.has_noted_no_timer {
                    self.has_noted_no_timer = true;
                    self.no_timer = Some(no_timer(&cause));
                }
                None
            }
        }
    }

    /// How a thread is timer_check at first that was given that by [`timer`](Self::timer).
    pub(super) fn first_timer_check(&self, trigger: Option<&Trigger>) -> TimerCheck {
        TimerCheck { untimed: trigger.is_none() && self.source != Source::Wall, ..TimerCheck::default() }
    }

    /// Whether threads need more than their timers from the first.
    pub(super) fn is_above_tick(&self) -> bool {
        matches!(self.source, Source::Cpu { rate: Rate::Above, .. })
    }

    /// Whether that thread, whose CPU clock is at `clock`, needs more than its timer. `runs`, asked
    /// once at most, tells whether it has a processor or waits for one.
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
            // One of many that wait for a processor runs for some periods in its first turn, before
            // there is anything to judge it by. But a thousand that sleep shall not have a thousand
            // files.
            let is_first = !std::mem::replace(&mut timer_check.known, true);
            return !timer_check.refused && (due > 0 || is_first && runs());
        }
        if timer_check.refused || due < timer_check.due + ENOUGH {
            return false;
        }
        let lost = thread_clock.lost_so_far() + thread_clock.missing(clock, period);
        // Half of them were merged, or have not come at all.
        let wants = (lost - timer_check.lost.min(lost)) * 2 >= due - timer_check.due;
        (timer_check.due, timer_check.lost) = (due, lost);
        wants
    }

    /// A perf clock for that thread; `None`: not to be had.
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

    /// Ends it.
    pub(super) fn end(&mut self, trigger: Option<Trigger>) {
        if let (Some(Trigger::Perf { .. }), PerfClocks::For(files)) = (trigger, &mut self.exact) {
            *files += 1;
        }
    }

    /// What kept threads from being sampled, as a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        (self.untimed > 0)
            .then(|| format!("{} threads got neither a timer nor a perf clock: [unsampled]", self.untimed))
    }

    /// How many threads a perf clock was wanted for and not to be had.
    pub(super) fn inexact(&self) -> u64 {
        self.inexact
    }

    /// The warnings to log. The caller logs them without a lock, since appenders are the user's.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

fn no_timer(cause: &io::Error) -> String {
    let limit = match cause.raw_os_error() {
        Some(libc::EAGAIN) => " (RLIMIT_SIGPENDING, `ulimit -i`)",
        _ => "",
    };
    format!("the system gives no timer for a thread: {cause}{limit}")
}

/// The kernel looks at timers once a tick: a period that is shorter takes perf clocks, if the
/// kernel permits them, which `probe` finds out; else it is lengthened to the tick.
pub(super) fn source(
    frequency: u32,
    tick: Option<Duration>,
    probe: &dyn Fn(Duration) -> io::Result<()>,
) -> (Source, Duration) {
    let asked = Duration::from_secs(1) / frequency.max(1);
    let tick = tick.unwrap_or_default();
    if asked >= tick.mul_f64(1.2) {
        return (Source::Cpu { tick, rate: Rate::Below }, asked);
    }
    if asked >= tick.mul_f64(0.9) {
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

/// Uniform in one period: so a thread that lives for a tenth of it is sampled in one case of ten.
///
/// The kernel looks at the clock at its ticks only, and finds what has expired by then. So what is
/// drawn is the tick: the first one of a thread's life, however early it comes, has its share of
/// tick / period as all others do. `random` is from 0 up to 1.
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
        // Where the tick is not known, any instant is.
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
        // It costs a look into /proc: once for each thread.
        let asked = || unreachable!("it was asked");
        assert!(!triggers.needs_perf_clock(&mut sleeps, &thread_clock, 999_999, asked));
        assert!(triggers.needs_perf_clock(&mut sleeps, &thread_clock, 1_000_000, asked));
        sleeps.refused = true;
        assert!(!triggers.needs_perf_clock(&mut sleeps, &thread_clock, 1_000_000, asked));
        let below = Triggers::new(ms(10), Source::Cpu { tick: ms(4), rate: Rate::Below });
        assert!(
            !below.is_above_tick()
                && !below.needs_perf_clock(&mut TimerCheck::default(), &thread_clock, 700_000, asked)
        );
    }
}
