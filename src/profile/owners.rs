//! Finds the owner of a sample of `Engine::Process`, which carries a `pthread_t` and a time. The
//! system gives a `pthread_t` to another thread once its own has ended, so the time decides. Uses
//! raw data only.

use super::raw::{GRACE, Held, Lifetime, Nanos};
use std::cmp::Reverse;
use std::collections::HashMap;

/// The lifetimes of a recording, by their handles.
pub(super) struct Owners {
    by_os_thread: HashMap<u64, Vec<Interval>>,
}

/// A lifetime had the handle during this time.
struct Interval {
    lifetime: usize,
    from: Nanos,
    /// `None`: until now.
    till: Option<Nanos>,
    is_mixed: bool,
}

impl Owners {
    /// For these lifetimes.
    pub(super) fn new(lifetimes: &[Lifetime]) -> Owners {
        let mut by_os_thread: HashMap<u64, Vec<Interval>> = HashMap::new();
        for (index, lifetime) in lifetimes.iter().enumerate() {
            if let Some(os_thread) = lifetime.os_thread {
                let interval =
                    Interval { lifetime: index, from: lifetime.started, till: lifetime.ended, is_mixed: false };
                by_os_thread.entry(os_thread).or_default().push(interval);
            }
            for &Held { os_thread, from, till, is_mixed } in &lifetime.held {
                let interval = Interval { lifetime: index, from, till: Some(till), is_mixed };
                by_os_thread.entry(os_thread).or_default().push(interval);
            }
        }
        Owners { by_os_thread }
    }

    /// The index of the lifetime that had the handle `os_thread` at that time, or of the nearest
    /// one within 100 ms.
    pub(super) fn owner(&self, os_thread: u64, at: Nanos) -> Option<usize> {
        // Of two lifetimes that contain the time, the later one has the handle: the other thread
        // has ended without a report.
        let intervals = self.by_os_thread.get(&os_thread)?;
        let nearest = intervals.iter().min_by_key(|interval| (interval.distance(at), Reverse(interval.from)))?;
        (nearest.distance(at) <= GRACE).then_some(nearest.lifetime)
    }

    /// Returns `true` if a thread of another lifetime had that handle after the given time. Its samples
    /// with an equal stack may have been counted with the first thread's.
    pub(super) fn has_successor(&self, os_thread: u64, at: Nanos) -> bool {
        let Some(intervals) = self.by_os_thread.get(&os_thread) else { return false };
        let mut later = intervals.iter().filter(|interval| interval.till.is_none_or(|till| till >= at));
        let first = later.next();
        first.is_some_and(|first| {
            first.is_mixed || later.any(|other| other.is_mixed || other.lifetime != first.lifetime)
        })
    }
}

impl Interval {
    /// How far that time is from the interval. Zero within it.
    fn distance(&self, at: Nanos) -> Nanos {
        let before = self.from.saturating_sub(at).max(0);
        let after = self.till.map_or(0, |till| at.saturating_sub(till).max(0));
        before.max(after)
    }
}
