//! Which thread holds a thing, and which threads use a side of a queue, by the numbers of OS
//! threads. Data only: the calling thread's own steps stand in `holding`.

use crate::model::locks::Mutex;
use crossbeam_utils::atomic::AtomicCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// The thread that holds a thing, and where in the source it took the thing.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    thread: AtomicU64,
    /// The place of the last thread that took it.
    place: AtomicCell<Option<&'static Location<'static>>>,
}

impl Holder {
    // Relaxed throughout: a thread recognises itself by what it wrote itself. Others read it for a
    // human, or, in the search for deadlocks, after they have seen under a lock that the holder
    // blocks: what it wrote before, they see.

    /// The thread of this number takes it, at `place` in the source.
    #[inline]
    pub(super) fn take_as(&self, number: u64, place: &'static Location<'static>) {
        self.place.store(Some(place));
        self.thread.store(number, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.thread.store(0, Ordering::Relaxed);
    }

    /// The number of the holder's thread; 0 if no thread holds it.
    pub(crate) fn number(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Where the holder took it.
    pub(crate) fn place(&self) -> Option<&'static Location<'static>> {
        (self.number() != 0).then(|| self.place.load()).flatten()
    }
}

/// The threads that have been seen to use a side of a queue, by their numbers. Only a thread that
/// had to block is seen.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    threads: Vec<u64>,
    /// There were too many threads to note them all.
    is_incomplete: bool,
}

impl Users {
    /// Beyond this number of living threads the list is incomplete, and no use.
    pub(super) const MAX_TRACKED: usize = 64;

    /// Notes that the thread of this number uses it. Threads for which `is_alive` says `false` make
    /// room for it.
    pub(super) fn add(&self, number: u64, is_alive: impl Fn(u64) -> bool) {
        let mut seen = self.0.lock();
        if !seen.threads.contains(&number) {
            if seen.threads.len() == Users::MAX_TRACKED {
                seen.threads.retain(|thread| is_alive(*thread));
            }
            if seen.threads.len() == Users::MAX_TRACKED {
                seen.is_incomplete = true;
            } else {
                seen.threads.push(number);
            }
        }
    }

    /// The threads among them for which `is_alive` says `true`. `None` if there were too many, or
    /// none at all.
    pub(super) fn filtered(&self, is_alive: impl Fn(u64) -> bool) -> Option<Vec<u64>> {
        let seen = self.0.lock();
        let alive: Vec<u64> = seen.threads.iter().copied().filter(|thread| is_alive(*thread)).collect();
        (!seen.is_incomplete && !alive.is_empty()).then_some(alive)
    }
}
