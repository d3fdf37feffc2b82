//! The drain lock: the right to take records out of the queue and write them, which one thread at a
//! time has. Knows nothing of records.
//!
//! It is no mutex, because a fork takes the right in one process and gives it back in two, and
//! because the exiting thread keeps it. The fork and exit handlers in `process_hooks` make the
//! calls for those.
//!
//! Models: `log/loom_tests.rs` and `log/model_tests.rs`.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::abort;
use super::draining_threads::DrainMark;
use super::process_state::{Process, ProcessState};
use super::seam::thread_local;
use crate::model::{AtomicBool, AtomicUsize, back_off};
use crate::thread::panic_flags::{InLogger, enter_logger};
use crossbeam_utils::CachePadded;

pub(super) struct DrainLock {
    /// | value | means                                      | set by                                        |
    /// |-------|--------------------------------------------|-----------------------------------------------|
    /// | false | no thread drains                           | the thread that drained, the child of a fork  |
    /// | true  | a thread drains, or a fork is under way    | the thread that drains or forks               |
    ///
    /// Acquire on taking, Release on giving back: the next thread sees what the one before did to
    /// the sinks.
    ///
    /// On a cache line of its own: each call of the log loads `process`.
    busy: CachePadded<AtomicBool>,
    /// The number of threads that are about to fork. Other threads let them have `busy` first: a
    /// writer at work takes it again at once, and a fork would hardly ever find it free. Relaxed: a
    /// thread that misses the pending fork merely drains first.
    forking: AtomicUsize,
    process: ProcessState,
}

thread_local! {
    static DRAINING: Cell<bool> = const { Cell::new(false) };
}

impl DrainLock {
    pub(super) fn new() -> DrainLock {
        DrainLock {
            busy: CachePadded::new(AtomicBool::new(false)),
            forking: AtomicUsize::new(0),
            process: ProcessState::new(),
        }
    }

    pub(super) fn process(&self) -> Process {
        self.process.get()
    }

    pub(super) fn is_exiting_elsewhere(&self) -> bool {
        self.process() == Process::ExitingElsewhere
    }

    /// Takes the right to drain. `None`: not by `deadline`; or the calling thread has it already;
    /// or the process aborts, and the calling thread is not the writer.
    pub(super) fn enter(&self, deadline: Option<Instant>, is_writer: impl FnOnce() -> bool) -> Option<DrainGuard<'_>> {
        if !self.take(deadline, true) {
            return None;
        }
        let Some(active) = abort::ActiveDrain::enter(is_writer) else {
            self.give_back();
            return None;
        };
        DRAINING.with(|draining| draining.set(true));
        Some(DrainGuard { lock: self, _in_logger: enter_logger(), _active: active, _mark: DrainMark::enter() })
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
            back_off(tries);
        }
        true
    }

    fn give_back(&self) {
        if self.process() != Process::ExitOwner {
            self.busy.store(false, Ordering::Release);
        }
    }

    /// Before a fork: takes the right to drain, so that no thread is within the sinks. Returns
    /// `false` if a thread is, up to `deadline`.
    pub(super) fn hold_for_fork(&self, deadline: Instant) -> bool {
        self.forking.fetch_add(1, Ordering::Relaxed);
        let held = self.take(Some(deadline), false);
        if !held {
            self.forking.fetch_sub(1, Ordering::Relaxed);
        }
        held
    }

    /// After the fork, in both processes, if `hold_for_fork` has returned `true`. In the child
    /// `forked` comes first.
    pub(super) fn release_after_fork(&self) {
        self.forking.fetch_sub(1, Ordering::Relaxed);
        self.give_back();
    }

    /// In the child of a fork. `held` is what `hold_for_fork` returned.
    pub(super) fn forked(&self, held: bool) {
        self.process.set_forked(held);
        // Of the threads that were about to fork, this one is here.
        self.forking.store(usize::from(held), Ordering::Relaxed);
    }

    /// Returns `true` once in the child of a fork, to the first thread that calls this with the right
    /// to drain: what the sinks hold is the parent's.
    pub(super) fn take_over(&self) -> bool {
        self.process.take_over()
    }

    /// The calling thread exits the process: from now on no other thread writes. If a sink hangs up
    /// to `deadline`, the calling thread does not write either. Returns `false` in the child of a
    /// fork, and if a thread exits already: nothing changes.
    pub(super) fn begin_exit(&self, deadline: Instant) -> bool {
        // Before the right is taken: from here on other threads let go of it, and take it no more.
        let is_first = self.process.begin_exit();
        if is_first && self.take(Some(deadline), false) {
            self.process.own_exit();
        }
        is_first
    }
}

/// The right to drain, until it drops.
pub(super) struct DrainGuard<'a> {
    lock: &'a DrainLock,
    _in_logger: InLogger,
    _active: abort::ActiveDrain,
    _mark: DrainMark,
}

impl Drop for DrainGuard<'_> {
    fn drop(&mut self) {
        DRAINING.with(|draining| draining.set(false));
        self.lock.give_back();
    }
}

/// Returns `true` if the calling thread is within the sinks of a queue. Not for signal handlers:
/// see [`super::draining_threads`].
pub(super) fn is_draining() -> bool {
    DRAINING.with(Cell::get)
}
