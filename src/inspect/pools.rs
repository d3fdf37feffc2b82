//! Sums over threads that are like each other, for metrics: threads whose paths differ in numbers
//! only are one series. Ended threads stay in the sums. Which series there are is decided once and stays,
//! so no thread moves from one sum to another.

use crate::model::locks::Mutex;
pub(super) use crate::thread::pool_names::without_numbers as pool;
use crate::thread::{Thread, observe};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// More names are one series.
pub(super) const MOST: usize = 200;
const OTHERS: &str = "(other threads)";

/// Sums of ended threads by pool. The sum of a pool without ended threads is empty.
#[derive(Default)]
pub(super) struct Pools(Mutex<BTreeMap<String, Sum>>);

/// The names that have a series of their own.
#[derive(Default)]
pub(super) struct Names(Mutex<BTreeSet<String>>);

impl Names {
    /// The name of the series of `name`: its own, or `others`. It stays the same.
    pub(super) fn series(&self, name: String, others: &str) -> String {
        let mut names = self.0.lock();
        let Some(name) = name_within(names.contains(&name), names.len(), name) else { return others.to_owned() };
        names.insert(name.clone());
        name
    }
}

/// Of all threads of a pool, living and ended.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) started: u64,
    pub(super) cpu: Duration,
    pub(super) restarts: u64,
    pub(super) failures: u64,
}

impl Sum {
    fn add(&mut self, thread: &Thread) {
        self.started += 1;
        self.cpu += thread.cpu_time().unwrap_or_default();
        self.restarts += thread.restarts();
        self.failures += u64::from(thread.node().has_failed());
    }
}

/// The series of that pool: its own, or that of all further ones.
fn series<'a>(sums: &'a mut BTreeMap<String, Sum>, pool: &str) -> &'a mut Sum {
    let name = name_within(sums.contains_key(pool), sums.len(), pool.to_owned());
    sums.entry(name.unwrap_or_else(|| OTHERS.to_owned())).or_default()
}

/// The name of a series, if it has one of its own: it is known, or there are not yet as many as may
/// be. `None`: it is a part of the series of all further ones.
pub(super) fn name_within<T>(known: bool, len: usize, name: T) -> Option<T> {
    (known || len < MOST).then_some(name)
}

impl Pools {
    /// From now on the ends of threads are counted. Called once for each inspection, by
    /// `Program::new`.
    pub(super) fn watch() -> Arc<Pools> {
        let pools = Arc::new(Pools::default());
        // It is not taken out by its own drop: the last reference may be that of a thread that just
        // tells it of an end, and holds the list of observers. Observers that are gone are swept out.
        observe::add(Arc::downgrade(&pools) as _, &mut |_| ());
        pools
    }

    /// With those of the threads that live. A thread that ends meanwhile is in neither of the two sums
    /// for a moment.
    pub(super) fn sums(&self, threads: &[Thread]) -> BTreeMap<String, Sum> {
        let living = threads.iter().map(|thread| (thread, pool(thread.path())));
        let living: Vec<(&Thread, String)> = living.filter(|(thread, _)| thread.is_alive()).collect();
        let mut sums = {
            let mut ended = self.0.lock();
            for (_, pool) in &living {
                series(&mut ended, pool);
            }
            ended.clone()
        };
        // A thread that has ended before those sums were read is in them.
        for (thread, pool) in living.iter().filter(|(thread, _)| thread.is_alive()) {
            series(&mut sums, pool).add(thread);
        }
        sums
    }
}

impl observe::Observer for Pools {
    fn started(&self, _: &Thread) {}

    fn ended(&self, thread: &Thread) {
        let pool = pool(thread.path());
        series(&mut self.0.lock(), &pool).add(thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_series() {
        let names = Names::default();
        // The last in order are the first to come.
        let all: Vec<String> = (0..MOST + 50).rev().map(|number| format!("{number:04}")).collect();
        let series = || all.iter().map(|name| names.series(name.clone(), "(others)")).collect::<Vec<_>>();
        let (first, again) = (series(), series());
        assert_eq!(first, again);
        assert_eq!(first[..MOST], all[..MOST]);
        assert!(first[MOST..].iter().all(|name| name == "(others)"));
    }
}
