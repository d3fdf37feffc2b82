//! Sums over threads that are like each other, for metrics: threads whose paths differ in numbers
//! only are one series. Ended threads stay in the sums, so that a sum never becomes smaller.

use crate::model::locks::Mutex;
pub(super) use crate::thread::pool_names::without_numbers as pool;
use crate::thread::{Thread, observe};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// More names are one series.
pub(super) const MOST: usize = 200;
const OTHERS: &str = "(other threads)";

/// Sums of ended threads by pool.
#[derive(Default)]
pub(super) struct Pools(Mutex<State>);

#[derive(Default)]
struct State {
    ended: BTreeMap<String, Sum>,
    /// What was told last: a thread that ends while the living are counted is in neither of the two
    /// sums for a moment, and no sum may become smaller.
    told: BTreeMap<String, Sum>,
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

    fn at_least(&mut self, told: &Sum) {
        self.started = self.started.max(told.started);
        self.cpu = self.cpu.max(told.cpu);
        self.restarts = self.restarts.max(told.restarts);
        self.failures = self.failures.max(told.failures);
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

    /// With the threads that live.
    pub(super) fn sums(&self, living: impl Iterator<Item = Thread>) -> BTreeMap<String, Sum> {
        let mut sums = self.0.lock().ended.clone();
        for thread in living {
            series(&mut sums, &pool(thread.path())).add(&thread);
        }
        let mut state = self.0.lock();
        for (name, told) in &state.told {
            sums.entry(name.clone()).or_default().at_least(told);
        }
        state.told.clone_from(&sums);
        sums
    }
}

impl observe::Observer for Pools {
    fn started(&self, _: &Thread) {}

    fn ended(&self, thread: &Thread) {
        let pool = pool(thread.path());
        series(&mut self.0.lock().ended, &pool).add(thread);
    }
}
