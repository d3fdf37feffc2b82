//! Which thread lived when: samples carry a `pthread_t`, which the system gives to another thread once its own has ended.

use super::engines::Nanos;
use crate::thread::{Thread, observe};
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The threads of the tree that were seen during a recording.
pub(super) struct Roster {
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
    /// Asked for its clock when someone wants to know.
    Alive(Thread),
    Ended {
        at: Instant,
        cpu: Option<Duration>,
    },
}

/// One thread's part in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) path: Arc<str>,
    pub(super) os_thread: Option<u64>,
    pub(super) started: Nanos,
    /// `None`: it lives.
    pub(super) ended: Option<Nanos>,
    /// What its CPU clock went on by, during the recording.
    pub(super) cpu: Duration,
    /// Samples that the engine knows to have lost; `None`: that is to be judged by the clock.
    pub(super) lost: Option<u64>,
}

impl Roster {
    pub(super) fn new(began: Instant) -> Arc<Roster> {
        Arc::new(Roster { began, entries: Mutex::default() })
    }

    /// The first word on a thread counts: one that starts while the recording does is told of twice.
    pub(super) fn see(&self, thread: &Thread) {
        // Asked before our lock is taken: the tree has locks of its own.
        let (id, entry) = (thread.id(), Entry::of(thread, State::Alive(thread.clone())));
        self.entries.lock().entry(id).or_insert(entry);
    }

    fn bury(&self, thread: &Thread) {
        let at = thread.ended_at().unwrap_or_else(Instant::now);
        let ended = State::Ended { at, cpu: thread.cpu_time() };
        let (id, entry) = (thread.id(), Entry::of(thread, State::Alive(thread.clone())));
        let handle = {
            let mut entries = self.entries.lock();
            let known = entries.entry(id).or_insert(entry);
            std::mem::replace(&mut known.now, ended)
        };
        // Perhaps the last handle: given up without our lock.
        drop(handle);
    }

    /// All lives up to now, in the order of their threads' ids, which is that of their starts.
    pub(super) fn lives(&self) -> Vec<Life> {
        let mut lives: Vec<(u64, Life, Option<Duration>, Option<Thread>)> = Vec::new();
        for (&id, entry) in &*self.entries.lock() {
            let (ended, cpu, thread) = match &entry.now {
                State::Alive(thread) => (None, None, Some(thread.clone())),
                State::Ended { at, cpu } => (Some(self.nanos(*at)), *cpu, None),
            };
            let life = Life {
                path: entry.path.clone(),
                os_thread: entry.os_thread,
                started: self.nanos(entry.started),
                ended,
                cpu: used(entry.baseline, cpu),
                lost: None,
            };
            lives.push((id, life, entry.baseline, thread));
        }
        lives.sort_unstable_by_key(|&(id, ..)| id);
        let with_clock = |(_, life, baseline, thread): (u64, Life, Option<Duration>, Option<Thread>)| match thread {
            Some(thread) => Life { cpu: used(baseline, thread.cpu_time()), ..life },
            None => life,
        };
        lives.into_iter().map(with_clock).collect()
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

/// Zero where a clock is missing: there is none to be had, or the thread ended before its first could be read.
fn used(baseline: Option<Duration>, cpu: Option<Duration>) -> Duration {
    baseline.zip(cpu).map_or(Duration::ZERO, |(baseline, cpu)| cpu.saturating_sub(baseline))
}

impl observe::Observer for Roster {
    fn started(&self, thread: &Thread) {
        self.see(thread);
    }

    fn ended(&self, thread: &Thread) {
        self.bury(thread);
    }
}

/// A thread runs a little before it is registered and after it has signed off: such samples are still its own.
const GRACE: Nanos = 100_000_000;

/// Finds whose samples are whose.
pub(super) struct Owners<'a> {
    lives: &'a [Life],
    by_os_thread: HashMap<u64, Vec<usize>>,
}

impl<'a> Owners<'a> {
    pub(super) fn new(lives: &'a [Life]) -> Owners<'a> {
        let mut by_os_thread: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, life) in lives.iter().enumerate() {
            if let Some(os_thread) = life.os_thread {
                by_os_thread.entry(os_thread).or_default().push(index);
            }
        }
        Owners { lives, by_os_thread }
    }

    /// Index of the life that `os_thread` led at that time, or of the nearest one within 100 ms.
    pub(super) fn owner(&self, os_thread: u64, at: Nanos) -> Option<usize> {
        let distance = |&index: &usize| {
            let life = &self.lives[index];
            let before = life.started.saturating_sub(at).max(0);
            let after = life.ended.map_or(0, |ended| at.saturating_sub(ended).max(0));
            before.max(after)
        };
        // Of two that should both live, the later has the handle: the other has ended without a word.
        let lives = self.by_os_thread.get(&os_thread)?.iter().copied();
        let nearest = lives.min_by_key(|index| (distance(index), Reverse(self.lives[*index].started)))?;
        (distance(&nearest) <= GRACE).then_some(nearest)
    }

    /// Whether another thread had that handle after the given time: what it did the same way may have been counted with
    /// the first one's samples.
    pub(super) fn has_successor(&self, os_thread: u64, at: Nanos) -> bool {
        let lives = self.by_os_thread.get(&os_thread);
        lives.is_some_and(|lives| {
            lives.iter().filter(|&&index| self.lives[index].ended.is_none_or(|ended| ended >= at)).count() > 1
        })
    }
}
