//! The right to take records out of the queue and write them, which one thread at a time has. Here is also what a fork
//! and the exit of the process do to that right. Knows nothing of records.
//!
//! A fork takes the right in one process and gives it back in two, so it is no mutex. The fork handlers and the exit
//! handler in `process_hooks.rs` make the calls.
//!
//! Models: `log/loom_tests.rs` and `log/model_tests.rs`.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::abort;
use super::draining_threads::DrainMark;
use super::seam::{YIELDS, sleep, thread_local, yield_now};
use crate::model::{AtomicBool, AtomicU8, AtomicUsize};
use crate::thread::panic_flags::{InLogger, enter_logger};

const NORMAL: u8 = 0;
const FORKED: u8 = 1;
const FORKED_WHILE_LOCKED: u8 = 2;
const EXITING: u8 = 3;
const EXIT_OWNED: u8 = 4;

/// What the process is to the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Normal,
    /// The child of a fork, which has no writer. The queue may have been in the middle of an operation, so each thread writes
    /// its records itself.
    Forked,
    /// The child of a fork, and a thread that is not there is within the sinks. Nothing can be written.
    ForkedWhileLocked,
    /// Another thread exits the process. What the calling thread logs is lost with the process. An exit handler may wait for
    /// the calling thread, so it must not hang in the log.
    ExitingElsewhere,
    /// The calling thread exits the process, and does not have the right to drain (yet): a sink hangs.
    Exiting,
    /// The calling thread exits the process, and has the right to drain for good.
    ExitOwner,
}

pub(super) struct DrainLock {
    /// | value | means                                      | set by                                        |
    /// |-------|--------------------------------------------|-----------------------------------------------|
    /// | false | no thread drains                           | the thread that drained, the child of a fork  |
    /// | true  | a thread drains, or a fork is under way    | the thread that drains or forks               |
    ///
    /// Acquire on taking, Release on giving back: the next thread sees what the last one did to the sinks.
    busy: AtomicBool,
    /// The number of threads that are about to fork. Other threads let them have `busy` first: a writer at work takes
    /// it again at once, and a fork would hardly ever find it free. Relaxed: a thread that misses the pending fork merely
    /// drains first.
    forking: AtomicUsize,
    /// | value                 | means                                                | set by                     |
    /// |-----------------------|------------------------------------------------------|----------------------------|
    /// | `NORMAL`              | neither forked nor exiting                           | `new`                      |
    /// | `FORKED`              | the child of a fork, no thread was within the sinks  | the child's fork handler   |
    /// | `FORKED_WHILE_LOCKED` | the child of a fork, a thread was within the sinks   | the child's fork handler   |
    /// | `EXITING`             | a thread exits; it waits for the right to drain      | that thread, from `NORMAL` |
    /// | `EXIT_OWNED`          | that thread has the right to drain for good          | that thread                |
    ///
    /// It never goes back. Relaxed: a child runs its first line after the fork handler. Elsewhere a thread may see an exit late,
    /// and then `busy` keeps it from writing.
    process: AtomicU8,
}

thread_local! {
    static DRAINING: Cell<bool> = const { Cell::new(false) };
    /// Whether this is the thread that exits.
    static EXITS: Cell<bool> = const { Cell::new(false) };
}

impl DrainLock {
    pub(super) fn new() -> DrainLock {
        DrainLock { busy: AtomicBool::new(false), forking: AtomicUsize::new(0), process: AtomicU8::new(NORMAL) }
    }

    pub(super) fn process(&self) -> Process {
        match (self.process.load(Ordering::Relaxed), EXITS.with(Cell::get)) {
            (NORMAL, _) => Process::Normal,
            (FORKED, _) => Process::Forked,
            (FORKED_WHILE_LOCKED, _) => Process::ForkedWhileLocked,
            (EXIT_OWNED, true) => Process::ExitOwner,
            (_, true) => Process::Exiting,
            (_, false) => Process::ExitingElsewhere,
        }
    }

    pub(super) fn is_exiting_elsewhere(&self) -> bool {
        self.process() == Process::ExitingElsewhere
    }

    /// Takes the right to drain. `None`: not by `deadline`; or the calling thread has it already; or the process aborts, and
    /// the calling thread is not the writer.
    pub(super) fn enter(&self, deadline: Option<Instant>, is_writer: impl FnOnce() -> bool) -> Option<DrainGuard<'_>> {
        if !self.take(deadline, true) {
            return None;
        }
        let Some(within) = abort::Within::enter(is_writer) else {
            self.give_back();
            return None;
        };
        DRAINING.with(|draining| draining.set(true));
        Some(DrainGuard { lock: self, _in_logger: enter_logger(), _within: within, _mark: DrainMark::enter() })
    }

    fn take(&self, deadline: Option<Instant>, give_way: bool) -> bool {
        if is_draining() {
            return false;
        }
        if self.process() == Process::ExitOwner {
            return true;
        }
        let mut tries = 0_u32;
        while give_way && self.forking.load(Ordering::Relaxed) > 0
            || self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) || self.is_exiting_elsewhere() {
                return false;
            }
            tries += 1;
            // Contended only by threads that log while there is no writer, and by a fork.
            if tries < YIELDS { yield_now() } else { sleep(Duration::from_micros(50)) }
        }
        true
    }

    fn give_back(&self) {
        if self.process() != Process::ExitOwner {
            self.busy.store(false, Ordering::Release);
        }
    }

    /// Before a fork: takes the right to drain, so that no thread is within the sinks. Returns `false` if a thread is, up to
    /// `deadline`.
    pub(super) fn hold_for_fork(&self, deadline: Instant) -> bool {
        self.forking.fetch_add(1, Ordering::Relaxed);
        let held = self.take(Some(deadline), false);
        if !held {
            self.forking.fetch_sub(1, Ordering::Relaxed);
        }
        held
    }

    /// After the fork, in both processes, if `hold_for_fork` has returned `true`. In the child `forked` comes first.
    pub(super) fn release_after_fork(&self) {
        self.forking.fetch_sub(1, Ordering::Relaxed);
        self.give_back();
    }

    /// In the child of a fork. `held` is what `hold_for_fork` returned.
    pub(super) fn forked(&self, held: bool) {
        self.process.store(if held { FORKED } else { FORKED_WHILE_LOCKED }, Ordering::Relaxed);
        // Of the threads that were about to fork, this one is here.
        self.forking.store(usize::from(held), Ordering::Relaxed);
    }

    /// The calling thread exits the process: from now on no other thread writes. If a sink hangs up to `deadline`, the calling
    /// thread does not write either. Returns `false` in the child of a fork, and if a thread exits already: nothing changes.
    pub(super) fn begin_exit(&self, deadline: Instant) -> bool {
        // Before the right is taken: from here on other threads let go of it, and take it no more.
        let is_first = self.process.compare_exchange(NORMAL, EXITING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_first {
            EXITS.with(|exits| exits.set(true));
            if self.take(Some(deadline), false) {
                self.process.store(EXIT_OWNED, Ordering::Relaxed);
            }
        }
        is_first
    }
}

/// The right to drain, until it drops.
pub(super) struct DrainGuard<'a> {
    lock: &'a DrainLock,
    _in_logger: InLogger,
    _within: abort::Within,
    _mark: DrainMark,
}

impl Drop for DrainGuard<'_> {
    fn drop(&mut self) {
        DRAINING.with(|draining| draining.set(false));
        self.lock.give_back();
    }
}

/// Returns `true` if the calling thread is within the sinks of a queue. Not for signal handlers: see [`super::inside`].
pub(super) fn is_draining() -> bool {
    DRAINING.with(Cell::get)
}
