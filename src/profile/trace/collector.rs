//! The threads of a running recording: the rings of the living, and what is kept of the ended.
//!
//! Invariants
//! 1. A thread is among `threads` from [`open`](Collector::open) until its end was forgotten by the
//!    store. So the threads that are kept are as many as live, and those whose ends fit into the
//!    store's memory.
//! 2. The rings of a living thread belong to its slot and to `threads`. When it ends, they are
//!    emptied into the store and freed.

use super::depths::Depths;
use crate::model::locks::Mutex;
use crate::queue;
use crate::record::{Event, Rings, SleepEvent, Store};
use crate::thread::Thread;
use crate::wait::{self, Slot, WaitLabel};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rings that are emptied in one round: half a millisecond's work. The others have their turn in the
/// next rounds; a ring that is full meanwhile is emptied by its thread.
const RINGS_PER_ROUND: usize = 256;

/// Nanoseconds from one round to the next, at least.
const ROUND: u64 = 20_000_000;

/// Bytes that are kept for an ended thread besides its path and its names.
const MEMBER: usize = 256;

/// The events of a running recording.
pub(in crate::profile) struct Collector {
    store: Arc<Store>,
    began: u64,
    /// By the thread's id in the tree, which is by age.
    threads: Mutex<BTreeMap<u64, Member>>,
    /// The thread whose rings were emptied last. Relaxed: the sampler's alone.
    turn: AtomicU64,
    /// When rings were emptied last. Relaxed, as `turn`.
    drained: AtomicU64,
    /// Events that were lost by threads which are not kept any more.
    lost_by_forgotten: AtomicU64,
    depths: Mutex<Depths>,
}

/// A thread that lives, or has ended during the recording.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) path: Arc<str>,
    pub(super) parent: Option<u64>,
    pub(super) spawner: Option<u64>,
    pub(super) begin: u64,
    /// `None`: it lives.
    pub(super) end: Option<u64>,
    /// The number of its OS thread, in stamps.
    pub(super) number: u64,
    /// What the numbers of names in its events mean.
    pub(super) labels: Vec<WaitLabel>,
    pub(super) span_names: Vec<&'static str>,
    pub(super) lost: u64,
    /// The sleep that goes on.
    pub(super) sleep: Option<SleepEvent>,
    living: Option<(Arc<Slot>, Arc<Rings>)>,
}

/// The threads and their events up to some time, from which a trace can be made.
pub(in crate::profile) struct Collected {
    pub(super) began: u64,
    pub(super) end: u64,
    pub(super) members: BTreeMap<u64, Member>,
    pub(super) lost_by_forgotten: u64,
    pub(super) store: Arc<Store>,
    pub(super) depths: Depths,
}

/// What a trace lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::profile) struct Missing {
    /// Events for which a thread's rings had no room.
    pub(in crate::profile) lost: u64,
    /// The oldest events, of which there were more than are kept.
    pub(in crate::profile) forgotten: u64,
    /// How long, from the beginning of the recording, the time is of which not all is kept.
    pub(in crate::profile) forgotten_time: Duration,
}

impl Collector {
    /// For a recording that begins now.
    pub(in crate::profile) fn new() -> Collector {
        let began = wait::nanos(Instant::now());
        Collector {
            store: Arc::default(),
            began,
            threads: Mutex::default(),
            turn: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            lost_by_forgotten: AtomicU64::new(0),
            depths: Mutex::new(Depths::new(ROUND)),
        }
    }

    /// The thread is known from now on. Returns the rings that it shall write into.
    pub(in crate::profile) fn open(&self, thread: &Thread) -> Arc<Rings> {
        let rings = Arc::new(Rings::new(thread.id(), self.store.clone()));
        let member = Member {
            path: thread.path().into(),
            parent: thread.parent().map(|parent| parent.id()),
            spawner: thread.spawner(),
            begin: wait::nanos(thread.started_at()),
            end: None,
            number: 0,
            labels: Vec::new(),
            span_names: Vec::new(),
            lost: 0,
            sleep: None,
            living: Some((thread.waits(), rings.clone())),
        };
        self.threads.lock().insert(thread.id(), member);
        rings
    }

    /// Adds events of the thread with that id in the tree that its rings have not.
    pub(in crate::profile) fn add(&self, thread: u64, events: impl Iterator<Item = Event>) {
        self.store.add(thread, events);
    }

    /// The thread has ended. Called on it, before its slot ends its count.
    pub(in crate::profile) fn close(&self, thread: &Thread) {
        let end = wait::nanos(thread.ended_at().unwrap_or_else(Instant::now));
        let mut threads = self.threads.lock();
        if let Some(member) = threads.get_mut(&thread.id())
            && let Some((slot, rings)) = member.living.take()
        {
            rings.drain();
            member.span_names = slot.span_names();
            (member.end, member.labels, member.number) = (Some(end), slot.wait_labels(), wait::number());
            member.lost = rings.lost();
            let bytes = MEMBER + member.path.len() + member.labels.len() * size_of::<WaitLabel>();
            self.store.end(thread.id(), end, bytes);
        }
        for id in self.store.take_forgotten_threads() {
            let forgotten = threads.remove(&id);
            // Relaxed: a count, under the lock.
            self.lost_by_forgotten.fetch_add(forgotten.map_or(0, |member| member.lost), Ordering::Relaxed);
        }
    }

    /// Empties some rings, of other threads each time, and reads the depths of the queues, unless the
    /// last round was just before. For the sampler.
    pub(in crate::profile) fn drain_some(&self) {
        let now = wait::nanos(Instant::now());
        if now < self.drained.load(Ordering::Relaxed) + ROUND {
            return;
        }
        self.drained.store(now, Ordering::Relaxed);
        self.read_depths();
        let last = self.turn.load(Ordering::Relaxed);
        let mut rings: Vec<Arc<Rings>> = Vec::new();
        {
            let threads = self.threads.lock();
            let after = threads.range((Bound::Excluded(last), Bound::Unbounded));
            let all = after.chain(threads.range(..=last)).take(RINGS_PER_ROUND);
            for (&id, member) in all {
                self.turn.store(id, Ordering::Relaxed);
                rings.extend(member.living.as_ref().map(|(_, rings)| rings.clone()));
            }
        }
        rings.iter().filter(|rings| !rings.is_empty()).for_each(|rings| rings.drain());
    }

    /// Reads how many values the queues have now.
    fn read_depths(&self) {
        let mut depths = self.depths.lock();
        let now = queue::depths(|id| depths.knows(id));
        depths.add(wait::nanos(Instant::now()), &now);
    }

    /// The threads and their events up to now. The recording may go on.
    pub(in crate::profile) fn collect(&self) -> Collected {
        self.read_depths();
        let mut members = self.threads.lock().clone();
        let end = wait::nanos(Instant::now());
        for member in members.values_mut() {
            let Some((slot, rings)) = member.living.take() else { continue };
            // First the sleep: if it ends before the rings are read, it is known twice.
            member.sleep = slot.present_sleep();
            rings.drain();
            member.span_names = slot.span_names();
            (member.labels, member.number, member.lost) = (slot.wait_labels(), slot.number(), rings.lost());
        }
        let lost_by_forgotten = self.lost_by_forgotten.load(Ordering::Relaxed);
        let depths = self.depths.lock().clone();
        Collected { began: self.began, end, members, lost_by_forgotten, store: self.store.clone(), depths }
    }
}

#[cfg(feature = "inspect")]
impl Collected {
    /// Without what happened before `began`.
    pub(in crate::profile) fn since(self, began: Instant) -> Collected {
        Collected { began: self.began.max(wait::nanos(began)), ..self }
    }
}

#[cfg(test)]
impl Member {
    /// A made-up thread; it lives if its life ends at the end of time.
    pub(super) fn test(
        path: &str,
        parent: Option<u64>,
        number: u64,
        life: std::ops::Range<u64>,
        labels: Vec<WaitLabel>,
    ) -> Member {
        let end = Some(life.end).filter(|end| *end < u64::MAX);
        let path = path.into();
        let span_names = vec!["parse", "check"];
        let begin = life.start;
        let (spawner, lost, sleep, living) = (None, 0, None, None);
        Member { path, parent, spawner, begin, end, number, labels, span_names, lost, sleep, living }
    }
}
