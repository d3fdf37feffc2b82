//! The critical path, as users hold it.

use super::blame::percent;
use super::course::{Activity, Courses};
use super::path::PathStep;
use super::shown::{Shown, show};
use crate::error::Error;
use crate::flame::{self, FlameOptions, Stacks};
use crate::profile::accounts::time;
use crate::profile::traced_stacks::TracedStacks;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Functions that the table shows.
const MAX_FUNCTIONS: usize = 15;
/// Threads that the table names for a function.
const MAX_THREADS: usize = 3;

/// What the run, or a span, had to wait for: the steps that follow each other from its begin to its
/// end.
///
/// Found backwards from the end of `main`, or of the span: as long as a thread ran, its code; where
/// it waited, what the thread did that ended the wait. The steps add up to the whole time. Only
/// functions on this path are worth making faster. Displayed, it is the table of these functions.
///
/// See [`Profile::critical_path`](crate::profile::Profile::critical_path).
#[derive(Clone, Debug, Default)]
pub struct CriticalPath {
    what: String,
    length: Duration,
    steps: Vec<Step>,
    functions: Vec<PathFunction>,
    stacks: Stacks,
}

/// What one thread did on a [`CriticalPath`], without interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    thread: Arc<str>,
    from: Duration,
    to: Duration,
    what: Arc<str>,
}

/// How much of a [`CriticalPath`] one function took, or another activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFunction {
    what: Arc<str>,
    time: Duration,
    threads: Vec<(Arc<str>, Duration)>,
}

impl CriticalPath {
    /// `what`: whose path it is, for titles.
    pub(super) fn new(courses: &Courses<'_>, named: &TracedStacks, what: String, path: &[PathStep]) -> CriticalPath {
        let trace = courses.trace;
        let mut times: BTreeMap<(usize, Activity), u64> = BTreeMap::new();
        for step in path {
            for (activity, nanos) in &step.parts {
                *times.entry((step.thread, *activity)).or_default() += nanos;
            }
        }
        let drawn: Vec<_> = times.iter().map(|((by, activity), nanos)| (*by, Some(*activity), *nanos)).collect();
        let Shown { stacks, words } = show(trace, &courses.ends, named, &drawn);
        let words: HashMap<(usize, Activity), Arc<str>> = times.keys().copied().zip(words).collect();
        let mut functions: HashMap<Arc<str>, BTreeMap<Arc<str>, u64>> = HashMap::new();
        for (key, nanos) in &times {
            let path = trace.threads[key.0].path.clone();
            *functions.entry(words[key].clone()).or_default().entry(path).or_default() += nanos;
        }
        let mut functions: Vec<_> = functions.into_iter().map(PathFunction::new).collect();
        functions.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.what.cmp(&b.what)));
        let since_begin = |at: u64| Duration::from_nanos(at.saturating_sub(trace.begin));
        let steps = path.iter().map(|step| {
            let longest = step.parts.iter().max_by_key(|(_, nanos)| *nanos);
            Step {
                thread: trace.threads[step.thread].path.clone(),
                from: since_begin(step.from),
                to: since_begin(step.till),
                what: longest.map_or_else(|| "".into(), |(activity, _)| words[&(step.thread, *activity)].clone()),
            }
        });
        let length = Duration::from_nanos(path.iter().map(|step| step.till - step.from).sum());
        CriticalPath { what, length, steps: steps.collect(), functions, stacks }
    }

    /// How long the run or the span took: the sum of all steps.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// The steps, the first one first. Each begins where the step before ends.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What share each function has, the greatest first. The times add up to
    /// [`length`](Self::length).
    pub fn functions(&self) -> &[PathFunction] {
        &self.functions
    }

    /// Draws the path as a flamegraph: the threads, and on them the code that the run had to wait
    /// for. Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// use selvedge::profile::FlameOptions;
    /// let file = std::fs::File::create("path.svg")?;
    /// profile.critical_path().write_flamegraph(file, &FlameOptions::new())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_flamegraph(&self, out: impl Write, options: &FlameOptions) -> Result<(), Error> {
        let title = format!("critical path of {}: {}", self.what, time(self.length));
        let subtitle =
            "only faster code in here makes it shorter · width: time on the path · brown: not on a processor";
        flame::write_svg(&self.stacks, &title, subtitle, options, out)
    }

    /// Writes the same as folded stacks, as
    /// [`Profile::write_folded`](crate::profile::Profile::write_folded) does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), selvedge::Error> {
    /// profile.critical_path().write_folded(std::io::stdout())
    /// # }
    /// ```
    pub fn write_folded(&self, out: impl Write) -> Result<(), Error> {
        flame::write_folded(&self.stacks, out)
    }
}

impl Step {
    /// The path of the thread.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// When it began, since the recording began.
    pub fn from(&self) -> Duration {
        self.from
    }

    /// When it ended, since the recording began.
    pub fn to(&self) -> Duration {
        self.to
    }

    /// What the thread did most of that time, as in [`PathFunction::what`].
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl PathFunction {
    fn new((what, threads): (Arc<str>, BTreeMap<Arc<str>, u64>)) -> PathFunction {
        let time = Duration::from_nanos(threads.values().sum());
        let mut threads: Vec<_> =
            threads.into_iter().map(|(path, nanos)| (path, Duration::from_nanos(nanos))).collect();
        threads.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        PathFunction { what, time, threads }
    }

    /// What was done: ``in `parse` ``, ``outside in `fdatasync` of `save` ``, ``off the processor in
    /// `parse` ``, `runnable`, or a wait that no thread of the tree ended.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Its time on the path.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The threads that did it on the path, most time first.
    pub fn threads(&self) -> &[(Arc<str>, Duration)] {
        &self.threads
    }

    /// By how much the path can become shorter, at most, if this takes half the time. It is a bound:
    /// another path may take over before.
    pub fn gain_if_halved(&self) -> Duration {
        self.time / 2
    }
}

impl fmt::Display for CriticalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str("no critical path: waits were not recorded");
        }
        writeln!(f, "critical path of {}: {} in {} steps", self.what, time(self.length), self.steps.len())?;
        write!(f, "{:>9}  {:>7}  {:>15}  what", "time", "share", "at least, if ½")?;
        for function in self.functions.iter().take(MAX_FUNCTIONS) {
            let share = percent(function.time, self.length);
            let rest = self.length.saturating_sub(function.gain_if_halved());
            write!(f, "\n{:>9}  {share:>5.1} %  {:>15}  {}", time(function.time), time(rest), function.what)?;
            for (index, (path, took)) in function.threads.iter().take(MAX_THREADS).enumerate() {
                let share = percent(*took, function.time);
                write!(f, "{}{path} {share:.0} %", if index == 0 { "  (" } else { ", " })?;
            }
            match function.threads.len().checked_sub(MAX_THREADS) {
                Some(more) if more > 0 => write!(f, ", {more} more)")?,
                _ => f.write_str(")")?,
            }
        }
        if let Some(more) = self.functions.len().checked_sub(MAX_FUNCTIONS).filter(|more| *more > 0) {
            let rest = self.functions[MAX_FUNCTIONS..].iter().map(PathFunction::time).sum();
            write!(f, "\n{:>9}  {:>5.1} %  {:>15}  {more} more", time(rest), percent(rest, self.length), "")?;
        }
        f.write_str(
            "\nat least, if ½: a bound. If that took half the time, the whole would still take at least so long.",
        )
    }
}
