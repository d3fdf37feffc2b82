//! How long one thread has waited in all, for what, and which threads ended its waits. Each wait is
//! counted when it is over. Knows neither the recording nor the thread.
//!
//! Invariant: each wait is in one entry, and its time belongs to one ender. So the sum over the
//! enders of an entry is the entry's time, and no limit loses time: beyond [`MAX_LABELS`] names a
//! wait is counted under its kind, and beyond [`MAX_ENDERS`] enders under the rest.

use super::sampling::Weight;
use super::stack_sums::{StackNumber, StackSums, TakenStack};
use std::sync::Arc;

/// Names of waits that are kept apart.
const MAX_LABELS: usize = 256;

/// Threads that ended waits of one name and are kept apart.
const MAX_ENDERS: usize = 64;

/// Waits of one kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitEntry {
    pub(crate) kind: &'static str,
    /// `None`: waits for many things, whose names were too many.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) count: u64,
    pub(crate) nanos: u64,
    pub(crate) longest: u64,
    pub(crate) enders: Vec<EnderEntry>,
}

/// The waits of one name that one thread ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnderEntry {
    /// A number as in `identity`, or a cause. Told apart by it, since paths may be equal.
    pub(super) by: u64,
    /// The path of the thread, or the cause.
    pub(crate) name: Arc<str>,
    pub(crate) nanos: u64,
    pub(crate) count: u64,
    pub(crate) stacks: StackSums,
}

/// What was waited for. `name` as in [`WaitEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitLabel {
    pub(crate) kind: &'static str,
    pub(crate) name: Option<Arc<str>>,
}

/// The waits of one thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitTotals {
    entries: Vec<WaitEntry>,
    /// The number of stacks in all entries.
    stacks: usize,
    /// Nanoseconds from the ends of its sleeps until the thread ran again.
    woken: u64,
}

impl WaitTotals {
    /// The number of the entry for waits of that kind and name, made if need be. It stays the same.
    pub(super) fn entry(&mut self, kind: &'static str, name: &Arc<str>) -> u16 {
        let is_known = |entry: &WaitEntry| {
            let is_name = |known: &Arc<str>| Arc::ptr_eq(known, name) || known == name;
            entry.kind == kind && entry.name.as_ref().is_some_and(is_name)
        };
        let known = self.entries.iter().position(is_known);
        known.unwrap_or_else(|| self.open(kind, name)) as u16
    }

    /// The kinds and names of the entries, by their numbers.
    pub(super) fn names(&self) -> Vec<WaitLabel> {
        self.entries.iter().map(|entry| WaitLabel { kind: entry.kind, name: entry.name.clone() }).collect()
    }

    /// Counts a wait that took `nanos` and was ended by `by`, whose name `name_of` finds. Returns
    /// `true` if no such wait has a stack yet.
    pub(super) fn add(
        &mut self,
        entry: u16,
        nanos: u64,
        by: u64,
        taken: Option<TakenStack>,
        name_of: fn(u64) -> Arc<str>,
    ) -> bool {
        let entry = &mut self.entries[usize::from(entry)];
        entry.count += 1;
        entry.nanos += nanos;
        entry.longest = entry.longest.max(nanos);
        let ender = entry.ender(by, name_of);
        ender.nanos += nanos;
        ender.count += 1;
        if let Some(taken) = taken {
            ender.stacks.add(taken, &mut self.stacks);
        }
        ender.stacks.is_empty()
    }

    /// The stack of a wait that was counted without one, as the first that ended so.
    pub(super) fn add_stack(&mut self, entry: u16, by: u64, stack: StackNumber) {
        let entry = self.entries.get_mut(usize::from(entry));
        let ender = entry.and_then(|entry| entry.enders.iter_mut().find(|ender| ender.by == by || ender.by == REST));
        if let Some(ender) = ender.filter(|ender| ender.stacks.is_empty()) {
            // It has no weight: which waits weigh is left to chance.
            ender.stacks.add(TakenStack { weight: Weight::default(), stack: Some(stack) }, &mut self.stacks);
        }
    }

    /// The index of a new entry; beyond the limit, of the one for all other waits of that kind.
    fn open(&mut self, kind: &'static str, name: &Arc<str>) -> usize {
        let is_full = self.entries.len() >= MAX_LABELS;
        if is_full && let Some(index) = self.entries.iter().position(|entry| entry.kind == kind && entry.name.is_none())
        {
            return index;
        }
        let name = (!is_full).then(|| name.clone());
        self.entries.push(WaitEntry { kind, name, count: 0, nanos: 0, longest: 0, enders: Vec::new() });
        self.entries.len() - 1
    }

    /// A sleep was over so many nanoseconds before the thread ran.
    pub(crate) fn add_woken(&mut self, nanos: u64) {
        self.woken += nanos;
    }

    /// How long, after all its sleeps, the thread was woken and did not run yet, in nanoseconds. What it
    /// used on a processor before it read the clock is in it.
    pub(crate) fn woken(&self) -> u64 {
        self.woken
    }

    pub(crate) fn into_entries(self) -> Vec<WaitEntry> {
        self.entries
    }
}

impl WaitEntry {
    /// The entry of that ender; beyond the limit, the last one, which stands for the rest from then
    /// on.
    fn ender(&mut self, by: u64, name_of: fn(u64) -> Arc<str>) -> &mut EnderEntry {
        let known = self.enders.iter().position(|ender| ender.by == by);
        let is_full = self.enders.len() >= MAX_ENDERS;
        let index = known.unwrap_or_else(|| {
            if is_full {
                let rest = &mut self.enders[MAX_ENDERS - 1];
                (rest.by, rest.name) = (REST, "[others]".into());
            } else {
                let stacks = StackSums::default();
                self.enders.push(EnderEntry { by, name: name_of(by), nanos: 0, count: 0, stacks });
            }
            self.enders.len() - 1
        });
        &mut self.enders[index]
    }
}

/// In the place of a number: more than one thread.
const REST: u64 = u64::MAX - 2;

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    fn name_of(by: u64) -> Arc<str> {
        format!("main/{by}").into()
    }

    fn add(totals: &mut WaitTotals, kind: &'static str, name: &Arc<str>, nanos: u64, by: u64) {
        let entry = totals.entry(kind, name);
        totals.add(entry, nanos, by, None, name_of);
    }

    #[test]
    fn each_wait_is_in_one_entry_and_belongs_to_one_ender() {
        let mut totals = WaitTotals::default();
        let (jobs, results): (Arc<str>, Arc<str>) = ("jobs".into(), "results".into());
        add(&mut totals, "queue", &jobs, 10, 1);
        add(&mut totals, "queue", &"jobs".into(), 30, 2);
        add(&mut totals, "queue", &jobs, 5, 1);
        add(&mut totals, "room in queue", &jobs, 7, 1);
        add(&mut totals, "queue", &results, 1, 1);
        let entries = totals.into_entries();
        let names: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.name.as_deref().unwrap())).collect();
        assert_eq!(names, [("queue", "jobs"), ("room in queue", "jobs"), ("queue", "results")]);
        let first = &entries[0];
        assert_eq!((first.count, first.nanos, first.longest), (3, 45, 30));
        let enders: Vec<_> = first.enders.iter().map(|ender| (&*ender.name, ender.nanos)).collect();
        assert_eq!(enders, [("main/1", 15), ("main/2", 30)]);
    }

    #[test]
    fn too_many_names_and_enders_lose_no_time() {
        let mut totals = WaitTotals::default();
        for n in 0..10_000 {
            add(&mut totals, "lock", &format!("lock {}", n % 1_000).into(), 1, n % 300);
            add(&mut totals, "queue", &"jobs".into(), 1, n);
        }
        let entries = totals.into_entries();
        assert!(entries.len() <= MAX_LABELS + 2, "{}", entries.len());
        assert!(entries.iter().all(|entry| entry.enders.len() <= MAX_ENDERS));
        for kind in ["lock", "queue"] {
            let of_kind = || entries.iter().filter(|entry| entry.kind == kind);
            assert_eq!(of_kind().map(|entry| entry.nanos).sum::<u64>(), 10_000);
            assert_eq!(of_kind().map(|entry| entry.count).sum::<u64>(), 10_000);
            let enders = of_kind().flat_map(|entry| &entry.enders).map(|ender| ender.nanos);
            assert_eq!(enders.sum::<u64>(), 10_000);
        }
        assert!(entries.iter().any(|entry| entry.name.is_none()));
    }

    #[test]
    fn the_enders_beyond_the_limit_are_the_others() {
        let mut totals = WaitTotals::default();
        for by in 0..MAX_ENDERS as u64 + 2 {
            add(&mut totals, "queue", &"jobs".into(), 1, by);
        }
        let jobs = totals.into_entries().remove(0);
        let [.., named, others] = &jobs.enders[..] else { panic!("{jobs:?}") };
        assert_eq!((&*named.name, named.count), (&*name_of(MAX_ENDERS as u64 - 2), 1));
        assert_eq!((&*others.name, others.count), ("[others]", 3));
    }
}
