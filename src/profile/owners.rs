//! Finds the owner of a sample of `Engine::Process`, which carries a `pthread_t` and a time. The
//! system gives a `pthread_t` to another thread once its own has ended, so the time decides. Uses
//! raw data only.

use super::raw::{Lifetime, Nanos};
use std::cmp::Reverse;
use std::collections::HashMap;

/// A thread runs a little before it is registered and after it has reported its end. Samples of up
/// to this time are still its own.
const GRACE: Nanos = 100_000_000;

/// The lifetimes of a recording, by their handles.
pub(super) struct Owners<'a> {
    lifetimes: &'a [Lifetime],
    by_os_thread: HashMap<u64, Vec<usize>>,
}

impl<'a> Owners<'a> {
    /// For these lifetimes.
    pub(super) fn new(lifetimes: &'a [Lifetime]) -> Owners<'a> {
        let mut by_os_thread: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, lifetime) in lifetimes.iter().enumerate() {
            if let Some(os_thread) = lifetime.os_thread {
                by_os_thread.entry(os_thread).or_default().push(index);
            }
        }
        Owners { lifetimes, by_os_thread }
    }

    /// The index of the lifetime that had the handle `os_thread` at that time, or of the nearest
    /// one within 100 ms.
    pub(super) fn owner(&self, os_thread: u64, at: Nanos) -> Option<usize> {
        let distance = |&index: &usize| {
            let lifetime = &self.lifetimes[index];
            let before = lifetime.started.saturating_sub(at).max(0);
            let after = lifetime.ended.map_or(0, |ended| at.saturating_sub(ended).max(0));
            before.max(after)
        };
        // Of two lifetimes that contain the time, the later one has the handle: the other thread
        // has ended without a report.
        let lifetimes = self.by_os_thread.get(&os_thread)?.iter().copied();
        let nearest = lifetimes.min_by_key(|index| (distance(index), Reverse(self.lifetimes[*index].started)))?;
        (distance(&nearest) <= GRACE).then_some(nearest)
    }

    /// Returns `true` if another thread had that handle after the given time. Its samples with an
    /// equal stack may have been counted with the first thread's.
    pub(super) fn has_successor(&self, os_thread: u64, at: Nanos) -> bool {
        let lifetimes = self.by_os_thread.get(&os_thread);
        lifetimes.is_some_and(|lifetimes| {
            lifetimes.iter().filter(|&&index| self.lifetimes[index].ended.is_none_or(|ended| ended >= at)).count() > 1
        })
    }
}
