//! New threads where many come and go, that are due after the next tick: most of them end before, unseen, and so need neither slot
//! nor timer. The sampler takes those in whom it still finds.
//!
//! Invariants
//! 1. One that passes is neither in `held` nor in `known`. It is in `passing` until it is taken in, has passed, or the recording
//!    ends; so it has one account in all, which has its CPU clock from 0 on.
//! 2. Who is about to call `detach` is not taken in.

use super::{State, nanos};
use crate::profile::engines::Nanos;
use crate::profile::engines::timer::books::{Books, Meter};
use crate::thread::Thread;
use std::time::{Duration, Instant};

pub(super) struct Passing {
    thread: Thread,
    /// The kernel's id.
    id: i32,
    /// When it is due for the first time, by its CPU clock.
    first: Duration,
}

impl State {
    /// Whether nothing more is done for that thread, which is new, until the sampler comes by.
    pub(super) fn lets_pass(&mut self, thread: &Thread, id: i32, first: Duration) -> bool {
        // What is still held by that id is another one's, and must not be taken for this one's.
        let may = self.many_come && self.triggers.can_wait(first) && !self.held.contains_key(&id);
        if may {
            self.passing.insert(thread.id(), Passing { thread: thread.clone(), id, first });
        }
        may
    }

    pub(super) fn take_in_who_passes(&mut self) {
        for (key, passing) in std::mem::take(&mut self.passing) {
            if passing.thread.ended_at().is_some() {
                self.passing.insert(key, passing);
                continue;
            }
            // It is due by a clock that has gone on meanwhile.
            let used = passing.thread.cpu_clock().and_then(|clock| clock.read()).unwrap_or_default();
            self.take_in(&passing.thread, true, passing.first.saturating_sub(used));
        }
    }

    /// The same for one that passes and has that kernel's id: it is about to have another name.
    pub(super) fn take_in_who_passes_as(&mut self, id: i32) {
        if self.passing.values().any(|passing| passing.id == id) {
            self.take_in_who_passes();
        }
    }

    /// A thread that is not known has ended.
    pub(super) fn has_passed(&mut self, thread: &Thread) {
        let Some(passing) = self.passing.remove(&thread.id()) else { return };
        let clock = thread.cpu_time().map(|time| time.as_nanos() as u64);
        let ended = self.time(thread.ended_at().unwrap_or_else(Instant::now));
        let started = self.time(passing.thread.started_at());
        let account = close(&mut self.books, &passing, started, clock);
        self.books.end(account, ended);
        self.has_left(passing.id, clock);
    }

    /// The books of all that pass, as if they ended now.
    pub(super) fn close_passing(&self, books: &mut Books) {
        for passing in self.passing.values() {
            let clock = passing.thread.cpu_clock().and_then(nanos);
            close(books, passing, self.time(passing.thread.started_at()), clock);
        }
    }
}

/// All that it has used was not seen.
fn close(books: &mut Books, passing: &Passing, started: Nanos, clock: Option<u64>) -> usize {
    let thread = &passing.thread;
    let account = books.open(thread.path().into(), thread.os_thread(), started);
    books.is_spawned_at(account, thread.spawned_at());
    books.settle(&mut Meter::new(account, 0), clock.unwrap_or(0));
    account
}
