//! Permits, and the line of threads that wait for one. Semaphore, BinarySemaphore, Lock and Monitor
//! are made of it. It has no value and no name.
//!
//! A thread that finds a free permit takes it, even if other threads have waited longer. That makes
//! it fast. A waiting thread keeps its place in the line. Once in a while ([`FAIR`]) a permit is
//! handed to the first thread in the line and not put back. So no thread starves.
//!
//! Invariants
//! 1. WAITING is changed under `line` only. It is set whenever the line is not empty.
//! 2. A thread joins the line, sets WAITING and then tries once more, all under `line`. A permit is
//!    put back in one step that fails if WAITING is set, and then under `line`. So the waiting
//!    thread sees the permit, or the releasing thread sees the waiting thread.
//! 3. Each permit that is put back while the line is not empty takes one waiter out of it and calls
//!    it. A called waiter tries to take a permit before it gives up. So no permit stays free while
//!    all waiters sleep uncalled.
//!
//! Models: `loom_permits_*` in `sync/loom_tests.rs`, and `sync/model_tests.rs`.

use super::GaveUp;
use super::limit::Limit;
use super::owed::{Entered, Owed};
use super::parker::Parker;
use crate::model::{AtomicU8, AtomicUsize, Mutex, MutexGuard, SPINS, now};
use crate::wait::{self, Published};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A permit is handed over at most this often. After a hand-over, all threads wait until the new
/// owner has woken up.
const FAIR: Duration = Duration::from_millis(1);

/// The lowest bit: the line is not empty.
const WAITING: usize = 1;
/// One permit; they are counted in the bits above.
const ONE: usize = 2;
/// As many as can be counted; more are not added.
const MOST: usize = usize::MAX - WAITING;

pub(super) struct Permits {
    /// | value             | means                         | changed by                                            |
    /// |-------------------|-------------------------------|-------------------------------------------------------|
    /// | n * ONE           | n permits, the line is empty  | any thread: takes a permit or puts one back           |
    /// | n * ONE + WAITING | n permits, threads in the line | any thread takes a permit; puts one back under `line`, and calls a waiter |
    state: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    next: u64,
    /// By order of arrival. A waiter that was called in vain comes back to its old place.
    waiters: BTreeMap<u64, (Arc<Waiter>, Entered)>,
    /// The time of the waiters.
    owed: Owed,
    /// The first permit that is put back after this is handed over.
    fair_at: Option<Instant>,
}

struct Waiter {
    /// | value   | means                             | changed by                                              |
    /// |---------|-----------------------------------|---------------------------------------------------------|
    /// | IN_LINE | in the line                       | the thread that takes it out, under `line`              |
    /// | CALLED  | taken out; there was a permit     | the waiter itself, back to IN_LINE, under `line`        |
    /// | GRANTED | taken out; it has a permit        | no thread                                               |
    state: AtomicU8,
    parker: Parker,
}

const IN_LINE: u8 = 0;
const CALLED: u8 = 1;
const GRANTED: u8 = 2;

impl Permits {
    pub(super) fn new(permits: usize) -> Permits {
        Permits { state: AtomicUsize::new(permits.min(MOST / ONE) * ONE), line: Mutex::default() }
    }

    pub(super) fn available(&self) -> usize {
        self.state.load(Ordering::Relaxed) / ONE
    }

    /// Takes the only permit while the line is empty: the fast path of locks.
    #[inline]
    pub(super) fn try_acquire_only(&self) -> bool {
        // Acquire pairs with the Release in `release`: the new owner sees what the last owner did.
        self.state.compare_exchange_weak(ONE, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes a permit if there is one, also while other threads wait in line. Never blocks.
    #[inline]
    pub(super) fn try_acquire(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state >= ONE {
            match self.state.compare_exchange_weak(state, state - ONE, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Blocks until it has a permit, or until the limit. Call it after a failed try. `publish` gets
    /// the time at which the call began to wait. It is called when the pauses were in vain.
    #[cold]
    pub(super) fn acquire_slow(
        &self,
        limit: Limit<'_>,
        publish: impl FnOnce(Instant) -> Published,
    ) -> Result<(), GaveUp> {
        let began = now();
        if self.spin() || self.try_acquire() {
            return Ok(());
        }
        if let Some(reason) = limit.reached() {
            return Err(reason);
        }
        let _published = publish(began);
        // To publish takes longer than many a section is locked.
        if self.try_acquire() {
            return Ok(());
        }
        let waiter = Arc::new(Waiter { state: AtomicU8::new(IN_LINE), parker: Parker::mine() });
        let mut place = None;
        loop {
            #[cfg(all(test, not(selvedge_model)))]
            crate::model::meanwhile::happens();
            {
                let mut line = self.line.lock();
                let place = *place.get_or_insert_with(|| {
                    line.next += 1;
                    line.next
                });
                waiter.state.store(IN_LINE, Ordering::Relaxed);
                let entered = line.owed.enter();
                line.waiters.insert(place, (waiter.clone(), entered));
                self.state.fetch_or(WAITING, Ordering::Relaxed);
                if self.try_acquire() {
                    self.leave(&mut line, place);
                    return Ok(());
                }
            }
            // Acquire: see `call`.
            let called = || waiter.state.load(Ordering::Acquire) != IN_LINE;
            let gave_up = limit.block_until(&waiter.parker, called).err();
            if let Some(reason) = gave_up {
                #[cfg(all(test, not(selvedge_model)))]
                crate::model::meanwhile::happens();
                let mut line = self.line.lock();
                if place.is_some_and(|place| self.leave(&mut line, place)) {
                    return Err(reason);
                }
            }
            if waiter.state.load(Ordering::Acquire) == GRANTED || self.spin() {
                return Ok(());
            }
            if let Some(reason) = gave_up {
                return Err(reason);
            }
        }
    }

    /// Tries again a few times, with pauses that double. It does not yield: beside busy threads a
    /// thread that has yielded comes back after milliseconds.
    fn spin(&self) -> bool {
        for turn in 0..SPINS {
            if self.try_acquire() {
                return true;
            }
            (0..2u32 << turn).for_each(|_| std::hint::spin_loop());
        }
        false
    }

    /// Takes a waiter out of the line. Returns `false` if another thread has done that already.
    fn leave(&self, line: &mut Line, place: u64) -> bool {
        let was_in = line.waiters.remove(&place).inspect(|(_, entered)| line.owed.leave(*entered)).is_some();
        if line.waiters.is_empty() {
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
        }
        was_in
    }

    /// Puts the only permit back: the fast path of locks.
    #[inline]
    pub(super) fn release_only(&self) {
        if self.state.compare_exchange(0, ONE, Ordering::Release, Ordering::Relaxed).is_err() {
            self.call();
        }
    }

    /// Puts a permit back.
    #[inline]
    pub(super) fn release(&self) {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 {
            let more = state.saturating_add(ONE).min(MOST);
            match self.state.compare_exchange_weak(state, more, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        self.call();
    }

    /// Adds many permits: one for each waiter, the rest at once.
    pub(super) fn release_many(&self, mut count: usize) {
        while count > 0 {
            let state = self.state.load(Ordering::Relaxed);
            let more = state.saturating_add(count.saturating_mul(ONE)).min(MOST);
            if state & WAITING != 0 {
                self.call();
                count -= 1;
            } else if self.state.compare_exchange_weak(state, more, Ordering::Release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Adds a permit unless one is free. Returns `true` if none was free.
    #[inline]
    pub(super) fn release_unless_there(&self) -> bool {
        self.state.compare_exchange(0, ONE, Ordering::Release, Ordering::Relaxed).is_ok() || self.call_unless_there()
    }

    #[cold]
    fn call_unless_there(&self) -> bool {
        let line = self.line.lock();
        let mut state = self.state.load(Ordering::Relaxed);
        // Written back unchanged, with Release: the thread that takes the free permit then sees
        // what came before this call, although another thread added the permit. A failed exchange
        // means that the permit may be taken.
        while state >= ONE {
            match self.state.compare_exchange_weak(state, state, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return false,
                Err(now) => state = now,
            }
        }
        self.call_first(line);
        true
    }

    #[cold]
    fn call(&self) {
        self.call_first(self.line.lock());
    }

    /// Puts a permit back while the line may not be empty: calls its first waiter, or hands the
    /// permit over.
    fn call_first(&self, mut line: MutexGuard<'_, Line>) {
        let Some((_, (waiter, entered))) = line.waiters.pop_first() else { return self.add_one() };
        let owed = line.owed.charge();
        line.owed.leave(entered);
        if line.waiters.is_empty() {
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
        }
        let now = now();
        let fair_at = *line.fair_at.get_or_insert(now + FAIR);
        waiter.parker.stamp();
        // Release, in both: the next owner sees what this one did, whether it is granted the permit
        // or takes it.
        if fair_at <= now {
            line.fair_at = Some(now + FAIR);
            waiter.state.store(GRANTED, Ordering::Release);
        } else {
            waiter.state.store(CALLED, Ordering::Release);
            self.add_one();
        }
        drop(line);
        waiter.parker.unpark();
        wait::let_go(owed);
    }

    /// Adds a permit, unless there are as many as can be counted.
    fn add_one(&self) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let more = if state >= MOST { state } else { state + ONE };
            match self.state.compare_exchange_weak(state, more, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
impl Permits {
    pub(super) fn is_awaited(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WAITING != 0
    }

    /// The next permit that is put back while a thread waits is handed over. Returns since when.
    pub(super) fn be_fair_now(&self) -> Instant {
        *self.line.lock().fair_at.insert(now())
    }

    /// Puts a permit back as a thread does that saw WAITING set.
    pub(super) fn release_into_line(&self) {
        self.call();
    }

    /// Since when a permit that is put back while a thread waits is handed over.
    pub(super) fn fair_at(&self) -> Option<Instant> {
        self.line.lock().fair_at
    }

    /// How many waits have joined the line so far.
    pub(super) fn joined(&self) -> u64 {
        self.line.lock().next
    }

    pub(super) fn line_length(&self) -> usize {
        self.line.lock().waiters.len()
    }
}
