//! The registry of `Engine::Process`: the threads of the tree that live during a recording. The
//! tree reports their starts and ends. Knows no samples.

use super::pools::{Ended, are_many, fold_all};
use crate::profile::raw::{Lifetime, Nanos};
use crate::thread::{Thread, observe};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The threads of the tree that were seen during a recording.
pub(super) struct ThreadRegistry {
    began: Instant,
    threads: Mutex<Threads>,
}

/// A thread is in one of the two.
#[derive(Default)]
struct Threads {
    /// By the thread's id.
    living: HashMap<u64, Living>,
    ended: Vec<Ended>,
}

struct Living {
    /// Its clock is read when it is needed.
    thread: Thread,
    /// Its CPU clock when it was first seen.
    baseline: Option<Duration>,
}

impl ThreadRegistry {
    pub(super) fn new(began: Instant) -> Arc<ThreadRegistry> {
        Arc::new(ThreadRegistry { began, threads: Mutex::default() })
    }

    /// The first report of a thread counts: a thread that starts while the recording starts is
    /// reported twice.
    pub(super) fn see(&self, thread: &Thread) {
        // Before the lock is taken: the tree has locks of its own.
        let living = Living { thread: thread.clone(), baseline: thread.cpu_time() };
        let mut threads = self.threads.lock();
        // A thread that ended before this call got the lock reports its end itself.
        if thread.ended_at().is_none() {
            threads.living.entry(thread.id()).or_insert(living);
        }
    }

    /// Keeps the thread's end and its CPU time, and gives up its handle.
    fn end(&self, thread: &Thread) {
        let (at, cpu) = (thread.ended_at().unwrap_or_else(Instant::now), thread.cpu_time());
        let mut ended = Ended {
            id: thread.id(),
            spawned_at: thread.spawned_at(),
            lifetime: Lifetime { ended: Some(self.nanos(at)), ..self.lifetime(thread) },
        };
        let handle = {
            let mut threads = self.threads.lock();
            let known = threads.living.remove(&ended.id);
            ended.lifetime.cpu = known.as_ref().map_or(Duration::ZERO, |known| used(known.baseline, cpu));
            threads.ended.push(ended);
            if are_many(&threads.ended) {
                let living = self.handles(&threads.living);
                fold_all(&mut threads.ended, &living);
            }
            known
        };
        // Without the lock: it may be the last handle, whose drop calls the tree.
        drop(handle);
    }

    /// The handles of the living threads, and since when they have them.
    fn handles(&self, living: &HashMap<u64, Living>) -> HashMap<u64, Nanos> {
        let mut handles = HashMap::new();
        for Living { thread, .. } in living.values() {
            if let Some(os_thread) = thread.os_thread() {
                let started = self.nanos(thread.started_at());
                let first = handles.entry(os_thread).or_insert(started);
                *first = started.min(*first);
            }
        }
        handles
    }

    /// All lifetimes up to now, in the order of the threads' ids, which is the order of their
    /// starts. A pool has the place of its first thread.
    pub(super) fn lifetimes(&self) -> Vec<Lifetime> {
        let (living, mut lifetimes) = {
            let threads = self.threads.lock();
            let living = threads.living.values().map(|Living { thread, baseline }| (thread.clone(), *baseline));
            let ended = threads.ended.iter().map(|ended| (ended.id, ended.lifetime.clone()));
            (living.collect::<Vec<_>>(), ended.collect::<Vec<_>>())
        };
        lifetimes.extend(living.into_iter().map(|(thread, baseline)| {
            let cpu = used(baseline, thread.cpu_time());
            (thread.id(), Lifetime { cpu, ..self.lifetime(&thread) })
        }));
        lifetimes.sort_unstable_by_key(|&(id, _)| id);
        lifetimes.into_iter().map(|(_, lifetime)| lifetime).collect()
    }

    /// The thread, as if it had used nothing.
    fn lifetime(&self, thread: &Thread) -> Lifetime {
        Lifetime {
            path: thread.path().into(),
            os_thread: thread.os_thread(),
            started: self.nanos(thread.started_at()),
            ended: None,
            cpu: Duration::ZERO,
            lost: None,
            merged: 0,
            pool: None,
            held: Vec::new(),
        }
    }

    fn nanos(&self, time: Instant) -> Nanos {
        match time.checked_duration_since(self.began) {
            Some(after) => after.as_nanos() as Nanos,
            None => -(self.began.duration_since(time).as_nanos() as Nanos),
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

    #[test]
    fn many_short_threads_are_few_entries() {
        let registry = ThreadRegistry::new(Instant::now());
        registry.see(&Thread::current());
        for n in 0..500 {
            let seen = registry.clone();
            let handle = crate::spawn(format!("connection-{n}"), move |_| seen.see(&Thread::current()));
            let thread = handle.thread().clone();
            handle.join().unwrap();
            registry.ended(&thread);
            // The walk over the tree may come late.
            registry.see(&thread);
        }
        let lifetimes = registry.lifetimes();
        assert!(lifetimes.len() <= 66, "{} entries", lifetimes.len());
        let living: Vec<_> = lifetimes.iter().filter(|lifetime| lifetime.ended.is_none()).collect();
        assert!(living.len() == 1 && *living[0].path == *Thread::current().path(), "{living:?}");
        let members = |lifetime: &Lifetime| lifetime.pool.map_or(1, |pool| pool.threads);
        assert_eq!(lifetimes.iter().map(members).sum::<u64>(), 501);
        let pool = lifetimes.iter().find(|lifetime| lifetime.pool.is_some()).unwrap();
        assert!(pool.path.ends_with("/connection-*") && pool.cpu > Duration::ZERO && !pool.held.is_empty(), "{pool:?}");
    }
}
