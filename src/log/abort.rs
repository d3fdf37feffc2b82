//! The end by `abort`, protocol "quiesce": the aborting thread waits, in the signal handler and
//! within a limit, until all records are written and no writer is in the middle of a line. The
//! handler may touch only atomics and the clock, so nothing here allocates, locks, or names a
//! thread-local.
//!
//! Invariants
//! 1. While a record that was put before is not written, ACTIVE is not 0. A thread that puts a
//!    record into a queue whose writer sleeps counts the writer as awake before `put` returns. A
//!    writer goes to sleep only if it has found the queue empty since then.
//! 2. From ENDING on, only writers begin to write, and each writer stops when it has written the
//!    records that it found. From SEALED on, no thread begins to write.
//!
//! Models: `log/model_tests.rs`; all accesses are SeqCst.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::seam::{AtomicU8, AtomicUsize, sleep};

#[cfg(not(all(test, selvedge_model)))]
mod shared {
    use super::{AtomicU8, AtomicUsize};

    /// NO, ENDING or SEALED. Set by the aborting thread.
    pub(super) static STATE: AtomicU8 = AtomicU8::new(super::NO);
    /// The number of writers that are awake, and of threads that are within the sinks.
    pub(super) static ACTIVE: AtomicUsize = AtomicUsize::new(0);
}

/// The same statics, new for each order that is checked.
#[cfg(all(test, selvedge_model))]
mod shared {
    use super::{AtomicU8, AtomicUsize};

    crate::model::engine::lazy_static! {
        pub(super) static ref STATE: AtomicU8 = AtomicU8::new(super::NO);
        pub(super) static ref ACTIVE: AtomicUsize = AtomicUsize::new(0);
    }
}

use shared::{ACTIVE, STATE};

/// No thread aborts.
const NO: u8 = 0;
/// The aborting thread waits for the writers.
const ENDING: u8 = 1;
/// The aborting thread has waited for the writers.
const SEALED: u8 = 2;

/// How often the aborting thread checks.
const POLL: Duration = Duration::from_micros(200);

pub(super) fn is_ending() -> bool {
    STATE.load(SeqCst) != NO
}

/// In a signal handler: waits until all is written, or `patience` is over. With `survives`
/// the log goes on afterwards.
///
/// # Signal safety
/// Safe. It stores and loads atomics of static memory, and calls `clock_gettime` (by `Instant`) and
/// `clock_nanosleep` (by `std::thread::sleep`), both of which POSIX or the kernel permit in a
/// handler. No lock, no allocation, no thread-local.
pub(super) fn quiesce(patience: Duration, survives: bool) {
    let begin = Instant::now();
    let is_late = || begin.elapsed() >= patience;
    loop {
        STATE.store(ENDING, SeqCst);
        while ACTIVE.load(SeqCst) > 0 && !is_late() {
            sleep(POLL);
        }
        STATE.store(SEALED, SeqCst);
        // Else a thread had woken a writer in between. That writer may finish, and cannot be woken
        // a second time.
        if ACTIVE.load(SeqCst) == 0 || is_late() {
            break;
        }
    }
    if survives {
        STATE.store(NO, SeqCst);
    }
}

/// In the child of a fork, where there is no writer.
pub(super) fn reset_in_child() {
    ACTIVE.store(0, SeqCst);
    STATE.store(NO, SeqCst);
}

/// A thread is within the sinks, until this drops.
pub(super) struct ActiveDrain;

impl ActiveDrain {
    /// `None` if no write may begin any more.
    pub(super) fn enter(is_writer: impl FnOnce() -> bool) -> Option<ActiveDrain> {
        // Before the load of the state: so either `quiesce` sees the count, or this thread sees the
        // state.
        ACTIVE.fetch_add(1, SeqCst);
        let drain = ActiveDrain;
        let may = match STATE.load(SeqCst) {
            NO => true,
            ENDING => is_writer(),
            _ => false,
        };
        may.then_some(drain)
    }
}

impl Drop for ActiveDrain {
    fn drop(&mut self) {
        count_down();
    }
}

fn count_down() {
    // Not below 0: the child of a fork that began within the sinks has set it to 0.
    let _ = ACTIVE.fetch_update(SeqCst, SeqCst, |active| active.checked_sub(1));
}

/// There is no writer, or it sleeps. Not counted in ACTIVE.
const ASLEEP: u8 = 0;
/// The writer checks its queue, or will. Counted. Set by the writer and, from ASLEEP and
/// FALLING_ASLEEP, by threads that put.
const AWAKE: u8 = 1;
/// The writer has found its queue empty, and checks once more. Counted. Set by the writer.
const FALLING_ASLEEP: u8 = 2;
/// A thread aborts, and the writer has written the records that it found then. Not counted. Set by
/// the writer.
const PAUSED: u8 = 3;

/// Whether the writer of one queue will check its queue.
#[derive(Debug)]
pub(super) struct Writer(AtomicU8);

impl Writer {
    pub(super) fn new() -> Writer {
        Writer(AtomicU8::new(ASLEEP))
    }

    /// A hint: the writer sleeps now, or there is none.
    #[inline]
    pub(super) fn is_asleep(&self) -> bool {
        self.0.load(SeqCst) == ASLEEP
    }

    /// Call it after a record was put.
    #[inline]
    pub(super) fn notify(&self) {
        if matches!(self.0.load(SeqCst), ASLEEP | FALLING_ASLEEP) {
            self.count_awake();
        }
    }

    #[cold]
    fn count_awake(&self) {
        // Counted before the state is set: else the writer could fall asleep in between, and count
        // down too early.
        ACTIVE.fetch_add(1, SeqCst);
        loop {
            if self.0.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst).is_ok() {
                return;
            }
            match self.0.compare_exchange(FALLING_ASLEEP, AWAKE, SeqCst, SeqCst) {
                // It has just fallen asleep.
                Err(ASLEEP) => {}
                _ => return count_down(),
            }
        }
    }

    pub(super) fn wake(&self) {
        ACTIVE.fetch_add(1, SeqCst);
        if !matches!(self.0.swap(AWAKE, SeqCst), ASLEEP | PAUSED) {
            count_down();
        }
    }

    /// The caller then sleeps; a record in the queue must prevent or end that sleep.
    pub(super) fn try_sleep(&self, is_empty: impl FnOnce() -> bool) {
        self.0.store(FALLING_ASLEEP, SeqCst);
        if is_empty() && self.0.compare_exchange(FALLING_ASLEEP, ASLEEP, SeqCst, SeqCst).is_ok() {
            count_down();
        } else {
            self.0.store(AWAKE, SeqCst);
        }
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.stop_counting(ASLEEP);
    }

    /// Waits while a thread aborts: the process ends, or the log goes on.
    pub(super) fn pause_while_aborting(&self) {
        self.stop_counting(PAUSED);
        while is_ending() {
            sleep(POLL);
        }
        self.wake();
    }

    fn stop_counting(&self, how: u8) {
        if matches!(self.0.swap(how, SeqCst), AWAKE | FALLING_ASLEEP) {
            count_down();
        }
    }
}
