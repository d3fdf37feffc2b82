//! What a fork or an exit makes of the process, as each thread that logs sees it. One state for
//! each queue, since a queue may have been in use at the fork or not. Knows nothing of locks or
//! records.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::seam::thread_local;
use crate::model::AtomicU8;

const NORMAL: u8 = 0;
const FORKED: u8 = 1;
const FORKED_WHILE_LOCKED: u8 = 2;
const EXITING: u8 = 3;
const EXIT_OWNED: u8 = 4;
const FORKED_TAKEN_OVER: u8 = 5;

/// The state of the process as the calling thread sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Normal,
    /// The child of a fork, which has no writer. The queue may have been in the middle of an
    /// operation, so each thread writes its records itself.
    Forked,
    /// The child of a fork, and a thread that is not there is within the sinks. Nothing can be
    /// written.
    ForkedWhileLocked,
    /// Another thread exits the process. What the calling thread logs is lost with the process. An
    /// exit handler may wait for the calling thread, so it must not hang in the log.
    ExitingElsewhere,
    /// The calling thread exits the process, and does not have the right to drain (yet): a sink
    /// hangs.
    Exiting,
    /// The calling thread exits the process, and has the right to drain for good.
    ExitOwner,
}

pub(super) struct ProcessState {
    /// | value                 | means                                                | set by                     |
    /// |-----------------------|------------------------------------------------------|----------------------------|
    /// | `NORMAL`              | neither forked nor exiting                           | `new`                      |
    /// | `FORKED`              | the child of a fork, no thread was within the sinks  | the child's fork handler   |
    /// | `FORKED_WHILE_LOCKED` | the child of a fork, a thread was within the sinks   | the child's fork handler   |
    /// | `FORKED_TAKEN_OVER`   | the same, and the sinks hold records of the child    | the first thread to write  |
    /// | `EXITING`             | a thread exits; it waits for the right to drain      | that thread, from `NORMAL` |
    /// | `EXIT_OWNED`          | that thread has the right to drain for good          | that thread                |
    ///
    /// It never goes back, but in a child of a child. Relaxed: a child runs its first line after the
    /// fork handler. Elsewhere a thread may see an exit late, and then `busy` keeps it from writing.
    state: AtomicU8,
}

thread_local! {
    /// Whether this is the thread that exits.
    static EXITS: Cell<bool> = const { Cell::new(false) };
}

impl ProcessState {
    pub(super) fn new() -> ProcessState {
        ProcessState { state: AtomicU8::new(NORMAL) }
    }

    pub(super) fn get(&self) -> Process {
        match (self.state.load(Ordering::Relaxed), EXITS.with(Cell::get)) {
            (NORMAL, _) => Process::Normal,
            (FORKED | FORKED_TAKEN_OVER, _) => Process::Forked,
            (FORKED_WHILE_LOCKED, _) => Process::ForkedWhileLocked,
            (EXIT_OWNED, true) => Process::ExitOwner,
            (_, true) => Process::Exiting,
            (_, false) => Process::ExitingElsewhere,
        }
    }

    /// In the child of a fork. `held`: the forking thread had the right to drain.
    pub(super) fn set_forked(&self, held: bool) {
        self.state.store(if held { FORKED } else { FORKED_WHILE_LOCKED }, Ordering::Relaxed);
    }

    /// Returns `true` to the first caller in the child of a fork. The caller has the right to drain,
    /// which orders this for the next one.
    pub(super) fn take_over(&self) -> bool {
        self.state.compare_exchange(FORKED, FORKED_TAKEN_OVER, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The calling thread exits the process. Returns `false` in the child of a fork, and if a
    /// thread exits already: nothing changes.
    pub(super) fn begin_exit(&self) -> bool {
        let is_first = self.state.compare_exchange(NORMAL, EXITING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_first {
            EXITS.with(|exits| exits.set(true));
        }
        is_first
    }

    /// The exiting thread has the right to drain for good.
    pub(super) fn own_exit(&self) {
        self.state.store(EXIT_OWNED, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// As another thread sees it.
    fn elsewhere(state: &Arc<ProcessState>) -> Process {
        let state = state.clone();
        std::thread::spawn(move || state.get()).join().unwrap()
    }

    #[test]
    fn an_exit_is_seen_apart_by_its_thread() {
        std::thread::spawn(|| {
            let state = Arc::new(ProcessState::new());
            assert_eq!((state.get(), elsewhere(&state)), (Process::Normal, Process::Normal));
            assert!(state.begin_exit() && !state.begin_exit());
            assert_eq!((state.get(), elsewhere(&state)), (Process::Exiting, Process::ExitingElsewhere));
            state.own_exit();
            assert_eq!((state.get(), elsewhere(&state)), (Process::ExitOwner, Process::ExitingElsewhere));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_forked_child_does_not_begin_an_exit() {
        for (held, process) in [(true, Process::Forked), (false, Process::ForkedWhileLocked)] {
            let state = ProcessState::new();
            state.set_forked(held);
            assert!(!state.begin_exit());
            assert_eq!(state.get(), process);
        }
    }
}
