//! The account of one thread: CPU, runnable, waits by name and by what ended them, outside.
//!
//! Invariant: `lifetime = cpu + runnable + sum of waits + outside - excess`, to the nanosecond, and
//! one of `outside` and `excess` is zero. The parts are measured apart from each other: a CPU
//! clock, the kernel's count of the time in its run queue, and the stamps of this crate's waits.
//!
//! The kernel counts a thread from when it is in a run queue. If the processor was idle, it has to be woken
//! first. On a virtual machine that takes up to tens of microseconds. A woken thread is runnable in that
//! time too. The stamps tell how long each thread was woken and did not run. The part of it that the kernel
//! has not counted is runnable, and is taken from outside. So it is never more than what is outside.
//!
//! What the system ends has no stamp: such a wait is measured until its thread runs. The time in
//! the run queue, and that of the system calls around the sleep, are in it. By as much as the parts
//! exceed the lifetime for that, it is cut.

use crate::wait::{StackNumber, StackSums, WaitEntry, WaitTotals};
use std::sync::Arc;
use std::time::Duration;

/// Where the lifetime of one thread went, or of a pool of ended threads.
///
/// `lifetime = cpu + runnable + sum of waits + outside`. All times are of the recording alone. See
/// [`Profile::accounts`](crate::profile::Profile::accounts).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub(super) path: Arc<str>,
    pub(super) lifetime: Duration,
    pub(super) cpu: Duration,
    pub(super) runnable: Option<Duration>,
    pub(super) waits: Vec<WaitTotal>,
    pub(super) members: u64,
}

/// The waits of one kind and name in an [`Account`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitTotal {
    pub(super) kind: &'static str,
    pub(super) name: Arc<str>,
    pub(super) count: u64,
    pub(super) total: Duration,
    pub(super) longest: Duration,
    pub(super) ended_by: Vec<(Arc<str>, Duration)>,
    pub(super) enders: Vec<EndedWaits>,
}

/// The waits of one name that threads of one path ended, by the stacks of the blocking calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::profile) struct EndedWaits {
    name: Arc<str>,
    nanos: u64,
    /// Nanoseconds that were counted twice, and are not in `nanos`.
    cut: u64,
    count: u64,
    stacks: StackSums,
}

impl Account {
    /// An account with its waits, the longest in all first.
    pub(super) fn new(
        path: Arc<str>,
        lifetime: Duration,
        cpu: Duration,
        runnable: Option<Duration>,
        waits: WaitTotals,
    ) -> Account {
        let woken = Duration::from_nanos(waits.woken());
        let waits: Vec<_> = waits.into_entries().into_iter().map(WaitTotal::new).collect();
        let mut account = Account { path, lifetime, cpu, runnable, waits, members: 1 };
        account.cut_unstamped();
        account.count_waking(woken);
        account.sort();
        account
    }

    /// The thread was woken for so long before it ran. The kernel does not count the time before the
    /// thread was in a run queue. That time is runnable too.
    fn count_waking(&mut self, woken: Duration) {
        let outside = self.outside();
        if let Some(runnable) = &mut self.runnable {
            *runnable += woken.saturating_sub(*runnable).min(outside);
        }
    }

    /// Takes out of waits without a stamp what is counted twice.
    fn cut_unstamped(&mut self) {
        let twice = nanos(self.excess());
        let enders = self.waits.iter_mut().flat_map(|wait| &mut wait.enders);
        let unstamped: Vec<&mut EndedWaits> = enders.filter(|ender| is_unstamped(&ender.name)).collect();
        let cuts = cuts(twice, unstamped.iter().map(|ender| ender.nanos));
        for (ender, cut) in unstamped.into_iter().zip(cuts) {
            ender.nanos -= cut;
            ender.cut += cut;
        }
        self.waits.iter_mut().for_each(WaitTotal::sum_up);
    }

    /// The same account with nothing cut out of it. Its waits only grow from one reading to the
    /// next; the cut of one wait falls and rises with the others.
    #[cfg(any(feature = "inspect", feature = "push", test))]
    pub(in crate::profile) fn uncut(mut self) -> Account {
        for ender in self.waits.iter_mut().flat_map(|wait| &mut wait.enders) {
            ender.nanos += std::mem::take(&mut ender.cut);
        }
        self.waits.iter_mut().for_each(WaitTotal::sum_up);
        self
    }

    /// Kind, name, number and time of its waits, with nothing cut out of them: see
    /// [`uncut`](Self::uncut).
    #[cfg(feature = "inspect")]
    pub(super) fn uncut_waits(&self) -> impl Iterator<Item = (&'static str, &str, u64, Duration)> {
        self.waits.iter().map(|wait| {
            let nanos = wait.enders.iter().map(|ender| ender.nanos + ender.cut).sum();
            (wait.kind, &*wait.name, wait.count, Duration::from_nanos(nanos))
        })
    }

    /// The thread's path, `main/crawler/fetcher-3`; of a pool, with `*` for what differs.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many threads this stands for: 1, or more for a pool of ended threads.
    pub fn members(&self) -> u64 {
        self.members
    }

    /// How long the thread lived while the recording ran.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// What its CPU clock went on by.
    pub fn cpu(&self) -> Duration {
        self.cpu
    }

    /// How long it was ready to run and had no processor: `run_delay` of the kernel, and the time that it
    /// takes to wake a processor for it. Zero where the kernel does not count the former: see
    /// [`is_runnable_known`](Self::is_runnable_known).
    pub fn runnable(&self) -> Duration {
        self.runnable.unwrap_or_default()
    }

    /// Returns `true` if the kernel counts the time in its run queue. Otherwise that time is in
    /// [`outside`](Self::outside).
    pub fn is_runnable_known(&self) -> bool {
        self.runnable.is_some()
    }

    /// Its waits in this crate, the most time first.
    pub fn waits(&self) -> &[WaitTotal] {
        &self.waits
    }

    /// The rest: blocked in calls that are not of this crate, such as a read from a disk, a lock of
    /// another library or a sleep.
    pub fn outside(&self) -> Duration {
        self.lifetime.saturating_sub(self.known())
    }

    /// By how much the parts exceed the lifetime. Nearly zero: the parts are measured apart.
    pub fn excess(&self) -> Duration {
        self.known().saturating_sub(self.lifetime)
    }

    fn known(&self) -> Duration {
        self.cpu + self.runnable() + self.waits.iter().map(WaitTotal::total).sum::<Duration>()
    }

    /// Adds the times of other threads, but not their waits.
    pub(super) fn add_times(&mut self, other: &Account) {
        self.lifetime += other.lifetime;
        self.cpu += other.cpu;
        // Known only if it is known of all.
        self.runnable = self.runnable.zip(other.runnable).map(|(a, b)| a + b);
        self.members += other.members;
    }

    /// Adds another thread's account to this one, which is called `path` from now on. To be shown,
    /// with all names: what is kept goes through `fold`.
    pub(super) fn take_in(&mut self, other: Account, path: Arc<str>) {
        self.path = path;
        self.add_times(&other);
        for wait in other.waits {
            match self.waits.iter_mut().find(|known| known.kind == wait.kind && known.name == wait.name) {
                Some(known) => known.take_in(wait),
                None => self.waits.push(wait),
            }
        }
        self.sort();
    }

    pub(super) fn sort(&mut self) {
        self.waits.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns `true` for waits that were not ended by a thread or at a known time.
pub(super) fn is_unstamped(ender: &str) -> bool {
    matches!(ender, "[outside]" | "[unknown]")
}

/// What of `twice` is to be cut out of each of these times: in proportion, and what rounding leaves
/// out of the last.
pub(super) fn cuts(twice: u64, times: impl Iterator<Item = u64> + Clone) -> Vec<u64> {
    let mut rest: u64 = times.clone().sum();
    let mut left = twice.min(rest);
    let cut = |time: u64| {
        let cut = (u128::from(left) * u128::from(time)).checked_div(rest.into()).unwrap_or(0) as u64;
        (rest, left) = (rest - time, left - cut);
        cut
    };
    times.map(cut).collect()
}

impl EndedWaits {
    /// The path of the thread, or the cause, as in [`WaitTotal::ended_by`].
    pub(in crate::profile) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The same waits under another name.
    pub(super) fn with_name(self, name: Arc<str>) -> EndedWaits {
        EndedWaits { name, ..self }
    }

    /// Adds waits of the same name.
    pub(super) fn take_in(&mut self, more: EndedWaits) {
        self.nanos += more.nanos;
        self.cut += more.cut;
        self.count += more.count;
        self.stacks.take_in(more.stacks);
    }

    /// Stacks, nanoseconds and numbers of waits. The sums over all stacks are exact. `None`: no
    /// stack could be had.
    pub(in crate::profile) fn by_stack(&self) -> Vec<(Option<StackNumber>, u64, u64)> {
        self.stacks.split(self.nanos, self.count)
    }
}

impl WaitTotal {
    /// Made up: waits for a lock, and how many nanoseconds which thread ended.
    #[cfg(test)]
    pub(super) fn for_lock(name: &str, by: &[(&str, u64)]) -> WaitTotal {
        let ended = |(name, nanos): &(&str, u64)| EndedWaits {
            name: Arc::from(*name),
            nanos: *nanos,
            cut: 0,
            count: 1,
            stacks: StackSums::default(),
        };
        let (enders, count) = (by.iter().map(ended).collect(), by.len() as u64);
        let (total, longest) = (Duration::ZERO, Duration::MAX);
        let mut made = WaitTotal { kind: "lock", name: name.into(), count, total, longest, ended_by: vec![], enders };
        made.sum_up();
        made
    }

    fn new(entry: WaitEntry) -> WaitTotal {
        let mut enders: Vec<EndedWaits> = Vec::new();
        for ender in entry.enders {
            let (name, stacks) = (ender.name, ender.stacks);
            take_in(&mut enders, EndedWaits { name, nanos: ender.nanos, cut: 0, count: ender.count, stacks });
        }
        let mut total = WaitTotal {
            kind: entry.kind,
            name: entry.name.unwrap_or_else(|| "[others]".into()),
            count: entry.count,
            total: Duration::ZERO,
            longest: Duration::from_nanos(entry.longest),
            ended_by: Vec::new(),
            enders,
        };
        total.sum_up();
        total
    }

    /// Waits of that kind and name, none up to now.
    pub(super) fn empty(kind: &'static str, name: Arc<str>) -> WaitTotal {
        let (total, longest) = (Duration::ZERO, Duration::ZERO);
        WaitTotal { kind, name, count: 0, total, longest, ended_by: Vec::new(), enders: Vec::new() }
    }

    /// The times are those of the enders.
    pub(super) fn sum_up(&mut self) {
        let by_name = self.enders.iter().map(|ender| (ender.name.clone(), Duration::from_nanos(ender.nanos)));
        self.ended_by = by_name.collect();
        self.total = self.ended_by.iter().map(|(_, time)| *time).sum();
        self.longest = self.longest.min(self.total);
        self.sort();
    }

    pub(super) fn sort(&mut self) {
        self.ended_by.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    }

    fn take_in(&mut self, other: WaitTotal) {
        self.count += other.count;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
        for (name, time) in other.ended_by {
            match self.ended_by.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known += time,
                None => self.ended_by.push((name, time)),
            }
        }
        other.enders.into_iter().for_each(|ender| take_in(&mut self.enders, ender));
        self.sort();
    }

    /// The same as [`ended_by`](Self::ended_by), with stacks.
    pub(in crate::profile) fn enders(&self) -> &[EndedWaits] {
        &self.enders
    }

    /// What kind of thing was waited for, as in [`Wait::kind`](crate::Wait::kind).
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its name, without a part that differs at each call. `[others]`: beyond 256 names, waits of one
    /// kind are one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many waits. Waits that ended without a sleep are not counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long they took: from when the thread fell asleep until the wait was ended. A wait that
    /// the system ends is measured until the thread runs; what is counted twice by that is
    /// taken out of it: by how much the parts would exceed the lifetime.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The longest of them.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Which threads ended the waits, by path, and the time of the waits that each ended, the most
    /// time first. The times add up to [`total`](Self::total).
    ///
    /// `[clock]`: a deadline or a [`Till`](crate::Till). `[outside]`: the system, as for input and
    /// sockets. `[unknown]`: the wait goes on, or what ends it is not stamped. `[ended thread]`: a
    /// thread that had ended before it could be named. `[others]`: many threads.
    ///
    /// There are at most 64 for one thread, and for a pool of ended threads. For such a pool, paths
    /// have `*` for numbers.
    pub fn ended_by(&self) -> &[(Arc<str>, Duration)] {
        &self.ended_by
    }
}

/// Adds `more` to the ender of the same name.
fn take_in(enders: &mut Vec<EndedWaits>, more: EndedWaits) {
    match enders.iter_mut().find(|known| known.name == more.name) {
        Some(known) => known.take_in(more),
        None => enders.push(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(path: &str, lifetime: u64, cpu: u64, runnable: Option<u64>) -> Account {
        let nanos = Duration::from_nanos;
        let waits = WaitTotals::default();
        Account::new(path.into(), nanos(lifetime), nanos(cpu), runnable.map(nanos), waits)
    }

    fn wait(name: &str, total: u64, by: &[(&str, u64)]) -> WaitTotal {
        let enders = by.iter().map(|(name, nanos)| (Arc::from(*name), Duration::from_nanos(*nanos))).collect();
        let total = Duration::from_nanos(total);
        WaitTotal {
            kind: "queue",
            name: name.into(),
            count: 1,
            total,
            longest: total,
            ended_by: enders,
            enders: Vec::new(),
        }
    }

    #[test]
    fn the_parts_add_up_to_the_lifetime() {
        let mut one = account("main/reader-1", 1_000, 300, Some(50));
        one.waits = vec![wait("jobs", 400, &[("main/walker", 400)])];
        assert_eq!((one.outside(), one.excess()), (Duration::from_nanos(250), Duration::ZERO));
        one.waits.push(wait("results", 300, &[]));
        assert_eq!((one.outside(), one.excess()), (Duration::ZERO, Duration::from_nanos(50)));
    }

    #[test]
    fn the_time_to_wake_a_processor_is_runnable() {
        // 500 of 1,000 are CPU time.
        let woken = |woken, runnable: Option<u64>| {
            let mut waits = WaitTotals::default();
            waits.add_woken(woken);
            let nanos = Duration::from_nanos;
            let one = Account::new("main".into(), nanos(1_000), nanos(500), runnable.map(nanos), waits);
            (one.runnable().as_nanos(), one.outside().as_nanos(), one.excess().as_nanos())
        };
        assert_eq!(woken(150, Some(40)), (150, 350, 0));
        // The kernel has counted it all.
        assert_eq!(woken(150, Some(200)), (200, 300, 0));
        // Part of it was CPU time.
        assert_eq!(woken(600, Some(40)), (500, 0, 0));
        assert_eq!(woken(150, None), (0, 500, 0));
    }

    #[test]
    fn a_wait_without_a_stamp_has_no_time_that_is_runnable() {
        let stacks = StackSums::default;
        let ended = |name: &str, nanos| EndedWaits { name: name.into(), nanos, cut: 0, count: 1, stacks: stacks() };
        let mut one = account("main/connection", 1_000, 100, Some(400));
        let mut data = wait("data", 0, &[]);
        data.enders = vec![ended("[outside]", 500), ended("main", 200), ended("[unknown]", 100)];
        data.sum_up();
        one.waits = vec![data];
        assert_eq!(one.excess(), Duration::from_nanos(300));
        one.cut_unstamped();
        assert_eq!((one.excess(), one.outside()), (Duration::ZERO, Duration::ZERO));
        let by: Vec<_> = one.waits()[0].ended_by().iter().map(|(name, time)| (&**name, time.as_nanos())).collect();
        assert_eq!(by, [("[outside]", 250), ("main", 200), ("[unknown]", 50)]);
        assert_eq!(one.waits()[0].total(), Duration::from_nanos(500));
        // What is in no such wait is shown.
        one.cpu = Duration::from_nanos(900);
        one.cut_unstamped();
        assert_eq!((one.waits()[0].total(), one.excess()), (Duration::from_nanos(200), Duration::from_nanos(500)));
        // As it was counted.
        let by: Vec<_> = one.uncut().waits()[0].ended_by().iter().map(|(_, time)| time.as_nanos()).collect();
        assert_eq!(by, [500, 200, 100]);
    }

    #[test]
    fn a_pool_has_the_sums_of_its_members() {
        let mut one = account("main/reader-1", 1_000, 300, Some(50));
        one.waits = vec![wait("jobs", 400, &[("main/walker", 300), ("[clock]", 100)])];
        let mut other = account("main/reader-2", 2_000, 700, Some(10));
        other.waits = vec![wait("results", 500, &[]), wait("jobs", 250, &[("[clock]", 250)])];
        one.take_in(other, "main/reader-*".into());
        assert_eq!((one.path(), one.members()), ("main/reader-*", 2));
        assert_eq!(one.lifetime(), Duration::from_nanos(3_000));
        assert_eq!((one.cpu(), one.runnable()), (Duration::from_nanos(1_000), Duration::from_nanos(60)));
        assert_eq!(one.outside(), Duration::from_nanos(3_000 - 1_000 - 60 - 400 - 250 - 500));
        let jobs = &one.waits()[0];
        assert_eq!((jobs.name(), jobs.count(), jobs.longest()), ("jobs", 2, Duration::from_nanos(400)));
        let nanos = Duration::from_nanos;
        assert_eq!(jobs.ended_by(), [("[clock]".into(), nanos(350)), ("main/walker".into(), nanos(300))]);
        one.take_in(account("main/reader-3", 10, 1, None), "main/reader-*".into());
        assert!(!one.is_runnable_known());
    }
}
