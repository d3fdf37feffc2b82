//! The functions that used most time, as a list and as a table.

use crate::flame::Stacks;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The functions that used most time. Displayed, it is a table like that of `go tool pprof -top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    entries: Vec<TopEntry>,
    total: Duration,
}

/// A function's times, of all threads together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopEntry {
    function: Arc<str>,
    own: Duration,
    total: Duration,
}

impl Top {
    pub(super) fn new(stacks: &Stacks, n: usize) -> Top {
        let mut times: HashMap<&Arc<str>, (u64, u64)> = HashMap::new();
        let mut total = 0;
        for stack in &stacks.stacks {
            total += stack.weight;
            let mut seen = HashSet::new();
            let mut leaf = None;
            for function in stacks.functions(stack) {
                leaf = Some(function);
                // A function that calls itself has been there once all the same.
                if seen.insert(function) {
                    times.entry(function).or_default().1 += stack.weight;
                }
            }
            if let Some(leaf) = leaf {
                times.entry(leaf).or_default().0 += stack.weight;
            }
        }
        let entry = |(function, (own, total)): (&Arc<str>, (u64, u64))| TopEntry {
            function: function.clone(),
            own: Duration::from_nanos(own),
            total: Duration::from_nanos(total),
        };
        let mut entries: Vec<TopEntry> = times.into_iter().map(entry).collect();
        entries.sort_unstable_by(|a, b| (b.own, b.total, &a.function).cmp(&(a.own, a.total, &b.function)));
        entries.truncate(n);
        Top { entries, total: Duration::from_nanos(total) }
    }

    /// The functions, most own time first.
    pub fn entries(&self) -> &[TopEntry] {
        &self.entries
    }

    /// The time of all samples, those of functions that are not in the list too.
    pub fn total(&self) -> Duration {
        self.total
    }
}

impl TopEntry {
    /// The function's name, demangled.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Time in the function itself.
    pub fn self_time(&self) -> Duration {
        self.own
    }

    /// Time in the function and all that it called.
    pub fn total_time(&self) -> Duration {
        self.total
    }
}

impl fmt::Display for Top {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.total.as_secs_f64();
        let percent = |part: Duration| if whole > 0.0 { 100.0 * part.as_secs_f64() / whole } else { 0.0 };
        write!(f, "{:>10} {:>7} {:>7} {:>10} {:>7}  of {:.2}s", "flat", "flat%", "sum%", "cum", "cum%", whole)?;
        let mut sum = Duration::ZERO;
        for TopEntry { function, own, total } in &self.entries {
            sum += *own;
            let (flat, cumulated) = (own.as_secs_f64(), total.as_secs_f64());
            let (own, sum, total) = (percent(*own), percent(sum), percent(*total));
            write!(f, "\n{flat:>9.2}s {own:>6.2}% {sum:>6.2}% {cumulated:>9.2}s {total:>6.2}%  {function}")?;
        }
        Ok(())
    }
}
