//! How long threads have waited in all recordings of this process, for tools that read counters. Knows
//! accounts. Knows no clocks and no ledger.
//!
//! Invariants
//! 1. Which counters there are is decided by the first reading, or the first ended thread, that has such
//!    a wait. It stays so for the life of the process: no wait moves to another counter.
//! 2. There are at most [`MOST`] counters, and one for all further waits.
//! 3. No fold of ended accounts changes a counter, nor does the end of a recording.

use super::account::Account;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::thread::pool_names::without_numbers;
use std::collections::BTreeMap;
use std::time::Duration;

/// Counters that are kept apart.
const MOST: usize = 200;

/// Takes the place of the pool, the kind and the name of waits that are not kept apart.
const OTHERS: &str = "(others)";

/// How long all threads of a pool have waited for one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitCounter {
    /// The paths of the threads, without numbers.
    pub(crate) pool: String,
    pub(crate) kind: &'static str,
    /// Without numbers.
    pub(crate) name: String,
    pub(crate) count: u64,
    pub(crate) total: Duration,
}

/// The pool, the kind and the name.
type Key = (String, &'static str, String);

/// The counts and times of waits.
#[derive(Clone, Default)]
struct Counters(BTreeMap<Key, (u64, Duration)>);

/// The waits of threads that have ended, and of recordings that are over.
static ENDED: PerProcess<Mutex<Counters>> =
    PerProcess::new(Mutex::new(Counters(BTreeMap::new())), || Mutex::new(Counters::default()));

/// Adds the waits of an account that is closed: its thread has ended, or the recording is over.
pub(super) fn add(ended: &Account) {
    ENDED.lock().add(ended);
}

/// All counters, with the waits of threads that live. The caller holds the lock under which a living
/// thread's account goes to [`add`].
pub(super) fn with(living: impl Iterator<Item = Account>) -> Vec<WaitCounter> {
    let all = ENDED.lock().with(living);
    let counter = |((pool, kind, name), (count, total)): (Key, _)| WaitCounter { pool, kind, name, count, total };
    all.0.into_iter().map(counter).collect()
}

impl Counters {
    fn add(&mut self, account: &Account) {
        let pool = without_numbers(account.path());
        for (kind, name, count, total) in account.uncut_waits() {
            let sum = self.of((pool.clone(), kind, without_numbers(name)));
            *sum = (sum.0 + count, sum.1 + total);
        }
    }

    /// A copy, with the waits of these accounts. From now on they have their counters.
    fn with(&mut self, living: impl Iterator<Item = Account>) -> Counters {
        let living: Vec<Account> = living.collect();
        for account in &living {
            let pool = without_numbers(account.path());
            for (kind, name, ..) in account.uncut_waits() {
                self.of((pool.clone(), kind, without_numbers(name)));
            }
        }
        let mut all = self.clone();
        living.iter().for_each(|account| all.add(account));
        all
    }

    /// The counter of such waits: made, if there is room.
    fn of(&mut self, key: Key) -> &mut (u64, Duration) {
        let has_own = self.0.contains_key(&key) || self.0.len() < MOST;
        self.0.entry(if has_own { key } else { (OTHERS.to_owned(), OTHERS, OTHERS.to_owned()) }).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::account::WaitTotal;
    use super::*;
    use crate::wait::WaitTotals;

    /// The account of a thread that has waited for those locks, `nanos` for each.
    fn waited(path: &str, locks: &[&str], nanos: u64) -> Account {
        let mut account = Account::new(path.into(), Duration::ZERO, Duration::ZERO, None, WaitTotals::default());
        account.waits = locks.iter().map(|lock| WaitTotal::for_lock(lock, &[("main", nanos)])).collect();
        account
    }

    /// A name without a number, another one for each `n`.
    fn letters(n: usize) -> String {
        n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    }

    fn must_not_fall(before: &Counters, after: &Counters) {
        for (key, was) in &before.0 {
            let now = after.0.get(key).unwrap_or_else(|| panic!("{key:?} is gone"));
            assert!(now.0 >= was.0 && now.1 >= was.1, "{key:?}: {was:?}, then {now:?}");
        }
    }

    fn sum(counters: &Counters) -> (u64, Duration) {
        counters.0.values().fold((0, Duration::ZERO), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    #[test]
    fn a_wait_of_an_older_thread_moves_no_other() {
        let (mut counters, locks) = (Counters::default(), (0..MOST).map(letters).collect::<Vec<_>>());
        let locks: Vec<&str> = locks.iter().map(String::as_str).collect();
        let young = || waited("main/young", &locks, 5);
        let before = counters.with([waited("main", &[], 0), young()].into_iter());
        assert_eq!(before.0.len(), MOST);
        let after = counters.with([waited("main", &locks, 3), young()].into_iter());
        must_not_fall(&before, &after);
        assert_eq!(after.0[&(OTHERS.to_owned(), OTHERS, OTHERS.to_owned())].0, MOST as u64);
    }

    #[test]
    fn a_thread_keeps_its_counter_when_it_ends() {
        let mut counters = Counters::default();
        let mut before = counters.with(std::iter::empty());
        for n in 0..3 * MOST {
            let thread = waited(&format!("main/{}", letters(n)), &["ledger"], 7);
            let living = counters.with(std::iter::once(thread.clone()));
            must_not_fall(&before, &living);
            counters.add(&thread);
            let ended = counters.with(std::iter::empty());
            must_not_fall(&living, &ended);
            assert_eq!(sum(&living), sum(&ended));
            before = ended;
        }
        assert_eq!((before.0.len(), sum(&before)), (MOST + 1, (600, Duration::from_nanos(4_200))));
    }
}
