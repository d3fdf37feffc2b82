//! The registry of `Engine::Process`: the threads of the tree that live during a recording. The
//! tree reports their starts and ends. Knows no samples.

use crate::profile::raw::{Lifetime, Nanos};
use crate::thread::{Thread, observe};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The threads of the tree that were seen during a recording.
pub(super) struct ThreadRegistry {
    began: Instant,
    entries: Mutex<HashMap<u64, Entry>>,
}

struct Entry {
    path: Arc<str>,
    os_thread: Option<u64>,
    started: Instant,
    /// Its CPU clock when it was first seen.
    baseline: Option<Duration>,
    now: State,
}

enum State {
    /// Its clock is read when it is needed.
    Alive(Thread),
    Ended {
        at: Instant,
        cpu: Option<Duration>,
    },
}

impl ThreadRegistry {
    pub(super) fn new(began: Instant) -> Arc<ThreadRegistry> {
        Arc::new(ThreadRegistry { began, entries: Mutex::default() })
    }

    /// The first report of a thread counts: a thread that starts while the recording starts is
    /// reported twice.
    pub(super) fn see(&self, thread: &Thread) {
        // Before the lock is taken: the tree has locks of its own.
        let (id, entry) = (thread.id(), Entry::of(thread, State::Alive(thread.clone())));
        self.entries.lock().entry(id).or_insert(entry);
    }

    /// Keeps the thread's end and its CPU time, and gives up its handle.
    fn end(&self, thread: &Thread) {
        let at = thread.ended_at().unwrap_or_else(Instant::now);
        let ended = State::Ended { at, cpu: thread.cpu_time() };
        let (id, entry) = (thread.id(), Entry::of(thread, State::Alive(thread.clone())));
        let handle = {
            let mut entries = self.entries.lock();
            let known = entries.entry(id).or_insert(entry);
            std::mem::replace(&mut known.now, ended)
        };
        // Without the lock: it may be the last handle, whose drop calls the tree.
        drop(handle);
    }

    /// All lifetimes up to now, in the order of the threads' ids, which is the order of their
    /// starts.
    pub(super) fn lifetimes(&self) -> Vec<Lifetime> {
        let mut lifetimes: Vec<(u64, Lifetime, Option<Duration>, Option<Thread>)> = Vec::new();
        for (&id, entry) in &*self.entries.lock() {
            let (ended, cpu, thread) = match &entry.now {
                State::Alive(thread) => (None, None, Some(thread.clone())),
                State::Ended { at, cpu } => (Some(self.nanos(*at)), *cpu, None),
            };
            let lifetime = Lifetime {
                path: entry.path.clone(),
                os_thread: entry.os_thread,
                started: self.nanos(entry.started),
                ended,
                cpu: used(entry.baseline, cpu),
                lost: None,
                merged: 0,
                pool: None,
            };
            lifetimes.push((id, lifetime, entry.baseline, thread));
        }
        lifetimes.sort_unstable_by_key(|&(id, ..)| id);
        let with_clock =
            |(_, lifetime, baseline, thread): (u64, Lifetime, Option<Duration>, Option<Thread>)| match thread {
                Some(thread) => Lifetime { cpu: used(baseline, thread.cpu_time()), ..lifetime },
                None => lifetime,
            };
        lifetimes.into_iter().map(with_clock).collect()
    }

    fn nanos(&self, time: Instant) -> Nanos {
        match time.checked_duration_since(self.began) {
            Some(after) => after.as_nanos() as Nanos,
            None => -(self.began.duration_since(time).as_nanos() as Nanos),
        }
    }
}

impl Entry {
    fn of(thread: &Thread, now: State) -> Entry {
        Entry {
            path: thread.path().into(),
            os_thread: thread.os_thread(),
            started: thread.started_at(),
            baseline: thread.cpu_time(),
            now,
        }
    }
}

/// The CPU time between the two values. Zero if one is missing: the system has no such clock, or
/// the thread ended before its clock was read first.
fn used(baseline: Option<Duration>, cpu: Option<Duration>) -> Duration {
    baseline.zip(cpu).map_or(Duration::ZERO, |(baseline, cpu)| cpu.saturating_sub(baseline))
}

impl observe::Observer for ThreadRegistry {
    fn started(&self, thread: &Thread) {
        self.see(thread);
    }

    fn ended(&self, thread: &Thread) {
        self.end(thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use observe::Observer;

    #[test]
    fn a_thread_is_listed_once_with_its_end() {
        let registry = ThreadRegistry::new(Instant::now());
        let thread = Thread::current();
        registry.see(&thread);
        registry.started(&thread);
        let lifetimes = registry.lifetimes();
        assert_eq!(lifetimes.len(), 1);
        assert_eq!((&lifetimes[0].path, lifetimes[0].ended), (&Arc::from(thread.path()), None));
        registry.ended(&thread);
        let lifetimes = registry.lifetimes();
        assert_eq!(lifetimes.len(), 1);
        assert!(lifetimes[0].ended.is_some());
    }
}
