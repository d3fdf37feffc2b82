//! The end by `abort`: who aborts waits, in the signal handler and within a bound, until what was logged is written and no
//! writer is within a line. What the handler touches is here: atomics and the clock, nothing that allocates or locks.
//!
//! Invariants
//! 1. While something that was put before is not written, ACTIVE is not 0: whoever puts into a queue whose writer sleeps
//!    counts the writer as awake before `put` returns, and a writer lies down only if it has found the queue empty since.
//! 2. From ENDING on no write begins but those of writers, and each of them stops when it has written what it found. From
//!    SEALED on none begins at all.
//!
//! Models: `log/model_tests.rs`; all its accesses are SeqCst.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::steps::sleep;
use crate::model::{AtomicU8, AtomicUsize};

#[cfg(not(all(test, selvedge_model)))]
mod shared {
    use super::{AtomicU8, AtomicUsize};

    /// NO, ENDING or SEALED. Set by who aborts.
    pub(super) static STATE: AtomicU8 = AtomicU8::new(super::NO);
    /// Writers that are awake, and threads that are within the sinks.
    pub(super) static ACTIVE: AtomicUsize = AtomicUsize::new(0);
}

/// The same, new for each order that is checked.
#[cfg(all(test, selvedge_model))]
mod shared {
    use super::{AtomicU8, AtomicUsize};

    crate::model::engine::lazy_static! {
        pub(super) static ref STATE: AtomicU8 = AtomicU8::new(super::NO);
        pub(super) static ref ACTIVE: AtomicUsize = AtomicUsize::new(0);
    }
}

use shared::{ACTIVE, STATE};

/// Nobody aborts.
const NO: u8 = 0;
/// Somebody waits for the writers.
const ENDING: u8 = 1;
/// They were waited for.
const SEALED: u8 = 2;

/// How often who waits looks again.
const LOOK: Duration = Duration::from_micros(200);

pub(super) fn is_ending() -> bool {
    STATE.load(SeqCst) != NO
}

/// Within a signal handler: waits until all is written, or `patience` is over. With `survives` the log goes on afterwards.
///
/// # Signal safety
/// Safe. It stores and loads atomics of static memory, and calls `clock_gettime` (by `Instant`) and `clock_nanosleep` (by
/// `std::thread::sleep`), both of which POSIX or the kernel permit in a handler. No lock, no allocation, no thread-local.
pub(super) fn quiesce(patience: Duration, survives: bool) {
    let begin = Instant::now();
    let is_late = || begin.elapsed() >= patience;
    loop {
        STATE.store(ENDING, SeqCst);
        while ACTIVE.load(SeqCst) > 0 && !is_late() {
            sleep(LOOK);
        }
        STATE.store(SEALED, SeqCst);
        // Else somebody had woken a writer in between. It is let finish, and cannot be woken a second time.
        if ACTIVE.load(SeqCst) == 0 || is_late() {
            break;
        }
    }
    if survives {
        STATE.store(NO, SeqCst);
    }
}

/// In the child of a fork, where there is no writer.
pub(super) fn nobody_is_left() {
    ACTIVE.store(0, SeqCst);
    STATE.store(NO, SeqCst);
}

/// A thread that is within the sinks.
pub(super) struct Within;

impl Within {
    /// `None` if no write shall begin any more.
    pub(super) fn enter(is_writer: impl FnOnce() -> bool) -> Option<Within> {
        // Before the look at the state: then either `quiesce` sees us, or we see it.
        ACTIVE.fetch_add(1, SeqCst);
        let within = Within;
        let may = match STATE.load(SeqCst) {
            NO => true,
            ENDING => is_writer(),
            _ => false,
        };
        may.then_some(within)
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        count_down();
    }
}

fn count_down() {
    // Not below 0: in the child of a fork that began within the sinks.
    let _ = ACTIVE.fetch_update(SeqCst, SeqCst, |active| active.checked_sub(1));
}

/// There is no writer, or it sleeps. Not counted.
const ASLEEP: u8 = 0;
/// It looks at its queue, or will. Counted. Set by the writer and, from ASLEEP and LYING_DOWN, by who puts.
const AWAKE: u8 = 1;
/// It has found its queue empty, and looks once more. Counted. Set by the writer.
const LYING_DOWN: u8 = 2;
/// It has written all that it found when it saw that somebody aborts. Not counted. Set by the writer.
const QUIET: u8 = 3;

/// Of one queue: whether its writer will come by.
#[derive(Debug)]
pub(super) struct Writer(AtomicU8);

impl Writer {
    pub(super) fn new() -> Writer {
        Writer(AtomicU8::new(ASLEEP))
    }

    /// After something was put.
    #[inline]
    pub(super) fn has_work(&self) {
        if matches!(self.0.load(SeqCst), ASLEEP | LYING_DOWN) {
            self.rouse();
        }
    }

    #[cold]
    fn rouse(&self) {
        // Counted before it is said: else the writer could lie down in between, and count down what is not there yet.
        ACTIVE.fetch_add(1, SeqCst);
        loop {
            if self.0.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst).is_ok() {
                return;
            }
            match self.0.compare_exchange(LYING_DOWN, AWAKE, SeqCst, SeqCst) {
                // It has just fallen asleep.
                Err(ASLEEP) => {}
                _ => return count_down(),
            }
        }
    }

    pub(super) fn wake(&self) {
        ACTIVE.fetch_add(1, SeqCst);
        if !matches!(self.0.swap(AWAKE, SeqCst), ASLEEP | QUIET) {
            count_down();
        }
    }

    /// To be followed by a sleep that something in the queue prevents or ends.
    pub(super) fn lie_down(&self, is_empty: impl FnOnce() -> bool) {
        self.0.store(LYING_DOWN, SeqCst);
        if is_empty() && self.0.compare_exchange(LYING_DOWN, ASLEEP, SeqCst, SeqCst).is_ok() {
            count_down();
        } else {
            self.0.store(AWAKE, SeqCst);
        }
    }

    /// It has ended.
    pub(super) fn leave(&self) {
        self.rest(ASLEEP);
    }

    /// While somebody aborts: the process ends now, or the log goes on.
    pub(super) fn stay_quiet(&self) {
        self.rest(QUIET);
        while is_ending() {
            sleep(LOOK);
        }
        self.wake();
    }

    fn rest(&self, how: u8) {
        if matches!(self.0.swap(how, SeqCst), AWAKE | LYING_DOWN) {
            count_down();
        }
    }
}
