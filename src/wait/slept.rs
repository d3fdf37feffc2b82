//! How long a thread sleeps in its blocking calls: what one slot counts while a recording asks for
//! it. Knows neither the slot nor its waits.
//!
//! A sleep begins when the thread is about to block, and ends when the thread that ends the wait
//! stamps it. From there until the thread runs it is runnable, which the kernel counts. A thread
//! that is woken in vain sleeps again in the same wait. Then both sleeps belong to the thread that
//! ends the wait at last. Spinning is no sleep: a thread that spins uses its CPU clock.

use super::ender::{Ender, nanos};
use super::stack_sums::TakenStack;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The sleep of a thread that is not counted yet. Only its thread writes it, but for the begin
/// of a recording. Relaxed: the reader of another thread holds the slot's lock, and may find a
/// sleep that has just begun or ended.
///
/// | `since` | `until` | means |
/// |---------|---------|-------|
/// | 0       | any     | no sleep |
/// | time    | 0       | the thread sleeps since then |
/// | time    | time    | the sleep is over, and will be counted when the wait ends or the thread sleeps again |
#[derive(Debug, Default)]
pub(super) struct Sleep {
    since: AtomicU64,
    until: AtomicU64,
    by: AtomicU64,
}

/// What is counted of one wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slept {
    pub(super) nanos: u64,
    /// The thread that ended the last sleep.
    pub(super) by: u64,
    /// There was a sleep.
    pub(super) is_any: bool,
    /// `None`: it gets no stack.
    pub(super) taken: Option<TakenStack>,
}

impl Sleep {
    pub(super) fn begin(&self, now: u64) {
        self.until.store(0, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    pub(super) fn is_any(&self) -> bool {
        self.since.load(Ordering::Relaxed) != 0
    }

    pub(super) fn end(&self, ender: Ender) {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return;
        }
        // A stamp of before the sleep is an old one.
        let (by, until) = match ender.at {
            0 => (ender.by, nanos(Instant::now())),
            at if at < since => (Ender::UNKNOWN.by, nanos(Instant::now())),
            at => (ender.by, at),
        };
        self.by.store(by, Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
    }

    /// The sleep up to now, if there is one. It is counted then.
    pub(super) fn take(&self) -> Slept {
        let slept = self.read();
        self.since.store(0, Ordering::Relaxed);
        slept
    }

    /// The same, and the sleep goes on.
    pub(super) fn read(&self) -> Slept {
        let (since, until) = (self.since.load(Ordering::Relaxed), self.until.load(Ordering::Relaxed));
        match (since, until) {
            (0, _) => Slept::default(),
            (since, 0) => {
                let nanos = nanos(Instant::now()).saturating_sub(since);
                Slept { nanos, by: Ender::UNKNOWN.by, is_any: true, taken: None }
            }
            (since, until) => {
                let (nanos, by) = (until.saturating_sub(since), self.by.load(Ordering::Relaxed));
                Slept { nanos, by, is_any: true, taken: None }
            }
        }
    }
}

impl Slept {
    pub(super) fn add(&mut self, other: Slept) {
        if other.is_any {
            let nanos = self.nanos + other.nanos;
            *self = Slept { nanos, by: other.by, is_any: true, taken: self.taken };
            self.add_stack(other.taken);
        }
    }

    /// The stack of its last sleep.
    pub(super) fn add_stack(&mut self, taken: Option<TakenStack>) {
        match (&mut self.taken, taken) {
            (Some(before), Some(later)) => before.add(later),
            (None, later) => self.taken = later,
            (Some(_), None) => {}
        }
    }
}
