//! Adds up the accounts of ended threads, one account for each pool. Knows accounts and paths. Knows
//! no clocks and no ledger.
//!
//! Invariants
//! 1. All sums stay, to the nanosecond: those of threads, those of waits, and those of enders.
//! 2. The account of a pool has at most [`MAX_WAITS`] waits, and one more for each kind, `[others]`.
//! 3. A wait of a pool has at most [`MAX_ENDERS`] enders. Their paths are without numbers. Paths
//!    beyond the limit are `[others]`. Causes, as `[clock]`, stay apart.
//! 4. An account that is alone in its pool stays as it is.
//! 5. A name that a pool keeps apart stays apart in later folds, so readings can be compared.

use super::account::{Account, EndedWaits, WaitTotal};

use crate::thread::pool_names::{Fold, without_numbers};
use std::collections::HashMap;
use std::sync::Arc;

/// Waits of a pool that are kept apart, as of one thread (`wait/totals.rs`).
const MAX_WAITS: usize = 256;

/// Enders of one wait of a pool that are kept apart, as of one thread.
const MAX_ENDERS: usize = 64;

/// Names of enders that are not paths: `[clock]`, `[outside]`, `[unknown]`, `[ended thread]`,
/// `[others]`.
const CAUSES: usize = 5;

/// Waits or enders that are not kept apart.
pub(super) const OTHERS: &str = "[others]";

/// Makes one account of those whose paths `fold` makes equal, in the place of the first of them.
pub(super) fn fold(accounts: Vec<(u64, Account)>, fold: Fold) -> Vec<(u64, Account)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut pools: Vec<Vec<(u64, Account)>> = Vec::new();
    for one in accounts {
        let place = *places.entry(fold(one.1.path())).or_insert(pools.len());
        if place == pools.len() {
            pools.push(Vec::new());
        }
        pools[place].push(one);
    }
    pools.into_iter().filter_map(|members| sum(members, fold)).collect()
}

fn sum(members: Vec<(u64, Account)>, fold: Fold) -> Option<(u64, Account)> {
    let mut members = members.into_iter();
    let (id, first) = members.next()?;
    if members.len() == 0 {
        return Some((id, first));
    }
    let path = fold(first.path());
    let mut pool = Pool::new(first);
    members.for_each(|(_, account)| pool.add(account));
    Some((id, pool.into_account(path.into())))
}

/// An account that others are added to.
struct Pool {
    /// Without waits.
    account: Account,
    waits: Vec<PoolWait>,
    /// The indexes of the waits, by kind and name.
    places: HashMap<(&'static str, Arc<str>), usize>,
    /// The waits that are not `[others]`.
    named: usize,
    /// Paths of enders and what they are without numbers.
    paths: HashMap<Arc<str>, Arc<str>>,
}

/// A wait of a pool.
struct PoolWait {
    total: WaitTotal,
    /// The indexes of the enders, by name.
    places: HashMap<Arc<str>, usize>,
    /// The enders that are paths.
    paths: usize,
}

impl Pool {
    fn new(mut first: Account) -> Pool {
        let waits = std::mem::take(&mut first.waits);
        let (places, paths) = (HashMap::new(), HashMap::new());
        let mut pool = Pool { account: first, waits: Vec::new(), places, named: 0, paths };
        waits.into_iter().for_each(|wait| pool.add_wait(wait));
        pool
    }

    fn add(&mut self, mut other: Account) {
        let waits = std::mem::take(&mut other.waits);
        self.account.add_times(&other);
        waits.into_iter().for_each(|wait| self.add_wait(wait));
    }

    fn add_wait(&mut self, wait: WaitTotal) {
        let place = self.place(wait.kind, &wait.name);
        let sum = &mut self.waits[place];
        sum.total.count += wait.count;
        sum.total.longest = sum.total.longest.max(wait.longest);
        for ender in wait.enders {
            let path = match is_cause(ender.name()) {
                true => ender.name().clone(),
                false => {
                    let without = self.paths.entry(ender.name().clone());
                    without.or_insert_with_key(|path| without_numbers(path).into()).clone()
                }
            };
            sum.add(ender.with_name(path));
        }
    }

    /// The index of the wait with that kind and name. It is made if need be.
    fn place(&mut self, kind: &'static str, name: &Arc<str>) -> usize {
        if let Some(&known) = self.places.get(&(kind, name.clone())) {
            return known;
        }
        let is_other = **name == *OTHERS;
        if !is_other && self.named >= MAX_WAITS {
            return self.place(kind, &OTHERS.into());
        }
        self.named += usize::from(!is_other);
        self.places.insert((kind, name.clone()), self.waits.len());
        let total = WaitTotal::empty(kind, name.clone());
        self.waits.push(PoolWait { total, places: HashMap::new(), paths: 0 });
        self.waits.len() - 1
    }

    fn into_account(self, path: Arc<str>) -> Account {
        let mut account = self.account;
        account.path = path;
        account.waits = self.waits.into_iter().map(PoolWait::into_total).collect();
        account.sort();
        account
    }
}

impl PoolWait {
    fn add(&mut self, ender: EndedWaits) {
        if let Some(&known) = self.places.get(ender.name()) {
            return self.total.enders[known].take_in(ender);
        }
        let is_path = !is_cause(ender.name());
        if is_path && self.paths >= MAX_ENDERS - CAUSES {
            return self.add(ender.with_name(OTHERS.into()));
        }
        self.paths += usize::from(is_path);
        self.places.insert(ender.name().clone(), self.total.enders.len());
        self.total.enders.push(ender);
    }

    fn into_total(mut self) -> WaitTotal {
        self.total.sum_up();
        self.total
    }
}

/// Returns `true` for the name of an ender that is not the path of a thread.
fn is_cause(ender: &str) -> bool {
    ender.starts_with('[')
}
