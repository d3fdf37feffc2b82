//! Accounts of ended threads, folded by pool where there are many: a program that runs for months
//! and spawns a thread for each request would keep one for each of them.
//!
//! Invariants
//! 1. Folding moves sums from one account to another: the weights, samples, losses and clocks of
//!    all accounts together stay what they were, to the nanosecond.
//! 2. Only ended accounts are folded: no meter names them.

use super::{Account, Books};
use crate::profile::lives::Pool;
use crate::thread::tree::RUNTIME;
use std::collections::HashMap;
use std::panic::Location;

/// Ended accounts that are kept apart. At 250 bytes each, besides their stacks.
pub(super) const MOST: usize = if cfg!(test) { 64 } else { 4096 };

/// Which accounts are one pool: those whose threads were spawned at the same place, and whose paths
/// this makes equal.
type Fold = fn(&str) -> String;

/// One after the other, until there are few.
const FOLDS: [Fold; 3] = [without_numbers, without_name, without_path];

impl Books {
    /// An account has ended.
    pub(super) fn fold_if_many(&mut self) {
        self.ended += 1;
        if self.ended < MOST {
            return;
        }
        for fold in FOLDS {
            self.fold(fold);
            // Else the next would follow soon, and each takes its time.
            if self.ended <= MOST / 2 {
                return;
            }
        }
    }

    fn fold(&mut self, fold: Fold) {
        type Key = (Option<&'static Location<'static>>, String);
        let mut pools: HashMap<Key, Vec<usize>> = HashMap::new();
        for (index, account) in self.accounts.iter().enumerate() {
            if account.is_used && account.life.ended.is_some() {
                pools.entry((account.spawned_at, fold(&account.life.path))).or_default().push(index);
            }
        }
        self.ended = pools.len();
        for ((_, path), members) in pools {
            let Some((&first, rest)) = members.split_first().filter(|(_, rest)| !rest.is_empty()) else { continue };
            for &index in rest {
                let account = std::mem::replace(&mut self.accounts[index], Account::unused(self.hasher.clone()));
                self.accounts[first].take_in(account);
                self.unused.push(index);
            }
            self.accounts[first].life.path = path.into();
        }
    }
}

impl Account {
    fn take_in(&mut self, other: Account) {
        let pool = |account: &Account| {
            let life = &account.life;
            let wall = life.ended.unwrap_or(0).saturating_sub(life.started.max(0)).max(0);
            life.pool.unwrap_or(Pool { threads: 1, wall })
        };
        let (own, others) = (pool(self), pool(&other));
        let life = &mut self.life;
        life.pool = Some(Pool { threads: own.threads + others.threads, wall: own.wall + others.wall });
        life.os_thread = None;
        life.started = life.started.min(other.life.started);
        life.ended = life.ended.max(other.life.ended);
        life.cpu += other.life.cpu;
        life.lost = Some(life.lost.unwrap_or(0) + other.life.lost.unwrap_or(0));
        life.merged += other.life.merged;
        self.unsampled += other.unsampled;
        for (place, (samples, weight)) in other.sums {
            let sum = self.sums.entry(place).or_default();
            sum.0 += samples;
            sum.1 += weight;
        }
    }
}

/// `main/pool-*/reader-*` of `main/pool-1/reader-12`.
pub(super) fn without_numbers(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if folded.ends_with('*') => {}
            true => folded.push('*'),
            false => folded.push(c),
        }
    }
    folded
}

/// `main/pool-*/*` of `main/pool-1/reader-12`, for names that are told apart by something else than
/// a number.
fn without_name(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((above, _)) => format!("{}/*", without_numbers(above)),
        None => path.to_owned(),
    }
}

/// `main/*`: as many as there are places in the source that spawn.
fn without_path(path: &str) -> String {
    match path.split_once('/') {
        // The runtime's stay in their place.
        Some((root, rest)) if rest.split('/').next() == Some(RUNTIME) => format!("{root}/{RUNTIME}/*"),
        Some((root, _)) => format!("{root}/*"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::engines::timer::books::Meter;
    use crate::profile::engines::{Ending, Found, Stack};
    use std::time::Duration;

    #[track_caller]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    /// Threads with those paths live one after the other, each for 10 ns, of which it uses 7, 2 of
    /// them without a sample.
    fn lived(paths: impl Iterator<Item = (String, &'static Location<'static>)>) -> (Books, u64) {
        let (mut books, mut count) = (Books::default(), 0);
        for (path, place) in paths {
            let account = books.open(path.into(), Some(count), count as i64 * 10);
            books.is_spawned_at(account, Some(place));
            let mut meter = Meter::new(account, 0);
            books.record(&mut meter, 5, Ending::Root, &[1, count % 3]);
            books.lost(&mut meter, 1);
            books.settle(&mut meter, 7);
            books.end(account, count as i64 * 10 + 10);
            count += 1;
        }
        (books, count)
    }

    fn sums(found: &Found) -> (u64, u64, u64, Duration, u64, i64) {
        let threads = found.lives.iter().map(|life| life.pool.map_or(1, |pool| pool.threads)).sum();
        let wall = |life: &crate::profile::lives::Life| life.pool.map_or(10, |pool| pool.wall);
        (
            found.samples.iter().map(|sample| sample.samples).sum(),
            found.samples.iter().map(|sample| sample.weight).sum(),
            threads,
            found.lives.iter().map(|life| life.cpu).sum(),
            found.lives.iter().filter_map(|life| life.lost).sum(),
            found.lives.iter().map(wall).sum(),
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
            let (books, count) = lived((0..10_000).map(|n| (path(n), if n % 2 == 0 { a } else { b })));
            assert!(books.accounts.len() <= MOST + 2, "{} accounts", books.accounts.len());
            let found = books.found();
            let nanos = Duration::from_nanos(count * 7);
            assert_eq!(sums(&found), (count, count * 7, count, nanos, count, count as i64 * 10), "{pool}");
            // One for each place.
            let pools: Vec<_> = found.lives.iter().filter(|life| life.pool.is_some()).collect();
            assert!(pools.len() == 2 && pools.iter().all(|life| *life.path == *pool), "{pool}: {pools:?}");
            let owners = found.samples.iter().filter(|sample| matches!(sample.stack, Stack::Of { .. }));
            assert!(owners.count() <= 3 * found.lives.len(), "stacks of a pool are one each");
        }
    }

    #[test]
    fn threads_that_live_and_few_that_have_ended_keep_their_names() {
        let mut books = Books::default();
        let living = books.open("main/worker-1".into(), Some(1), 0);
        let mut meter = Meter::new(living, 0);
        for n in 0..MOST as u64 / 2 {
            let account = books.open(format!("main/job-{n}").into(), None, 0);
            books.end(account, 1);
        }
        assert!(books.accounts.iter().all(|account| account.life.pool.is_none()));
        for n in 0..1_000 {
            let account = books.open(format!("main/worker-{n}").into(), None, 0);
            books.end(account, 1);
        }
        books.record(&mut meter, 9, Ending::Root, &[1]);
        books.settle(&mut meter, 9);
        let found = books.found();
        let life = found.lives.iter().find(|life| life.ended.is_none()).unwrap();
        assert_eq!((&*life.path, life.cpu.as_nanos()), ("main/worker-1", 9));
    }

    #[test]
    fn names_are_told_apart_by_less_and_less() {
        assert_eq!(without_numbers("main/pool-1/reader-12"), "main/pool-*/reader-*");
        assert_eq!(without_numbers("main/sha256-x7/7"), "main/sha*-x*/*");
        assert_eq!((without_name("main/pool-1/reader"), without_name("main")), ("main/pool-*/*".into(), "main".into()));
        assert_eq!((without_path("other/x/y"), without_path("main")), ("other/*".into(), "main".into()));
    }

    /// A name without a number, another one for each.
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
