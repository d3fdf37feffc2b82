//! Queues that move values between threads. Knows `signal` and `wait`; knows no threads of the tree.
//!
//! Two locks: adders push into `tail`, poppers take from `head`, and a popper who finds `head` empty swaps the whole tail
//! in. So the two sides meet once for a batch and not once for a value, and taking everything is two swaps. Only a side
//! that has to block touches a channel (its `Bell`), because there several things are waited for at once.
//!
//! Invariants
//! 1. Locks are taken in the order head, tail. Nothing of the user's runs under either.
//! 2. `added` is written under `tail`, `popped` under `head`; both only grow. `added - popped` values are in the queue.
//! 3. Whoever is about to block first counts itself in `Bell::waiting` and then looks again under the lock of the other
//!    side. Whoever changes something reads `waiting` under that lock. So either the change is seen, or the sleeper.
//! 4. Whoever took a token from a bell, and whoever gives up, rings on if there is something left for those who still wait.

use crate::signal::{Round, Signal};
use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A thread that waits for room this long says so in the log, and again each time it has passed.
const FULL_WARNING: Duration = Duration::from_secs(5);

/// Values that `extend` gathers before it takes the lock.
const BATCH: usize = 1024;

/// A first-in first-out queue between any number of threads. Values move; nothing is copied or serialized. Clones are
/// handles to the same queue.
///
/// It ends by being closed: adding fails from then on and gives the value back, popping takes what is left and then says
/// that this was all.
///
/// Peers are Go's channels, mo-threads' `Queue` and crossbeam's channels, from which it differs by its name, by `close`
/// being a call and not the drop of the last sender, and by the `_till` forms that any [`Signal`] ends.
///
/// ```
/// use selvedge::Queue;
///
/// let lines = Queue::bounded("lines", 100);
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         lines.extend(["to be", "or not"]).unwrap();
///         lines.close();
///     });
///     assert_eq!(lines.iter().collect::<Vec<_>>(), ["to be", "or not"]);
/// });
/// ```
pub struct Queue<T>(Arc<Inner<T>>);

/// Keeps the two sides on cache lines of their own; 128 because lines are fetched in pairs.
#[repr(align(128))]
struct Apart<T>(T);

struct Inner<T> {
    name: Arc<str>,
    capacity: u64,
    tail: Apart<Mutex<Tail<T>>>,
    added: AtomicU64,
    head: Apart<Mutex<Head<T>>>,
    popped: AtomicU64,
    closed: Signal,
    /// Poppers wait here for a value.
    items: Bell,
    /// Adders wait here for room.
    room: Bell,
}

struct Tail<T> {
    fresh: Vec<T>,
    closed: bool,
    /// `popped` as last looked at: the other side's cache line is read only when the queue looks full.
    popped_seen: u64,
}

struct Head<T> {
    ready: VecDeque<T>,
}

/// Wakes one of those who wait: a token in a channel that holds one.
struct Bell {
    waiting: AtomicUsize,
    ring: Sender<()>,
    heard: Receiver<()>,
}

impl Bell {
    fn new() -> Bell {
        let (ring, heard) = crossbeam_channel::bounded(1);
        Bell { waiting: AtomicUsize::new(0), ring, heard }
    }

    /// Relaxed: ordered by the lock under which it is read; see invariant 3.
    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    fn ring(&self) {
        // Full: a token lies there already, and whoever takes it rings on.
        let _ = self.ring.try_send(());
    }

    /// Counts the caller among the waiting until the guard drops.
    fn enter(&self) -> InBell<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        InBell(self)
    }
}

struct InBell<'a>(&'a Bell);

impl InBell<'_> {
    /// Blocks for a token, a signal or the deadline in `round`.
    fn block(&self, round: &Round) {
        round.block_with(&self.0.heard);
    }
}

impl Drop for InBell<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a value could not be added. The value is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AddError<T> {
    /// The queue is closed, and stays so.
    Closed(T),
    /// The signal that was to end the wait went first.
    Stopped(T),
    /// There is no room just now ([`Queue::try_add`] only).
    Full(T),
}

impl<T> AddError<T> {
    /// The value that was not added.
    pub fn into_inner(self) -> T {
        match self {
            AddError::Closed(value) | AddError::Stopped(value) | AddError::Full(value) => value,
        }
    }

    /// The queue is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, AddError::Closed(_))
    }

    /// The wait was ended by its signal.
    pub fn is_stopped(&self) -> bool {
        matches!(self, AddError::Stopped(_))
    }

    /// There was no room.
    pub fn is_full(&self) -> bool {
        matches!(self, AddError::Full(_))
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> AddError<U> {
        match self {
            AddError::Closed(value) => AddError::Closed(f(value)),
            AddError::Stopped(value) => AddError::Stopped(f(value)),
            AddError::Full(value) => AddError::Full(f(value)),
        }
    }
}

impl<T> fmt::Display for AddError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddError::Closed(_) => "the queue is closed",
            AddError::Stopped(_) => "stopped while waiting for room in the queue",
            AddError::Full(_) => "the queue is full",
        })
    }
}

impl<T> fmt::Debug for AddError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddError::Closed(_) => "Closed(..)",
            AddError::Stopped(_) => "Stopped(..)",
            AddError::Full(_) => "Full(..)",
        })
    }
}

impl<T> std::error::Error for AddError<T> {}

/// Why there was no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// The signal that was to end the wait has gone.
    Stopped,
    /// The queue is closed and everything in it was taken.
    Closed,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PopError::Stopped => "stopped while waiting for the queue",
            PopError::Closed => "the queue is closed and empty",
        })
    }
}

impl std::error::Error for PopError {}

/// What one look at the head found.
enum Taken<T> {
    Value(T),
    Empty,
    Closed,
}

impl<T> Queue<T> {
    /// A queue that holds at most `capacity` values; adding to a full one blocks. A capacity of 0 is taken as 1: there is
    /// no hand-over without a place to put the value.
    pub fn bounded(name: impl AsRef<str>, capacity: usize) -> Queue<T> {
        Queue::with_capacity(name.as_ref(), capacity.max(1) as u64)
    }

    /// A queue that grows as far as memory goes.
    pub fn unbounded(name: impl AsRef<str>) -> Queue<T> {
        Queue::with_capacity(name.as_ref(), u64::MAX)
    }

    fn with_capacity(name: &str, capacity: u64) -> Queue<T> {
        Queue(Arc::new(Inner {
            name: Arc::from(name),
            capacity,
            tail: Apart(Mutex::new(Tail { fresh: Vec::new(), closed: false, popped_seen: 0 })),
            added: AtomicU64::new(0),
            head: Apart(Mutex::new(Head { ready: VecDeque::new() })),
            popped: AtomicU64::new(0),
            closed: Signal::new(format!("{name} closed")),
            items: Bell::new(),
            room: Bell::new(),
        }))
    }

    /// Adds a value at the end. Blocks while a bounded queue is full, and then logs a warning every 5 seconds: who waits,
    /// for which queue, how long.
    ///
    /// # Errors
    /// [`AddError::Closed`] with the value.
    pub fn add(&self, value: T) -> Result<(), AddError<T>> {
        self.0.add(value, None)
    }

    /// [`add`](Self::add), but gives up when `till` goes. One that has gone already wins over room in the queue.
    ///
    /// # Errors
    /// [`AddError::Closed`] or [`AddError::Stopped`] with the value.
    pub fn add_till(&self, value: T, till: &Signal) -> Result<(), AddError<T>> {
        if till.is_go() { Err(AddError::Stopped(value)) } else { self.0.add(value, Some(till)) }
    }

    /// [`add`](Self::add) without blocking.
    ///
    /// # Errors
    /// [`AddError::Closed`] or [`AddError::Full`] with the value.
    pub fn try_add(&self, value: T) -> Result<(), AddError<T>> {
        self.0.try_add(value)
    }

    /// Adds many values, taking the lock once for many. Blocks as [`add`](Self::add) does, between values.
    ///
    /// # Errors
    /// [`AddError::Closed`] with those that were taken from the iterator and not added; the rest is still in the iterator,
    /// if you pass it as `&mut iter`.
    ///
    /// ```
    /// # use selvedge::Queue;
    /// let squares = Queue::unbounded("squares");
    /// squares.extend((1..=3).map(|n| n * n)).unwrap();
    /// assert_eq!(squares.pop_all(), [1, 4, 9]);
    /// ```
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), AddError<Vec<T>>> {
        let mut values = values.into_iter();
        loop {
            let batch: Vec<T> = values.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.0.add_batch(batch)?;
        }
    }

    /// Takes the first value. Blocks while the queue is empty and open; `None` once it is closed and everything in it
    /// was taken. A thread that has a `please_stop` wants [`pop_till`](Self::pop_till).
    pub fn pop(&self) -> Option<T> {
        match self.0.take() {
            Taken::Value(value) => Some(value),
            Taken::Closed => None,
            Taken::Empty => self.0.pop_blocking(None).ok(),
        }
    }

    /// [`pop`](Self::pop), but gives up when `till` goes. One that has gone already wins over values in the queue, so that
    /// a loop over a busy queue stops promptly.
    ///
    /// # Errors
    /// [`PopError::Stopped`], or [`PopError::Closed`] when the queue is closed and empty.
    ///
    /// ```
    /// # use selvedge::{Queue, PopError, Signal};
    /// # let please_stop = Signal::new("please_stop");
    /// let jobs: Queue<u32> = Queue::unbounded("jobs");
    /// jobs.add(7).unwrap();
    /// jobs.close();
    /// while let Ok(job) = jobs.pop_till(&please_stop) {
    ///     assert_eq!(job, 7);
    /// }
    /// assert_eq!(jobs.pop_till(&please_stop), Err(PopError::Closed));
    /// ```
    pub fn pop_till(&self, till: &Signal) -> Result<T, PopError> {
        if till.is_go() {
            return Err(PopError::Stopped);
        }
        match self.0.take() {
            Taken::Value(value) => Ok(value),
            Taken::Closed => Err(PopError::Closed),
            Taken::Empty => self.0.pop_blocking(Some(till)),
        }
    }

    /// Takes the first value, if there is one now.
    pub fn try_pop(&self) -> Option<T> {
        match self.0.take() {
            Taken::Value(value) => Some(value),
            Taken::Empty | Taken::Closed => None,
        }
    }

    /// Takes everything that is in the queue now, without blocking. After one blocking [`pop`](Self::pop) it is the
    /// cheapest way to consume.
    pub fn pop_all(&self) -> Vec<T> {
        self.0.take_all()
    }

    /// Closes the queue: nothing can be added any more, whoever waits for room or for a value is woken. What is in it can
    /// still be popped. True for the call that did it.
    pub fn close(&self) -> bool {
        self.0.close()
    }

    /// Goes when the queue is closed.
    pub fn closed(&self) -> &Signal {
        &self.0.closed
    }

    /// Pops until the queue is closed and empty. Blocks as [`pop`](Self::pop) does.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// How many values are in it; when others use it, how many there were.
    pub fn len(&self) -> usize {
        self.0.len() as usize
    }

    /// Whether it is empty; when others use it, whether it was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl<T> Inner<T> {
    fn len(&self) -> u64 {
        // `popped` first: it never overtakes `added`, so the difference is not negative.
        let popped = self.popped.load(Ordering::Acquire);
        self.added.load(Ordering::Acquire) - popped
    }

    fn room(&self, tail: &mut Tail<T>) -> u64 {
        let added = self.added.load(Ordering::Relaxed);
        if added - tail.popped_seen >= self.capacity {
            tail.popped_seen = self.popped.load(Ordering::Acquire);
        }
        self.capacity - (added - tail.popped_seen)
    }

    /// Ends a push of `count` values: under the lock counts, then outside of it wakes.
    fn pushed(&self, tail: MutexGuard<'_, Tail<T>>, count: u64) {
        // Only written under this lock, so load and store make an addition.
        self.added.store(self.added.load(Ordering::Relaxed) + count, Ordering::Release);
        let awaited = self.items.is_awaited();
        drop(tail);
        if awaited {
            self.items.ring();
        }
    }

    fn try_add(&self, value: T) -> Result<(), AddError<T>> {
        let mut tail = self.tail.0.lock();
        if tail.closed {
            return Err(AddError::Closed(value));
        }
        if self.room(&mut tail) == 0 {
            return Err(AddError::Full(value));
        }
        tail.fresh.push(value);
        self.pushed(tail, 1);
        Ok(())
    }

    fn add(&self, value: T, till: Option<&Signal>) -> Result<(), AddError<T>> {
        match self.try_add(value) {
            Err(AddError::Full(value)) => {
                // One value in an Option, so that the attempt can be repeated.
                let mut value = Some(value);
                let outcome = self.until_room(till, || match value.take().map(|value| self.try_add(value)) {
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
            outcome => outcome,
        }
    }

    fn add_batch(&self, mut batch: Vec<T>) -> Result<(), AddError<Vec<T>>> {
        let attempt = |batch: &mut Vec<T>| {
            let mut tail = self.tail.0.lock();
            if tail.closed {
                return Some(Err(AddError::Closed(())));
            }
            let count = self.room(&mut tail).min(batch.len() as u64);
            tail.fresh.extend(batch.drain(..count as usize));
            self.pushed(tail, count);
            batch.is_empty().then_some(Ok(()))
        };
        let outcome = match attempt(&mut batch) {
            Some(outcome) => outcome,
            None => self.until_room(None, || attempt(&mut batch)).unwrap_or(Ok(())),
        };
        outcome.map_err(|error| error.map(|()| batch))
    }

    /// Repeats `attempt` whenever there may be room, until it has an outcome (Some) or `till` has gone (None).
    fn until_room<R>(&self, till: Option<&Signal>, mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
        let since = Instant::now();
        let mut warn_at = since + FULL_WARNING;
        let published = crate::wait::publish("room in queue", self.name.clone());
        let waiting = self.room.enter();
        let mut round = Round::default();
        let outcome = loop {
            // Invariant 3 wants the next look to be ordered by the poppers' lock; the look itself is under the tail's.
            drop(self.head.0.lock());
            if let Some(outcome) = attempt() {
                break Some(outcome);
            }
            if till.is_some_and(Signal::is_go) {
                break None;
            }
            if Instant::now() >= warn_at {
                warn_at += FULL_WARNING;
                log::warn!(
                    "{} has waited {:.0?} for room in queue \"{}\", which is full with {} values",
                    crate::wait::my_path(),
                    since.elapsed(),
                    self.name,
                    self.len()
                );
            }
            round.clear(Some(warn_at));
            if let Some(till) = till {
                round.watch(till);
            }
            waiting.block(&round);
        };
        drop(waiting);
        drop(published);
        if self.room.is_awaited() && (self.len() < self.capacity || self.closed.is_go()) {
            self.room.ring();
        }
        outcome
    }

    fn take(&self) -> Taken<T> {
        let mut head = self.head.0.lock();
        if head.ready.is_empty() {
            let mut tail = self.tail.0.lock();
            if tail.fresh.is_empty() {
                return if tail.closed { Taken::Closed } else { Taken::Empty };
            }
            // Both are emptied in turn and keep their memory: neither conversion copies, since one is full from its
            // start and the other is empty.
            let empty = Vec::from(std::mem::take(&mut head.ready));
            let fresh = std::mem::replace(&mut tail.fresh, empty);
            drop(tail);
            head.ready = VecDeque::from(fresh);
        }
        let Some(value) = head.ready.pop_front() else { return Taken::Empty };
        self.popped(head, 1);
        Taken::Value(value)
    }

    fn take_all(&self) -> Vec<T> {
        let mut head = self.head.0.lock();
        let mut all = Vec::from(std::mem::take(&mut head.ready));
        {
            let mut tail = self.tail.0.lock();
            if all.is_empty() {
                std::mem::swap(&mut all, &mut tail.fresh);
            } else {
                all.append(&mut tail.fresh);
            }
        }
        let count = all.len() as u64;
        self.popped(head, count);
        all
    }

    /// Ends a pop of `count` values; the mirror of `pushed`.
    fn popped(&self, head: MutexGuard<'_, Head<T>>, count: u64) {
        self.popped.store(self.popped.load(Ordering::Relaxed) + count, Ordering::Release);
        let awaited = self.room.is_awaited();
        drop(head);
        if awaited {
            self.room.ring();
        }
    }

    fn pop_blocking(&self, till: Option<&Signal>) -> Result<T, PopError> {
        let published = crate::wait::publish("queue", self.name.clone());
        let waiting = self.items.enter();
        let mut round = Round::default();
        let outcome = loop {
            match self.take() {
                Taken::Value(value) => break Ok(value),
                Taken::Closed => break Err(PopError::Closed),
                Taken::Empty => {}
            }
            if till.is_some_and(Signal::is_go) {
                break Err(PopError::Stopped);
            }
            round.clear(None);
            if let Some(till) = till {
                round.watch(till);
            }
            waiting.block(&round);
        };
        drop(waiting);
        drop(published);
        if self.items.is_awaited() && (self.len() > 0 || self.closed.is_go()) {
            self.items.ring();
        }
        outcome
    }

    fn close(&self) -> bool {
        let first = !std::mem::replace(&mut self.tail.0.lock().closed, true);
        if first {
            self.closed.go();
            // One of each is woken, and rings on.
            self.items.ring();
            self.room.ring();
        }
        first
    }
}

/// Pops until the queue is closed and empty; made by [`Queue::iter`].
pub struct Iter<'a, T>(&'a Queue<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.pop()
    }
}

impl<'a, T> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue(self.0.clone())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.0.closed.is_go() { "closed" } else { "open" };
        write!(f, "Queue({}, {} values, {state})", self.name(), self.len())
    }
}
