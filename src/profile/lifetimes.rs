//! Which thread lived when: the samples of `Engine::Process` carry a `pthread_t`, which the system
//! gives to another thread once its own has ended.

use super::engines::Nanos;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// One thread's part in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) path: Arc<str>,
    pub(super) os_thread: Option<u64>,
    pub(super) started: Nanos,
    /// `None`: it lives.
    pub(super) ended: Option<Nanos>,
    /// What its CPU clock went on by, during the recording.
    pub(super) cpu: Duration,
    /// Samples that the engine knows to have lost; `None`: that is to be judged by the clock.
    pub(super) lost: Option<u64>,
    /// Those of them that came together with the next one.
    pub(super) merged: u64,
    /// Set if this stands for several threads, which have all ended.
    pub(super) pool: Option<Pool>,
}

/// Ended threads that are one [`Lifetime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) threads: u64,
    /// How long they lived during the recording, all together.
    pub(super) wall: Nanos,
}

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
