//! Folds the accounts of ended threads by pool where there are many. A program that runs for months
//! and spawns a thread for each request would keep an account for each of them. Knows paths and
//! sums, no clocks.
//!
//! Invariants
//! 1. Folding moves sums from one account to another: the weights, samples, losses and clocks of
//!    all accounts together stay what they were, to the nanosecond.
//! 2. Only ended accounts are folded: no thread clock names them.

use super::accounts::{Accounting, SampleAccount};
use crate::thread::pool_names::{FOLDS, Fold};
use std::collections::HashMap;
use std::panic::Location;

/// The number of ended accounts that are kept apart, at 250 bytes each, besides their stacks.
pub(super) const MOST: usize = if cfg!(test) { 64 } else { 4096 };

impl Accounting {
    /// Called when an account has ended: folds the ended accounts if there are many.
    pub(super) fn fold_if_many(&mut self) {
        self.ended += 1;
        if self.ended < MOST {
            return;
        }
        for fold in FOLDS {
            self.fold(fold);
            // Otherwise the next fold would follow soon, and each takes its time.
            if self.ended <= MOST / 2 {
                break;
            }
        }
        self.count_sums();
    }

    /// Folds the ended accounts whose threads were spawned by the same call and whose paths `fold`
    /// makes equal, each into the first one of its pool.
    fn fold(&mut self, fold: Fold) {
        type Key = (Option<&'static Location<'static>>, String);
        let mut pools: HashMap<Key, Vec<usize>> = HashMap::new();
        for (index, account) in self.accounts.iter().enumerate() {
            if account.is_used && account.lifetime.ended.is_some() {
                pools.entry((account.spawned_at, fold(&account.lifetime.path))).or_default().push(index);
            }
        }
        self.ended = pools.len();
        for ((_, path), members) in pools {
            let Some((&first, rest)) = members.split_first().filter(|(_, rest)| !rest.is_empty()) else { continue };
            for &index in rest {
                let account = std::mem::replace(&mut self.accounts[index], SampleAccount::unused(self.hasher.clone()));
                self.accounts[first].take_in(account);
                self.unused.push(index);
            }
            self.accounts[first].lifetime.path = path.into();
        }
    }
}

impl SampleAccount {
    /// Adds the sums of the other account to this one.
    fn take_in(&mut self, other: SampleAccount) {
        self.lifetime.take_in(other.lifetime);
        self.unsampled += other.unsampled;
        for (key, sum) in other.sums {
            self.sums.entry(key).or_default().take_in(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::engines::timer::accounting::ThreadClock;
    use crate::profile::raw::{Ending, RawProfile, Stack};
    use std::time::Duration;

    #[track_caller]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    /// Threads with those paths live one after the other, each for 10 ns. Each uses 7 ns, 2 of them
    /// without a sample.
    fn lived(paths: impl Iterator<Item = (String, &'static Location<'static>)>) -> (Accounting, u64) {
        let (mut accounting, mut count) = (Accounting::default(), 0);
        for (path, place) in paths {
            let account = accounting.open(path.into(), Some(count), count as i64 * 10);
            accounting.set_spawn_site(account, Some(place));
            let mut thread_clock = ThreadClock::new(account, 0);
            accounting.record(&mut thread_clock, 5, Ending::Root, &[1, count % 3]);
            accounting.add_lost(&mut thread_clock, 1);
            accounting.close(&mut thread_clock, 7);
            accounting.end(account, count as i64 * 10 + 10);
            count += 1;
        }
        (accounting, count)
    }

    fn sums(found: &RawProfile) -> (u64, u64, u64, Duration, u64, i64) {
        let threads = found.lifetimes.iter().map(|lifetime| lifetime.pool.map_or(1, |pool| pool.threads)).sum();
        let wall = |lifetime: &crate::profile::raw::Lifetime| lifetime.pool.map_or(10, |pool| pool.wall);
        (
            found.samples.iter().map(|sample| sample.samples).sum(),
            found.samples.iter().map(|sample| sample.weight).sum(),
            threads,
            found.lifetimes.iter().map(|lifetime| lifetime.cpu).sum(),
            found.lifetimes.iter().filter_map(|lifetime| lifetime.lost).sum(),
            found.lifetimes.iter().map(wall).sum(),
        )
    }

    #[test]
    fn many_ended_threads_are_folded_and_the_sums_stay() {
        let (a, b) = (here(), here());
        type Paths = fn(u64) -> String;
        let named: [(&str, Paths); 4] = [
            ("main/listener/connection-*", |n| format!("main/listener/connection-{n}")),
            ("main/pool-*/worker-*", |n| format!("main/pool-{n}/worker-{}", n % 7)),
            ("main/listener/*", |n| format!("main/listener/{}", letters(n))),
            ("main/*", |n| format!("main/{}/job", letters(n))),
        ];
        for (pool, path) in named {
            let (accounting, count) = lived((0..10_000).map(|n| (path(n), if n % 2 == 0 { a } else { b })));
            assert!(accounting.accounts.len() <= MOST + 2, "{} accounts", accounting.accounts.len());
            let found = accounting.into_raw_profile();
            let nanos = Duration::from_nanos(count * 7);
            assert_eq!(sums(&found), (count, count * 7, count, nanos, count, count as i64 * 10), "{pool}");
            // One for each call that spawns.
            let pools: Vec<_> = found.lifetimes.iter().filter(|lifetime| lifetime.pool.is_some()).collect();
            assert!(pools.len() == 2 && pools.iter().all(|lifetime| *lifetime.path == *pool), "{pool}: {pools:?}");
            let owners = found.samples.iter().filter(|sample| matches!(sample.stack, Stack::Sampled { .. }));
            assert!(owners.count() <= 3 * found.lifetimes.len(), "stacks of a pool are one each");
        }
    }

    #[test]
    fn threads_that_live_and_few_that_have_ended_keep_their_names() {
        let mut accounting = Accounting::default();
        let living = accounting.open("main/worker-1".into(), Some(1), 0);
        let mut thread_clock = ThreadClock::new(living, 0);
        for n in 0..MOST as u64 / 2 {
            let account = accounting.open(format!("main/job-{n}").into(), None, 0);
            accounting.end(account, 1);
        }
        assert!(accounting.accounts.iter().all(|account| account.lifetime.pool.is_none()));
        for n in 0..1_000 {
            let account = accounting.open(format!("main/worker-{n}").into(), None, 0);
            accounting.end(account, 1);
        }
        accounting.record(&mut thread_clock, 9, Ending::Root, &[1]);
        accounting.close(&mut thread_clock, 9);
        let found = accounting.into_raw_profile();
        let lifetime = found.lifetimes.iter().find(|lifetime| lifetime.ended.is_none()).unwrap();
        assert_eq!((&*lifetime.path, lifetime.cpu.as_nanos()), ("main/worker-1", 9));
    }

    /// A name without a number, another one for each `n`.
    fn letters(mut n: u64) -> String {
        let mut text = String::new();
        while {
            text.push((b'a' + (n % 26) as u8) as char);
            n /= 26;
            n > 0
        } {}
        text
    }
}
