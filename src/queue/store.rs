//! What is behind a queue's handles: two locks, two counters, and a wake-up for
//! each side. Knows no handles.
//!
//! Adders push into `tail`, poppers take from `head`, and a popper that finds `head` empty swaps
//! the whole tail in. So the two sides meet once per batch and not once per value, and taking
//! everything is one swap. Only a thread that has to block touches a token (its `WakeUp`),
//! because it waits for several things at once.
//!
//! Invariants
//! 1. Locks are taken in the order head, tail. Nothing of the user's runs under either.
//! 2. `added` is written under `tail`, `popped` under `head`; both only grow. `added - popped`
//!    values are in the queue.
//! 3. A thread that is about to block first counts itself among the waiting threads of the `WakeUp`
//!    (or, woken, clears `called`) and then looks again under the lock of the other side. A thread
//!    that changes something asks under that lock whether the wake-up is awaited. So the blocking
//!    thread sees the change, or the changing thread sees the blocking thread.
//! 4. A thread that took a token, or gives up, looks once more before it returns. If something is
//!    left for the threads that still wait, it wakes the next one. Between clearing `called` and
//!    that look it has held the lock of the other side. So the look sees the change of an adder or
//!    popper that still saw `called` set.
//!
//! Models: `queue/loom_tests.rs`.

use super::buffers::{Head, Tail};
use super::errors::{AddError, PopError};
use super::left::Parts;
use super::wake_up::{Spin, WakeUp};
use crate::model::{AtomicBool, AtomicU64, Mutex, MutexGuard};
use crate::signal::{BatchWake, Signal, WaitSet};
use crate::wait::{self, Ender, Handles, Users, WaitDescription};
use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const IN_MODEL: bool = cfg!(all(test, selvedge_model));

/// A thread that waits for room logs a warning each time this has passed. In a model it must not
/// wake up for that.
const FULL_WARNING: Duration = if IN_MODEL { Duration::MAX } else { Duration::from_secs(5) };

/// The number of pauses in which an adder keeps away from its lock when a popper wants it: some
/// transfers of a cache line.
const STAND_BACK: usize = if IN_MODEL { 1 } else { 64 };

/// How often a popper tries that lock before it blocks on it.
const TAIL_TRIES: usize = if IN_MODEL { 1 } else { 64 };

pub(super) struct Store<T> {
    pub(super) name: Arc<str>,
    pub(super) closed: Signal,
    capacity: u64,
    // Padded: different threads write these.
    tail: CachePadded<Side<Tail<T>>>,
    head: CachePadded<Side<Head<T>>>,
    /// The popper that holds the head's lock asks the adders to leave the tail's for a moment.
    ///
    /// | value | means                                         | set by                                 |
    /// |-------|-----------------------------------------------|----------------------------------------|
    /// | false | no popper asks, or an adder has just stood back | the popper, an adder that stood back |
    /// | true  | a popper tries to get the tail's lock         | the popper                             |
    ///
    /// Only a hint, hence relaxed.
    tail_wanted: CachePadded<AtomicBool>,
    /// Poppers wait here for a value.
    items: CachePadded<WakeUp>,
    /// Adders wait here for room.
    room: CachePadded<WakeUp>,
    /// The threads that had to wait for a value. They can make room, as far as is known.
    pub(super) poppers: Arc<Users>,
}

/// One end of the queue, with the number of values that have passed it. Only the thread that holds
/// the lock writes the count.
struct Side<E> {
    end: Mutex<E>,
    count: AtomicU64,
}

/// What was found at the head.
pub(super) enum Taken<T> {
    Value(T),
    Empty,
    Closed,
}

impl<T> Store<T> {
    pub(super) fn new(name: &str, capacity: u64) -> Store<T> {
        Store {
            name: Arc::from(name),
            closed: Signal::new(format!("{name} closed")),
            capacity,
            tail: CachePadded::new(Side { end: Mutex::new(Tail::new()), count: AtomicU64::new(0) }),
            head: CachePadded::new(Side { end: Mutex::new(Head::new()), count: AtomicU64::new(0) }),
            tail_wanted: CachePadded::new(AtomicBool::new(false)),
            items: CachePadded::new(WakeUp::new()),
            room: CachePadded::new(WakeUp::new()),
            poppers: Arc::default(),
        }
    }

    /// What the list of living queues reads.
    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            added: self.added(),
            popped: self.popped(),
            #[cfg(feature = "inspect")]
            closed: &self.closed,
            #[cfg(feature = "inspect")]
            capacity: self.capacity,
        }
    }

    fn added(&self) -> &AtomicU64 {
        &self.tail.count
    }

    fn popped(&self) -> &AtomicU64 {
        &self.head.count
    }

    /// How many values were ever added. It may be out of date when the call returns.
    pub(super) fn added_count(&self) -> u64 {
        // Relaxed: the caller compares it with another reading, and hands nothing on.
        self.added().load(Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> u64 {
        // `popped` first: it never overtakes `added`, so the difference is not negative.
        let popped = self.popped().load(Ordering::Acquire);
        self.added().load(Ordering::Acquire) - popped
    }

    fn has_room(&self) -> bool {
        self.len() < self.capacity
    }

    fn room(&self, tail: &mut Tail<T>) -> u64 {
        let added = self.added().load(Ordering::Relaxed);
        if added - tail.popped_seen >= self.capacity {
            tail.popped_seen = self.popped().load(Ordering::Acquire);
        }
        self.capacity - (added - tail.popped_seen)
    }

    /// Ends a push of `count` values: counts them under the lock, and wakes a popper after it.
    #[inline]
    fn end_push(&self, tail: MutexGuard<'_, Tail<T>>, count: u64) {
        // Only written under this lock, so a load and a store make an addition.
        self.added().store(self.added().load(Ordering::Relaxed) + count, Ordering::Release);
        let awaited = self.items.is_awaited();
        drop(tail);
        if awaited {
            self.items.wake_one();
        }
        if self.tail_wanted.load(Ordering::Relaxed) {
            self.stand_back();
        }
    }

    /// Gives the popper that asked for the tail's lock the time to take it, once for each time it
    /// asks.
    #[cold]
    fn stand_back(&self) {
        for _ in 0..STAND_BACK {
            std::hint::spin_loop();
            if !self.tail_wanted.load(Ordering::Relaxed) {
                return;
            }
        }
        self.tail_wanted.store(false, Ordering::Relaxed);
    }

    /// The tail's lock, for a popper. The popper holds the head's lock, so only one popper asks at
    /// a time.
    ///
    /// An adder in a loop holds the tail's lock most of the time and has its cache line. A popper
    /// that only blocks on the mutex sleeps after a few failed tries, and the queue fills up before
    /// it is awake again.
    fn tail_for_popper(&self) -> MutexGuard<'_, Tail<T>> {
        if let Some(tail) = self.tail.end.try_lock() {
            return tail;
        }
        let mut tail = None;
        for _ in 0..TAIL_TRIES {
            self.tail_wanted.store(true, Ordering::Relaxed);
            (0..4).for_each(|_| std::hint::spin_loop());
            tail = self.tail.end.try_lock();
            if tail.is_some() {
                break;
            }
        }
        self.tail_wanted.store(false, Ordering::Relaxed);
        tail.unwrap_or_else(|| self.tail.end.lock())
    }

    #[inline]
    pub(super) fn try_add(&self, value: T) -> Result<(), AddError<T>> {
        let mut tail = self.tail.end.lock();
        if tail.closed {
            return Err(AddError::Closed(value));
        }
        if self.room(&mut tail) == 0 {
            return Err(AddError::Full(value));
        }
        tail.fresh.push(value);
        self.end_push(tail, 1);
        Ok(())
    }

    #[inline]
    pub(super) fn add(
        &self,
        value: T,
        till: Option<&Signal>,
        handles: impl FnOnce() -> Handles,
    ) -> Result<(), AddError<T>> {
        match self.try_add(value) {
            Err(AddError::Full(value)) => self.add_blocking(value, till, handles),
            outcome => outcome,
        }
    }

    #[cold]
    fn add_blocking(
        &self,
        value: T,
        till: Option<&Signal>,
        handles: impl FnOnce() -> Handles,
    ) -> Result<(), AddError<T>> {
        // One value in an Option, so that the attempt can be repeated.
        let mut value = Some(value);
        let outcome = self.until_room(till, handles, || match value.take().map(|value| self.try_add(value)) {
            Some(Err(AddError::Full(back))) => {
                value = Some(back);
                None
            }
            Some(outcome) => Some(outcome),
            None => Some(Ok(())),
        });
        match (outcome, value) {
            (Some(outcome), _) => outcome,
            (None, Some(value)) => Err(AddError::Stopped(value)),
            (None, None) => Ok(()),
        }
    }

    /// The number of values for which there is room. It may be out of date when the call returns.
    pub(super) fn free_places(&self) -> usize {
        usize::try_from(self.capacity.saturating_sub(self.len())).unwrap_or(usize::MAX)
    }

    /// Adds the first values of `batch`, as many as there is room for. `None` if some are left over.
    pub(super) fn try_add_batch(&self, batch: &mut Vec<T>) -> Option<Result<(), AddError<()>>> {
        let mut tail = self.tail.end.lock();
        if tail.closed {
            return Some(Err(AddError::Closed(())));
        }
        let count = self.room(&mut tail).min(batch.len() as u64);
        tail.fresh.extend(batch.drain(..count as usize));
        self.end_push(tail, count);
        batch.is_empty().then_some(Ok(()))
    }

    /// Adds all of `batch`. After an error, what was not added is in `batch`.
    pub(super) fn add_batch(&self, batch: &mut Vec<T>, handles: impl FnOnce() -> Handles) -> Result<(), AddError<()>> {
        match self.try_add_batch(batch) {
            Some(outcome) => outcome,
            None => self.until_room(None, handles, || self.try_add_batch(batch)).unwrap_or(Ok(())),
        }
    }

    /// Repeats `attempt` whenever there may be room, until it has an outcome (Some) or `till` has
    /// gone (None).
    fn until_room<R>(
        &self,
        till: Option<&Signal>,
        handles: impl FnOnce() -> Handles,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        // While it spins, it waits for more than one free place: each value added to a nearly full
        // queue takes the poppers' cache lines.
        let few = self.capacity / 8;
        let mut spin = Spin::new();
        let since = spin.began();
        while !self.closed.is_go() && !till.is_some_and(Signal::is_go) && spin.pause() {
            let mut attempt = || if self.len() + few < self.capacity { attempt() } else { None };
            if let Some(outcome) = attempt() {
                return Some(outcome);
            }
        }
        let published = self.room_description(till, handles).publish_since(since);
        let mut warn_at = since.checked_add(FULL_WARNING);
        let waiting = self.room.enter();
        let mut wait_set = WaitSet::default();
        let outcome = loop {
            // By invariant 3 the poppers' lock must order the next look. The look itself is under
            // the tail's lock.
            drop(self.head.end.lock());
            if let Some(outcome) = attempt() {
                break Some(outcome);
            }
            if till.is_some_and(Signal::is_go) {
                break None;
            }
            if warn_at.is_some_and(|at| Instant::now() >= at) {
                warn_at = warn_at.and_then(|at| at.checked_add(FULL_WARNING));
                self.warn_full(since);
            }
            wait_set.clear(warn_at);
            if let Some(till) = till {
                wait_set.watch(till);
            }
            waiting.block(&wait_set);
        };
        if outcome.is_none() {
            wait::ended_by(|| till.map_or(Ender::UNKNOWN, Signal::ender));
        }
        drop(waiting);
        drop(published);
        self.wake_next_adder();
        outcome
    }

    /// Invariant 4, for adders: if something is left for the threads that still wait, wakes one.
    fn wake_next_adder(&self) {
        if self.room.is_awaited() && (self.has_room() || self.closed.is_go()) {
            self.room.pass_on();
        }
    }

    /// Takes the first value, if there is one. `Empty` may also mean closed: the tail's lock is
    /// left to the adders when the counters say that there is nothing.
    #[inline]
    pub(super) fn take(&self) -> Taken<T> {
        let mut head = self.head.end.lock();
        if let Some(value) = head.ready.pop_front() {
            self.end_pop(head, 1);
            return Taken::Value(value);
        }
        if self.len() == 0 { Taken::Empty } else { self.take_swapping(head) }
    }

    /// `take` that passes through both locks in each case: invariants 3 and 4 rest on that.
    fn take_for_sure(&self) -> Taken<T> {
        let mut head = self.head.end.lock();
        match head.ready.pop_front() {
            Some(value) => {
                // The value does not need the tail's lock. The caller's last look does: without it,
                // an adder that still sees `called` and a popper that does not yet see its value
                // would both leave the next sleeper asleep.
                drop(self.tail_for_popper());
                self.end_pop(head, 1);
                Taken::Value(value)
            }
            None => self.take_swapping(head),
        }
    }

    /// `take` when `head` is empty.
    fn take_swapping(&self, mut head: MutexGuard<'_, Head<T>>) -> Taken<T> {
        let (closed, surplus) = head.swap(|| self.tail_for_popper());
        let taken = match head.ready.pop_front() {
            Some(value) => {
                self.end_pop(head, 1);
                Taken::Value(value)
            }
            None => {
                drop(head);
                if closed { Taken::Closed } else { Taken::Empty }
            }
        };
        drop(surplus);
        taken
    }

    pub(super) fn take_all(&self) -> Vec<T> {
        let mut head = self.head.end.lock();
        // The values move into a vector of this thread's, and the buffers stay; see `Head::swap`.
        let mut all = Vec::with_capacity(self.len() as usize);
        all.extend(head.ready.drain(..));
        let mut surplus = Vec::new();
        if self.len() > all.len() as u64 {
            surplus = head.swap(|| self.tail_for_popper()).1;
            all.extend(head.ready.drain(..));
        }
        let count = all.len() as u64;
        self.end_pop(head, count);
        drop(surplus);
        all
    }

    /// Ends a pop of `count` values; the mirror of `end_push`.
    #[inline]
    fn end_pop(&self, head: MutexGuard<'_, Head<T>>, count: u64) {
        self.popped().store(self.popped().load(Ordering::Relaxed) + count, Ordering::Release);
        let awaited = self.room.is_awaited();
        drop(head);
        if awaited {
            self.room.wake_one();
        }
    }

    #[cold]
    pub(super) fn pop_blocking(&self, till: Option<&Signal>, handles: impl FnOnce() -> Handles) -> Result<T, PopError> {
        let mut spin = Spin::new();
        let since = spin.began();
        let what = || {
            self.poppers.add_me();
            let limited = till.is_some_and(Signal::can_go);
            let what = WaitDescription::new("queue", self.name.clone()).limited(limited);
            if limited { what } else { what.handles(handles()) }
        };
        while !self.closed.is_go() && !till.is_some_and(Signal::is_go) && spin.pause() {
            if let Taken::Value(value) = self.take() {
                return Ok(value);
            }
        }
        let published = what().publish_since(since);
        let waiting = self.items.enter();
        let mut wait_set = WaitSet::default();
        let outcome = loop {
            match self.take_for_sure() {
                Taken::Value(value) => break Ok(value),
                Taken::Closed => break Err(PopError::Closed),
                Taken::Empty => {}
            }
            if till.is_some_and(Signal::is_go) {
                break Err(PopError::Stopped);
            }
            wait_set.clear(None);
            if let Some(till) = till {
                wait_set.watch(till);
            }
            waiting.block(&wait_set);
        };
        if matches!(outcome, Err(PopError::Stopped)) {
            wait::ended_by(|| till.map_or(Ender::UNKNOWN, Signal::ender));
        }
        drop(waiting);
        drop(published);
        if self.items.is_awaited() && (self.len() > 0 || self.closed.is_go()) {
            self.items.pass_on();
        }
        outcome
    }

    /// Returns `true` for the call that closed the queue.
    pub(super) fn close(&self) -> bool {
        self.close_unless_more(u64::MAX).unwrap_or(false)
    }

    /// [`close`](Self::close), unless more than `added` values were ever added (`None`).
    pub(super) fn close_unless_more(&self, added: u64) -> Option<bool> {
        let first = {
            let mut tail = self.tail.end.lock();
            // Relaxed: it is only written under this lock.
            if self.added().load(Ordering::Relaxed) > added {
                return None;
            }
            !std::mem::replace(&mut tail.closed, true)
        };
        if first {
            let mut batch = BatchWake::default();
            batch.go_unexplained(&self.closed);
            // One of each side is woken, and wakes the next one.
            self.items.wake_one();
            self.room.wake_one();
            // A target of `closed` runs last: it may wait for one of these threads.
            drop(batch);
        }
        Some(first)
    }
}
