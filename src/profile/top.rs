//! The functions that used most time, as a list and as a table. Knows named stacks, no samples.

use crate::flame::{Names, Stacks};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The functions that used most time. Displayed, it is a table like that of `go tool pprof -top`,
/// with the threads that ran each function.
///
/// Functions that differ in type parameters only are one, as in the flamegraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    entries: Vec<TopEntry>,
    total: Duration,
}

/// A function's times, of all threads together and of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopEntry {
    function: Arc<str>,
    own: Duration,
    total: Duration,
    threads: Vec<TopThread>,
}

/// One thread's part in a function's times; threads of the same path are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopThread {
    path: Arc<str>,
    own: Duration,
    total: Duration,
}

/// Nanoseconds in a function itself, and with what it called.
#[derive(Clone, Copy, Default)]
struct Times {
    own: u64,
    total: u64,
}

impl Top {
    /// The `n` functions with most own time.
    pub(super) fn new(stacks: &Stacks, n: usize) -> Top {
        let names = Names::abridged(stacks);
        let mut functions: HashMap<&Arc<str>, HashMap<&Arc<str>, Times>> = HashMap::new();
        let mut total = 0;
        for stack in &stacks.stacks {
            total += stack.weight;
            let shown = names.of(stack);
            let mut add = |function, times: fn(&mut Times) -> &mut u64| {
                *times(functions.entry(function).or_default().entry(&stack.label).or_default()) += stack.weight;
            };
            // A function that calls itself counts once per stack.
            let mut seen = HashSet::new();
            for function in shown.iter().filter(|function| seen.insert(**function)) {
                add(function, |times| &mut times.total);
            }
            if let Some(leaf) = shown.last() {
                add(leaf, |times| &mut times.own);
            }
        }
        let mut entries: Vec<TopEntry> =
            functions.into_iter().map(|(function, threads)| TopEntry::new(function, threads)).collect();
        entries.sort_unstable_by(|a, b| (b.own, b.total, &a.function).cmp(&(a.own, a.total, &b.function)));
        entries.truncate(n);
        Top { entries, total: Duration::from_nanos(total) }
    }

    /// The functions, most own time first.
    pub fn entries(&self) -> &[TopEntry] {
        &self.entries
    }

    /// The time of all samples, also of functions that are not in the list.
    pub fn total(&self) -> Duration {
        self.total
    }
}

impl TopEntry {
    /// Adds up the times of the threads.
    fn new(function: &Arc<str>, threads: HashMap<&Arc<str>, Times>) -> TopEntry {
        let sum = |of: fn(&Times) -> u64| Duration::from_nanos(threads.values().map(of).sum());
        let (own, total) = (sum(|times| times.own), sum(|times| times.total));
        let mut threads: Vec<TopThread> = threads
            .into_iter()
            .map(|(path, times)| TopThread {
                path: path.clone(),
                own: Duration::from_nanos(times.own),
                total: Duration::from_nanos(times.total),
            })
            .collect();
        threads
            .sort_unstable_by(|a, b| (Reverse((a.own, a.total)), &a.path).cmp(&(Reverse((b.own, b.total)), &b.path)));
        TopEntry { function: function.clone(), own, total, threads }
    }

    /// The function's name, demangled, without type parameters.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Time in the function itself: `flat` in pprof.
    pub fn self_time(&self) -> Duration {
        self.own
    }

    /// Time in the function and in the functions that it called: `cum` in pprof.
    pub fn total_time(&self) -> Duration {
        self.total
    }

    /// The threads that ran it, most own time first.
    pub fn threads(&self) -> &[TopThread] {
        &self.threads
    }
}

impl TopThread {
    /// The thread's path, `main/crawler/fetcher-3`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The thread's time in the function itself.
    pub fn self_time(&self) -> Duration {
        self.own
    }

    /// The thread's time in the function and in the functions that it called.
    pub fn total_time(&self) -> Duration {
        self.total
    }
}

/// The maximum number of threads that the table names for a function.
const NAMED: usize = 3;

impl fmt::Display for Top {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.total.as_secs_f64();
        write!(f, "{:>10} {:>7} {:>7} {:>10} {:>7}  of {:.2}s", "flat", "flat%", "sum%", "cum", "cum%", whole)?;
        let mut sum = Duration::ZERO;
        for entry in &self.entries {
            sum += entry.own;
            let (flat, cumulated) = (entry.own.as_secs_f64(), entry.total.as_secs_f64());
            let (own, sum) = (percent(entry.own, self.total), percent(sum, self.total));
            let (total, function) = (percent(entry.total, self.total), &entry.function);
            write!(f, "\n{flat:>9.2}s {own:>6.2}% {sum:>6.2}% {cumulated:>9.2}s {total:>6.2}%  {function}")?;
            entry.write_threads(f)?;
        }
        Ok(())
    }
}

impl TopEntry {
    /// ` (main/reader-1 60%, main/reader-2 40%)`: shares of the function's own time; if it has
    /// none, of its total time.
    fn write_threads(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |thread: &TopThread| if self.own.is_zero() { thread.total } else { thread.own };
        let whole = if self.own.is_zero() { self.total } else { self.own };
        let threads: Vec<_> = self.threads.iter().filter(|thread| !time(thread).is_zero()).collect();
        for (index, thread) in threads.iter().take(NAMED).enumerate() {
            let share = percent(time(thread), whole);
            write!(f, "{}{} {share:.0}%", if index == 0 { "  (" } else { ", " }, thread.path)?;
        }
        match threads.len() {
            0 => Ok(()),
            count if count > NAMED => write!(f, ", {} more)", count - NAMED),
            _ => f.write_str(")"),
        }
    }
}

fn percent(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { 100.0 * part.as_secs_f64() / whole.as_secs_f64() }
}
