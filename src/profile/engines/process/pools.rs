//! Folds the ended threads of a recording by pool where there are many. A program that runs for
//! months and spawns a thread for each request would keep an entry for each of them. Knows lifetimes
//! and paths, no samples and no handles of the tree.
//!
//! Invariants
//! 1. Folding moves sums from one lifetime to another: threads, CPU times and wall times of all
//!    together stay what they were, to the nanosecond.
//! 2. After a fold there are at most [`MOST`] lifetimes, and [`MOST_HELD`] intervals of handles.
//! 3. A sample of a folded thread is its pool's, until the intervals of handles are too many.

use super::held;
use crate::profile::raw::{Lifetime, Nanos};
use crate::thread::pool_names::{FOLDS, Fold};
use std::collections::HashMap;
use std::panic::Location;

/// The number of ended threads that are kept apart, as in the accounts.
const MOST: usize = if cfg!(test) { 64 } else { 4096 };

/// The number of intervals of handles that all pools keep, at 32 bytes each.
const MOST_HELD: usize = 4 * MOST;

/// A thread that has ended, or a pool of such threads.
pub(super) struct Ended {
    /// Of the first of them.
    pub(super) id: u64,
    pub(super) spawned_at: Option<&'static Location<'static>>,
    pub(super) lifetime: Lifetime,
}

/// Returns `true` if there are so many that [`fold_all`] is due.
pub(super) fn are_many(threads: &[Ended]) -> bool {
    threads.len() > MOST
}

/// Makes pools of the threads until few entries are left. `living`: the handles of living threads,
/// and since when they have them.
pub(super) fn fold_all(threads: &mut Vec<Ended>, living: &HashMap<u64, Nanos>) {
    for by in FOLDS {
        *threads = fold(std::mem::take(threads), by);
        // Otherwise the next fold would follow soon, and each takes its time.
        if threads.len() <= MOST / 2 {
            break;
        }
    }
    let mut lifetimes: Vec<&mut Lifetime> = threads.iter_mut().map(|thread| &mut thread.lifetime).collect();
    held::settle(&mut lifetimes, living, MOST_HELD);
}

/// Makes one entry of all threads of the same spawning call whose paths `by` makes equal, in the place of
/// the first of them.
fn fold(threads: Vec<Ended>, by: Fold) -> Vec<Ended> {
    type Key = (Option<&'static Location<'static>>, String);
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut folded: Vec<Ended> = Vec::new();
    for thread in threads {
        let key = (thread.spawned_at, by(&thread.lifetime.path));
        match places.get(&key) {
            Some(&place) => folded[place].take_in(thread, &key.1),
            None => {
                places.insert(key, folded.len());
                folded.push(thread);
            }
        }
    }
    folded
}

impl Ended {
    fn take_in(&mut self, mut other: Ended, path: &str) {
        self.keep_handle();
        other.keep_handle();
        self.id = self.id.min(other.id);
        self.lifetime.take_in(other.lifetime);
        if *self.lifetime.path != *path {
            self.lifetime.path = path.into();
        }
    }

    /// The handle of a thread becomes that of a pool.
    fn keep_handle(&mut self) {
        self.lifetime.held.extend(held::of_thread(&self.lifetime));
        self.lifetime.os_thread = None;
    }
}
