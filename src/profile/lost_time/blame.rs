//! Blame, as users hold it: which threads kept others waiting, and with what.

use super::course::{Activity, Courses};
use super::losses::{Loss, losses};
use super::path::{PathStep, path_of_run};
use super::shown::show;
use crate::flame::Stacks;
use crate::os::counted::counted;
use crate::profile::accounts::{is_runtimes_own, time};
use crate::profile::trace::Trace;
use crate::profile::traced_stacks::TracedStacks;
use crate::thread::pool_names::without_numbers;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of lines for all threads together.
const MAX_DOERS: usize = 10;
/// The maximum number of waiting threads that are shown.
const MAX_WAITING: usize = 20;
/// The maximum number of causes that are shown for a waiting thread.
const MAX_CAUSES: usize = 4;
/// More threads than this whose names differ in a number only are shown as one.
const MAX_ALIKE: usize = 8;

/// What threads did while other threads waited for them.
///
/// While A waits for B, A's time is B's doing; while B waits then for C, it is C's. Waits are
/// followed back in time, to code that ran, to a call outside of this crate, or to the clock.
/// Displayed, it is a table. See [`Profile::blame`](crate::profile::Profile::blame).
#[derive(Clone, Debug, Default)]
pub struct Blame {
    causes: Vec<Cause>,
    waiting: Vec<WaitingThread>,
    /// What is drawn.
    pub(in crate::profile) stacks: Stacks,
    path_length: Duration,
}

/// What one thread did while others waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    path: Arc<str>,
    what: Arc<str>,
    time: Duration,
    on_path: Duration,
}

/// A thread that waited, and what it waited for in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingThread {
    path: Arc<str>,
    threads: usize,
    lost: Duration,
    /// To other threads.
    to_others: Duration,
    causes: Vec<Cause>,
}

impl Blame {
    pub(in crate::profile) fn new(trace: &Trace, named: &TracedStacks) -> Blame {
        let courses = Courses::new(trace);
        let path = path_of_run(&courses);
        Blame::of(&courses, named, &path)
    }

    /// `path`: the critical path.
    fn of(courses: &Courses<'_>, named: &TracedStacks, path: &[PathStep]) -> Blame {
        let trace = courses.trace;
        let mut losses: Vec<(Loss, u64)> = losses(courses).into_iter().collect();
        losses.retain(|(loss, _)| !is_runtimes_own(&trace.threads[loss.of].path));
        losses.sort_unstable();
        let mut on_path: HashMap<(usize, Option<Activity>), u64> = HashMap::new();
        for step in path {
            for (activity, nanos) in &step.parts {
                *on_path.entry((step.thread, Some(*activity))).or_default() += nanos;
            }
        }
        let mut doers: BTreeMap<(usize, Option<Activity>), u64> = BTreeMap::new();
        // A wait that no other thread ended kept the thread itself.
        for (loss, nanos) in losses.iter().filter(|(loss, _)| loss.of != loss.by) {
            *doers.entry((loss.by, loss.activity)).or_default() += nanos;
        }
        let drawn: Vec<_> = doers.iter().map(|((by, activity), nanos)| (*by, *activity, *nanos)).collect();
        let shown = show(trace, &courses.ends, named, &drawn);
        let causes = drawn.iter().zip(&shown.words).map(|(doer @ (by, activity, _), what)| {
            let on_path = on_path.get(&(*by, *activity)).copied().unwrap_or(0);
            Cause::new(&trace.threads[*by].path, what, doer.2, on_path)
        });
        let causes = sums(causes, |cause| cause.on_path);
        let each: Vec<_> = losses.iter().map(|(loss, nanos)| (loss.by, loss.activity, *nanos)).collect();
        let words = show(trace, &courses.ends, named, &each).words;
        let mut waiting: Vec<WaitingThread> = Vec::new();
        let mut of_last = usize::MAX;
        for ((loss, nanos), what) in losses.iter().zip(&words) {
            if loss.of != of_last {
                of_last = loss.of;
                waiting.push(WaitingThread::new(&trace.threads[loss.of].path));
            }
            let cause = Cause::new(&trace.threads[loss.by].path, what, *nanos, 0);
            if let Some(last) = waiting.last_mut() {
                last.to_others += if loss.by == loss.of { Duration::ZERO } else { cause.time };
                last.causes.push(cause);
            }
        }
        let mut waiting = fold_pools(waiting);
        for thread in &mut waiting {
            thread.causes = sums(std::mem::take(&mut thread.causes).into_iter(), |cause| cause.time);
            thread.lost = thread.causes.iter().map(Cause::time).sum();
        }
        waiting.sort_by_key(|thread| std::cmp::Reverse((thread.to_others, thread.lost)));
        let path_length = Duration::from_nanos(path.iter().map(|step| step.till - step.from).sum());
        Blame { causes, waiting, stacks: shown.stacks, path_length }
    }

    /// What threads did while others waited for them. First what is on the critical path, most time
    /// on it first; then the rest, most lost time first.
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// The threads that waited, without the runtime's own. The threads that other threads kept waiting
    /// longest come first. Threads of a pool are one entry if they are more than 8.
    pub fn waiting(&self) -> &[WaitingThread] {
        &self.waiting
    }
}

impl Cause {
    fn new(path: &Arc<str>, what: &Arc<str>, nanos: u64, on_path: u64) -> Cause {
        let (time, on_path) = (Duration::from_nanos(nanos), Duration::from_nanos(on_path));
        Cause { path: path.clone(), what: what.clone(), time, on_path }
    }

    /// The path of the thread that did it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it did: ``in `parse` ``, ``outside in `fdatasync` of `save` ``, ``off the processor in
    /// `parse` ``, `runnable`, or a wait that no thread of the tree ended.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How long other threads waited for that, added up over the waiting threads.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// How much of it was on the [critical path](crate::profile::CriticalPath) of the run. Zero in
    /// [`WaitingThread::causes`].
    pub fn on_critical_path(&self) -> Duration {
        self.on_path
    }
}

impl WaitingThread {
    fn new(path: &Arc<str>) -> WaitingThread {
        let (lost, to_others) = (Duration::ZERO, Duration::ZERO);
        WaitingThread { path: path.clone(), threads: 1, lost, to_others, causes: Vec::new() }
    }

    /// The thread's path; of a pool, with `*` for what differs.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many threads this stands for.
    pub fn members(&self) -> usize {
        self.threads
    }

    /// How long it waited.
    pub fn lost(&self) -> Duration {
        self.lost
    }

    /// What it waited for in the end, most time first. The times add up to [`lost`](Self::lost).
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }
}

/// Adds up causes with the same words: the greatest by `first`, then by time, comes first.
fn sums(causes: impl Iterator<Item = Cause>, first: impl Fn(&Cause) -> Duration) -> Vec<Cause> {
    let mut sums: BTreeMap<(Arc<str>, Arc<str>), Cause> = BTreeMap::new();
    for cause in causes {
        match sums.get_mut(&(cause.path.clone(), cause.what.clone())) {
            Some(sum) => {
                sum.time += cause.time;
                sum.on_path += cause.on_path;
            }
            None => drop(sums.insert((cause.path.clone(), cause.what.clone()), cause)),
        }
    }
    let mut sums: Vec<Cause> = sums.into_values().collect();
    sums.sort_by_key(|cause| std::cmp::Reverse((first(cause), cause.time)));
    sums
}

/// Puts threads of a pool together if there are many. The causes are only collected.
fn fold_pools(threads: Vec<WaitingThread>) -> Vec<WaitingThread> {
    let mut alike: HashMap<String, usize> = HashMap::new();
    for thread in &threads {
        *alike.entry(without_numbers(&thread.path)).or_default() += 1;
    }
    let mut folded: Vec<WaitingThread> = Vec::new();
    let mut pools: HashMap<String, usize> = HashMap::new();
    for thread in threads {
        let path = without_numbers(&thread.path);
        if alike[&path] <= MAX_ALIKE {
            folded.push(thread);
        } else if let Some(&index) = pools.get(&path) {
            folded[index].threads += 1;
            folded[index].to_others += thread.to_others;
            folded[index].causes.extend(thread.causes);
        } else {
            pools.insert(path.clone(), folded.len());
            folded.push(WaitingThread { path: path.into(), ..thread });
        }
    }
    folded
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole: Duration = self.causes.iter().map(Cause::time).sum();
        if self.waiting.is_empty() {
            return f.write_str("no thread waited");
        }
        write!(f, "{:>9}  {:>13}  while other threads waited", "lost", "critical path")?;
        for cause in self.causes.iter().take(MAX_DOERS) {
            let share = percent(cause.on_path, self.path_length);
            write!(f, "\n{:>9}  {share:>11.1} %  {} {}", time(cause.time), cause.path, cause.what)?;
        }
        if let Some(more) = self.causes.len().checked_sub(MAX_DOERS).filter(|more| *more > 0) {
            let rest: Duration = self.causes[MAX_DOERS..].iter().map(Cause::time).sum();
            write!(f, "\n{:>9}  {:>13}  {}", time(rest), "", counted(more as u64, "more cause"))?;
        }
        write!(f, "\n{:>9}  in all", time(whole))?;
        for thread in self.waiting.iter().take(MAX_WAITING) {
            write!(f, "\n{thread}")?;
        }
        if let Some(more) = self.waiting.len().checked_sub(MAX_WAITING).filter(|more| *more > 0) {
            write!(f, "\n{} lost less", counted(more as u64, "more thread"))?;
        }
        Ok(())
    }
}

impl fmt::Display for WaitingThread {
    /// ``main lost 3.20 s to: main/parser in `parse` 2.10 s, the clock 800 ms``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = if self.threads == 1 { String::new() } else { format!(" ({} threads)", self.threads) };
        write!(f, "{}{members} lost {} to: ", self.path, time(self.lost))?;
        for (index, cause) in self.causes.iter().take(MAX_CAUSES).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // What it did itself was a wait that no other thread ended.
            let by = if cause.path == self.path { String::new() } else { format!("{} ", cause.path) };
            write!(f, "{comma}{by}{} {}", cause.what, time(cause.time))?;
        }
        if let Some(more) = self.causes.len().checked_sub(MAX_CAUSES).filter(|more| *more > 0) {
            let rest: Duration = self.causes[MAX_CAUSES..].iter().map(Cause::time).sum();
            write!(f, ", {more} more {}", time(rest))?;
        }
        Ok(())
    }
}

pub(super) fn percent(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { 100.0 * part.as_secs_f64() / whole.as_secs_f64() }
}
