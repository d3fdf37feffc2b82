//! The timer in a forked child: it keeps the targets that are due, and has none of the threads.

use super::state::{IS_LEFT_ALONE, State, TIMER};
use crate::model::locks::MutexGuard;
use crate::os::{fork, process};
use std::cell::RefCell;
use std::mem::{self, ManuallyDrop};
use std::sync::Once;
use std::sync::atomic::Ordering;
use std::time::Duration;

thread_local! {
    /// While the calling thread forks: the lock, so that `due` is whole in the child. Without a
    /// destructor, so that an exit handler may fork too.
    static HELD: RefCell<ManuallyDrop<Option<MutexGuard<'static, State>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Prepares this process for forks; once. `fork` then calls the functions in here.
pub(super) fn prepare() {
    /// The lock is never held for long.
    const PATIENCE: Duration = Duration::from_secs(1);
    extern "C" fn before() {
        let held = TIMER.state.try_lock_for(PATIENCE);
        HELD.with(|slot| **slot.borrow_mut() = held);
    }
    extern "C" fn in_parent() {
        drop(HELD.with(|slot| slot.borrow_mut().take()));
    }
    extern "C" fn in_child() {
        let Some(mut parents) = HELD.with(|slot| slot.borrow_mut().take()) else { return };
        let mut state = TIMER.state.lock();
        (state.due, state.ready) = (mem::take(&mut parents.due), mem::take(&mut parents.ready));
        IS_LEFT_ALONE.store(!state.is_idle(), Ordering::Relaxed);
        drop(state);
        drop(parents);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // First, so that in the child `TIMER` is the child's when the others run.
        fork::watch();
        process::at_fork(before, in_parent, in_child);
    });
}
