//! What accounts have counted since an earlier reading of the same recording. The times add up: of
//! each thread, to what it has had between the two.
//!
//! A wait that went on at the earlier reading had no ender yet, and has one in the later reading. A
//! thread that has ended may stand with its pool in the later one. What the earlier reading has, and
//! the later one has not, is taken from the entries that it can have become, the largest first.

use super::account::{Account, WaitTotal, cuts, is_unstamped};
use super::fold::OTHERS;
use crate::thread::pool_names::{pool_of, without_numbers};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// `after` without what `before` has. No wait is longer than `length`, the time between the two.
pub(in crate::profile) fn since(mut after: Vec<Account>, before: &[Account], length: Duration) -> Vec<Account> {
    // With the number of members that are not met yet.
    let mut places: HashMap<String, Vec<(usize, u64)>> = HashMap::new();
    // The oldest is the last, so that it is met first.
    for (place, account) in after.iter().enumerate().rev() {
        places.entry(account.path().to_owned()).or_default().push((place, account.members()));
    }
    for was in before {
        let is_there = |path: &str| places.contains_key(path);
        let path = Some(was.path().to_owned()).filter(|path| is_there(path)).or_else(|| pool_of(was.path(), is_there));
        let Some(alike) = path.and_then(|path| places.get_mut(&path)) else { continue };
        let Some((place, unmet)) = alike.last_mut() else { continue };
        after[*place].subtract(was);
        *unmet = unmet.saturating_sub(was.members());
        if *unmet == 0 && alike.len() > 1 {
            alike.pop();
        }
    }
    for account in &mut after {
        account.cut_shown();
        account.limit(length);
    }
    // Threads that had ended before.
    after.retain(|account| account.lifetime() > Duration::ZERO || account.cpu() > Duration::ZERO);
    after
}

/// Takes `before` from the entry with its key; what that lacks, from the largest of the entries that
/// are `akin`. Each entry has a key, and an amount that `amount` gives.
pub(in crate::profile) fn take<T, K: Eq + Hash>(
    after: &mut [T],
    before: impl Iterator<Item = (K, u64)>,
    key: impl Fn(&T) -> K,
    akin: impl Fn(&T, &K) -> bool,
    amount: impl Fn(&mut T) -> &mut u64,
) {
    let mut places: HashMap<K, Vec<usize>> = HashMap::new();
    for (place, entry) in after.iter().enumerate() {
        places.entry(key(entry)).or_default().push(place);
    }
    let mut missing: Vec<(K, u64)> = Vec::new();
    for (key, mut over) in before {
        for &place in places.get(&key).into_iter().flatten() {
            take_from(amount(&mut after[place]), &mut over);
        }
        if over > 0 {
            missing.push((key, over));
        }
    }
    for (key, mut over) in missing {
        let mut related: Vec<usize> = (0..after.len()).filter(|&place| akin(&after[place], &key)).collect();
        related.sort_by_key(|&place| std::cmp::Reverse(*amount(&mut after[place])));
        related.into_iter().for_each(|place| take_from(amount(&mut after[place]), &mut over));
    }
}

fn take_from(has: &mut u64, over: &mut u64) {
    let both = (*has).min(*over);
    (*has, *over) = (*has - both, *over - both);
}

impl Account {
    fn subtract(&mut self, was: &Account) {
        self.lifetime = self.lifetime.saturating_sub(was.lifetime);
        self.cpu = self.cpu.saturating_sub(was.cpu);
        self.runnable = self.runnable.map(|time| time.saturating_sub(was.runnable()));
        for earlier in &was.waits {
            let place =
                |name: &str| self.waits.iter().position(|wait| wait.kind == earlier.kind && *wait.name == *name);
            // A pool keeps a limited number of names.
            if let Some(place) = place(&earlier.name).or_else(|| place(OTHERS)) {
                self.waits[place].subtract(earlier);
            }
        }
    }

    /// Takes out of waits without a stamp what is counted twice. Of a part of a recording, the times
    /// are known by ender alone.
    fn cut_shown(&mut self) {
        let twice = u64::try_from(self.excess().as_nanos()).unwrap_or(u64::MAX);
        let enders = self.waits.iter().flat_map(|wait| &wait.ended_by);
        let unstamped = enders.filter(|(name, _)| is_unstamped(name)).map(|(_, time)| time.as_nanos() as u64);
        let mut cuts = cuts(twice, unstamped).into_iter().map(Duration::from_nanos);
        for wait in &mut self.waits {
            for (_, time) in wait.ended_by.iter_mut().filter(|(name, _)| is_unstamped(name)) {
                let cut = cuts.next().unwrap_or_default();
                *time -= cut;
                wait.total = wait.total.saturating_sub(cut);
            }
            wait.sort();
        }
    }

    fn limit(&mut self, length: Duration) {
        self.waits.retain(|wait| wait.total > Duration::ZERO || wait.count > 0);
        for wait in &mut self.waits {
            wait.longest = wait.longest.min(wait.total).min(length);
        }
        self.waits.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    }
}

impl WaitTotal {
    fn subtract(&mut self, was: &WaitTotal) {
        self.count = self.count.saturating_sub(was.count);
        self.total = self.total.saturating_sub(was.total);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut enders: Vec<_> = self.ended_by.drain(..).map(|(name, time)| (name, nanos(time))).collect();
        let known: HashSet<Arc<str>> = enders.iter().map(|ender| ender.0.clone()).collect();
        let before = was.ended_by.iter().map(|(name, time)| (name_in_pool(name, &known), nanos(*time)));
        take(&mut enders, before, |ender| ender.0.clone(), |_, _| true, |ender| &mut ender.1);
        self.ended_by = enders.into_iter().map(|(name, left)| (name, Duration::from_nanos(left))).collect();
        self.ended_by.retain(|(_, time)| *time > Duration::ZERO);
        self.sort();
    }
}

/// The name under which `known` may have this ender. A pool names it without numbers, or among the
/// others.
fn name_in_pool(ender: &Arc<str>, known: &HashSet<Arc<str>>) -> Arc<str> {
    let find = |name: &str| known.get(name).cloned();
    find(ender).or_else(|| find(&without_numbers(ender))).or_else(|| find(OTHERS)).unwrap_or_else(|| ender.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::WaitTotals;

    const SECOND: Duration = Duration::from_secs(1);

    fn account(path: &str, lifetime: u32, cpu: u32, waits: Vec<WaitTotal>) -> Account {
        let known = Some(Duration::ZERO);
        let mut account = Account::new(path.into(), SECOND * lifetime, SECOND * cpu, known, WaitTotals::default());
        account.waits = waits;
        account
    }

    fn wait(name: &str, by: &[(&str, u32)]) -> WaitTotal {
        let ended_by: Vec<(Arc<str>, Duration)> =
            by.iter().map(|(name, time)| (Arc::from(*name), SECOND * *time)).collect();
        let total = ended_by.iter().map(|(_, time)| *time).sum();
        let (kind, count, enders) = ("queue", by.len() as u64, Vec::new());
        WaitTotal { kind, name: name.into(), count, total, longest: total, ended_by, enders }
    }

    fn enders(wait: &WaitTotal) -> Vec<(&str, u64)> {
        wait.ended_by().iter().map(|(name, time)| (&**name, time.as_secs())).collect()
    }

    #[test]
    fn each_time_is_what_has_come_since() {
        let before = [account("main", 10, 4, vec![wait("jobs", &[("main/a", 3), ("[clock]", 1)])])];
        let after = vec![account("main", 15, 5, vec![wait("jobs", &[("main/a", 5), ("[clock]", 1), ("main/b", 1)])])];
        let since = since(after, &before, SECOND * 5);
        let [one] = &since[..] else { panic!("{since:?}") };
        assert_eq!((one.lifetime(), one.cpu(), one.outside()), (SECOND * 5, SECOND, SECOND));
        let jobs = &one.waits()[0];
        assert_eq!((jobs.count(), jobs.total(), jobs.longest()), (1, SECOND * 3, SECOND * 3));
        assert_eq!(enders(jobs), [("main/a", 2), ("main/b", 1)]);
    }

    #[test]
    fn a_wait_that_went_on_is_counted_once() {
        // It had taken ten seconds, and ended two seconds later; another one took one second.
        let before = [account("main", 10, 0, vec![wait("jobs", &[("[unknown]", 10)])])];
        let after = vec![account("main", 15, 0, vec![wait("jobs", &[("main/a", 12), ("main/b", 1)])])];
        let since = since(after, &before, SECOND * 5);
        assert_eq!(enders(&since[0].waits()[0]), [("main/a", 2), ("main/b", 1)]);
        assert_eq!(since[0].outside(), SECOND * 2);
    }

    #[test]
    fn an_ended_thread_is_subtracted_from_its_pool_and_its_namesake_not() {
        let before = [account("main/c-7", 4, 4, Vec::new()), account("main/d", 2, 1, Vec::new())];
        let after = vec![
            account("main/c-*", 9, 9, Vec::new()),
            account("main/d", 2, 1, Vec::new()),
            account("main/d", 3, 3, Vec::new()),
        ];
        let since = since(after, &before, SECOND * 5);
        let shown: Vec<_> = since.iter().map(|one| (one.path(), one.cpu().as_secs())).collect();
        assert_eq!(shown, [("main/c-*", 5), ("main/d", 3)]);
    }

    #[test]
    fn of_a_part_what_is_counted_twice_is_cut_out() {
        let before = [account("main/c", 10, 1, vec![wait("data", &[("[outside]", 9)])])];
        // Ten seconds more, three of CPU time; and 6 + 4 of waits.
        let after = vec![account("main/c", 20, 4, vec![wait("data", &[("[outside]", 15), ("main", 4)])])];
        let part = &since(after, &before, SECOND * 10)[0];
        assert_eq!((part.excess(), part.outside()), (Duration::ZERO, Duration::ZERO));
        assert_eq!(enders(&part.waits()[0]), [("main", 4), ("[outside]", 3)]);
    }

    #[test]
    fn ended_threads_are_subtracted_from_the_pool_of_all() {
        let (x, y) = (account("main/x/worker", 5, 4, Vec::new()), account("main/y/worker", 1, 1, Vec::new()));
        let mut pool = account("main/*", 5, 4, Vec::new());
        pool.take_in(account("main/y/worker", 2, 2, Vec::new()), "main/*".into());
        let since = since(vec![pool], &[x, y], SECOND * 5);
        assert_eq!((since[0].path(), since[0].lifetime(), since[0].cpu()), ("main/*", SECOND, SECOND));
    }

    #[test]
    fn namesakes_are_subtracted_from_the_pool_they_became() {
        let one = |lifetime| account("main/worker", lifetime, 1, Vec::new());
        let mut pool = one(2);
        pool.take_in(one(3), "main/worker".into());
        let since = since(vec![pool, one(6)], &[one(2), one(3), one(1)], SECOND * 5);
        let shown: Vec<_> = since.iter().map(|one| one.lifetime()).collect();
        assert_eq!(shown, [SECOND * 5]);
    }

    #[test]
    fn waits_are_subtracted_from_the_pools_other_waits_and_enders() {
        let before = [account("main/c-7", 9, 0, vec![wait("jobs 7", &[("main/a-1", 1), ("main/b", 2)])])];
        let jobs = wait("[others]", &[("main/a-*", 4), ("[others]", 3), ("[clock]", 6)]);
        let after = vec![account("main/c-*", 30, 0, vec![jobs])];
        let since = since(after, &before, SECOND * 30);
        assert_eq!(enders(&since[0].waits()[0]), [("[clock]", 6), ("main/a-*", 3), ("[others]", 1)]);
    }
}
