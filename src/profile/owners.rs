//! Finds the owner of a sample of `Engine::Process`, which carries a `pthread_t` and a time: the
//! system gives a `pthread_t` to another thread once its own has ended. Uses raw data only.

use super::raw::{Lifetime, Nanos};
use std::cmp::Reverse;
use std::collections::HashMap;

/// A thread runs a little before it is registered and after it has signed off: such samples are
/// still its own.
const GRACE: Nanos = 100_000_000;

/// Finds whose samples are whose.
pub(super) struct Owners<'a> {
    lifetimes: &'a [Lifetime],
    by_os_thread: HashMap<u64, Vec<usize>>,
}

impl<'a> Owners<'a> {
    pub(super) fn new(lifetimes: &'a [Lifetime]) -> Owners<'a> {
        let mut by_os_thread: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, lifetime) in lifetimes.iter().enumerate() {
            if let Some(os_thread) = lifetime.os_thread {
                by_os_thread.entry(os_thread).or_default().push(index);
            }
        }
        Owners { lifetimes, by_os_thread }
    }

    /// Index of the life that `os_thread` led at that time, or of the nearest one within 100 ms.
    pub(super) fn owner(&self, os_thread: u64, at: Nanos) -> Option<usize> {
        let distance = |&index: &usize| {
            let lifetime = &self.lifetimes[index];
            let before = lifetime.started.saturating_sub(at).max(0);
            let after = lifetime.ended.map_or(0, |ended| at.saturating_sub(ended).max(0));
            before.max(after)
        };
        // Of two that should both live, the later has the handle: the other has ended without a
        // word.
        let lifetimes = self.by_os_thread.get(&os_thread)?.iter().copied();
        let nearest = lifetimes.min_by_key(|index| (distance(index), Reverse(self.lifetimes[*index].started)))?;
        (distance(&nearest) <= GRACE).then_some(nearest)
    }

    /// Whether another thread had that handle after the given time: what it did the same way may
    /// have been counted with the first one's samples.
    pub(super) fn has_successor(&self, os_thread: u64, at: Nanos) -> bool {
        let lifetimes = self.by_os_thread.get(&os_thread);
        lifetimes.is_some_and(|lifetimes| {
            lifetimes.iter().filter(|&&index| self.lifetimes[index].ended.is_none_or(|ended| ended >= at)).count() > 1
        })
    }
}
