//! Which pool of ended threads had which handle (`pthread_t`) when. A sample may be read months after
//! it was taken, and has a handle and a time. Knows intervals, no samples.
//!
//! Invariants
//! 1. Intervals become one without loss only if the owner of each sample stays the same one
//!    (`profile/owners.rs`).
//! 2. If too many are left, two neighbours become a mixed one: its samples may be another thread's,
//!    and count as ambiguous. The newer half stays as it is; the older an interval is, the more of them
//!    have become one.

use crate::profile::raw::{GRACE, Held, Lifetime, Nanos};
use std::cmp::Reverse;
use std::collections::HashMap;

/// When a handle was held, and the thread or the pool that held it.
struct Interval {
    held: Held,
    /// The index of its lifetime.
    owner: usize,
    /// `true` for the interval of a pool. The interval of a thread is never changed.
    is_pools: bool,
}

/// Makes the intervals of all pools fewer, `most` at most. `living`: the handles of living threads,
/// and since when they have them.
pub(super) fn settle(lifetimes: &mut [&mut Lifetime], living: &HashMap<u64, Nanos>, most: usize) {
    let mut intervals = join(take(lifetimes), living);
    if count(&intervals) > most {
        let older = middle(&intervals);
        loop {
            let before = count(&intervals);
            intervals = join(pair(intervals, living, older), living);
            let after = count(&intervals);
            if after <= most / 4 * 3 {
                break;
            }
            if after == before {
                forget_the_oldest(&mut intervals, most);
                break;
            }
        }
    }
    for interval in intervals.into_iter().filter(|interval| interval.is_pools) {
        lifetimes[interval.owner].held.push(interval.held);
    }
}

/// The handle of an ended thread that is no pool.
pub(super) fn of_thread(lifetime: &Lifetime) -> Option<Held> {
    let (os_thread, till) = lifetime.os_thread.zip(lifetime.ended)?;
    Some(Held { os_thread, from: lifetime.started, till, is_mixed: false })
}

/// Takes the intervals out of the pools, and adds those of threads. By handle, the oldest first.
fn take(lifetimes: &mut [&mut Lifetime]) -> Vec<Interval> {
    let mut intervals = Vec::new();
    for (owner, lifetime) in lifetimes.iter_mut().enumerate() {
        let of_pool = std::mem::take(&mut lifetime.held);
        intervals.extend(of_pool.into_iter().map(|held| Interval { held, owner, is_pools: true }));
        intervals.extend(of_thread(lifetime).map(|held| Interval { held, owner, is_pools: false }));
    }
    intervals.sort_by_key(|interval| (interval.held.os_thread, interval.held.from, Reverse(interval.held.till)));
    intervals
}

fn count(intervals: &[Interval]) -> usize {
    intervals.iter().filter(|interval| interval.is_pools).count()
}

/// The ends of the pools' intervals, sorted.
fn ends(intervals: &[Interval]) -> Vec<Nanos> {
    let ends = intervals.iter().filter(|interval| interval.is_pools).map(|interval| interval.held.till);
    let mut ends: Vec<Nanos> = ends.collect();
    ends.sort_unstable();
    ends
}

/// The time at which half of the pools' intervals had ended.
fn middle(intervals: &[Interval]) -> Nanos {
    let ends = ends(intervals);
    ends.get(ends.len() / 2).copied().unwrap_or(Nanos::MAX)
}

/// Makes one interval of two neighbours of one pool if no time between them is another thread's.
fn join(intervals: Vec<Interval>, living: &HashMap<u64, Nanos>) -> Vec<Interval> {
    let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len());
    // The last end of an interval of this handle.
    let mut covered = (0, Nanos::MIN);
    for interval in intervals {
        let Held { os_thread, from, till, is_mixed } = interval.held;
        if covered.0 != os_thread {
            covered = (os_thread, Nanos::MIN);
        }
        match joined.last_mut() {
            Some(last)
                if last.is_the_pool_of(&interval)
                    && last.held.is_mixed == is_mixed
                    && last.held.till == covered.1
                    // A time between them is within the grace of one of them.
                    && from.saturating_sub(last.held.till) <= 2 * GRACE
                    && !is_within_a_living(&interval, living) =>
            {
                last.held.till = last.held.till.max(till);
            }
            _ => joined.push(interval),
        }
        covered.1 = covered.1.max(till);
    }
    joined
}

/// Makes one interval of each two neighbours of a handle that ended before `older`: the pool that had the
/// handle longer gets both. An interval within the life of a living thread is that thread's.
fn pair(intervals: Vec<Interval>, living: &HashMap<u64, Nanos>, older: Nanos) -> Vec<Interval> {
    let mut paired: Vec<Interval> = Vec::with_capacity(intervals.len());
    let mut is_whole = true;
    for interval in intervals {
        let is_old = interval.is_pools && interval.held.till < older;
        if is_old && is_within_a_living(&interval, living) {
            continue;
        }
        let last = paired
            .last_mut()
            .filter(|last| is_whole && is_old && last.is_pools && last.held.os_thread == interval.held.os_thread);
        is_whole = last.is_none();
        match last {
            Some(last) => {
                if interval.length() > last.length() {
                    last.owner = interval.owner;
                }
                last.held.till = last.held.till.max(interval.held.till);
                last.held.is_mixed = true;
            }
            None => {
                paired.push(interval);
            }
        }
    }
    paired
}

/// Leaves `most` of the pools' intervals. Samples of the others are those of unregistered threads.
fn forget_the_oldest(intervals: &mut Vec<Interval>, most: usize) {
    let ends = ends(intervals);
    let Some(&last) = ends.len().checked_sub(most + 1).and_then(|index| ends.get(index)) else { return };
    intervals.retain(|interval| !interval.is_pools || interval.held.till > last);
}

/// Returns `true` if a thread that lives has the handle since before the interval: it registered
/// itself again, under a second name.
fn is_within_a_living(interval: &Interval, living: &HashMap<u64, Nanos>) -> bool {
    living.get(&interval.held.os_thread).is_some_and(|started| *started <= interval.held.from)
}

impl Interval {
    fn is_the_pool_of(&self, other: &Interval) -> bool {
        let both = self.is_pools && other.is_pools;
        both && self.owner == other.owner && self.held.os_thread == other.held.os_thread
    }

    fn length(&self) -> Nanos {
        self.held.till.saturating_sub(self.held.from)
    }
}
