//! The spans as a table for people, in the manner of Python's cProfile: a line for each name, over
//! all threads; and below it a line for each thread, if there are several.

use super::total::SpanTotal;
use crate::os::counted::counted;
use crate::profile::accounts::time;
use crate::thread::pool_names::without_numbers;
use std::collections::HashMap;
use std::fmt;

/// Names that are shown.
const MAX_NAMES: usize = 50;

/// Threads that are shown of one name.
const MAX_THREADS: usize = 8;

/// More siblings than this whose names differ in a number only are shown as one.
const MAX_ALIKE: usize = 8;

pub(in crate::profile) struct SpanTable<'a> {
    /// The most self time first, as in each of them.
    names: Vec<Name>,
    remarks: &'a [String],
}

struct Name {
    all: SpanTotal,
    threads: Vec<SpanTotal>,
}

impl SpanTable<'_> {
    pub(in crate::profile) fn new<'a>(totals: &[SpanTotal], remarks: &'a [String]) -> SpanTable<'a> {
        let mut names: Vec<Name> = Vec::new();
        let mut indexes: HashMap<&str, usize> = HashMap::new();
        for total in totals {
            match indexes.get(total.name()) {
                Some(&index) => {
                    names[index].all.take_in(total, "");
                    names[index].threads.push(total.clone());
                }
                None => {
                    indexes.insert(total.name(), names.len());
                    names.push(Name { all: total.clone(), threads: vec![total.clone()] });
                }
            }
        }
        for name in &mut names {
            name.fold_pools();
            name.threads.sort_by_key(|total| std::cmp::Reverse(total.self_time()));
        }
        names.sort_by_key(|name| std::cmp::Reverse(name.all.self_time()));
        SpanTable { names, remarks }
    }
}

impl Name {
    fn fold_pools(&mut self) {
        let mut alike: HashMap<String, usize> = HashMap::new();
        for total in &self.threads {
            *alike.entry(without_numbers(total.path())).or_default() += 1;
        }
        let mut pools: HashMap<String, usize> = HashMap::new();
        let mut threads: Vec<SpanTotal> = Vec::new();
        for total in self.threads.drain(..) {
            let path = without_numbers(total.path());
            if alike[&path] <= MAX_ALIKE {
                threads.push(total);
            } else if let Some(&index) = pools.get(&path) {
                threads[index].take_in(&total, &path);
            } else {
                pools.insert(path, threads.len());
                threads.push(total);
            }
        }
        self.threads = threads;
    }
}

impl fmt::Display for SpanTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>12}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  span",
            "calls", "self", "per call", "total", "per call", "longest"
        )?;
        for Name { all, threads } in self.names.iter().take(MAX_NAMES) {
            if let [only] = &threads[..] {
                line(f, only, &format!("{} ({})", only.name(), only.path()))?;
                continue;
            }
            line(f, all, all.name())?;
            for total in threads.iter().take(MAX_THREADS) {
                line(f, total, &format!("  {}", total.path()))?;
            }
            if let Some(more) = threads.len().checked_sub(MAX_THREADS).filter(|more| *more > 0) {
                writeln!(f, "{:>72}    and {}", "", counted(more as u64, "more thread"))?;
            }
        }
        if let Some(more) = self.names.len().checked_sub(MAX_NAMES).filter(|more| *more > 0) {
            writeln!(f, "{:>72}  and {}", "", counted(more as u64, "more name"))?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "{remark}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, total: &SpanTotal, name: &str) -> fmt::Result {
    writeln!(
        f,
        "{:>12}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {name}",
        total.calls(),
        time(total.self_time()),
        time(total.self_per_call()),
        time(total.total_time()),
        time(total.total_per_call()),
        time(total.longest()),
    )
}
