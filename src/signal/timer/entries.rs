//! Which Tills the timer is to fire: what `signal` calls. The first entry starts a thread.

use super::state::{IS_LEFT_ALONE, TIMER};
use super::worker::start_leader;
use crate::signal::core::Core;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

pub(in crate::signal) fn add(at: Instant, core: &Arc<Core>) {
    let mut state = TIMER.state.lock();
    let earliest = state.next_due().is_none_or(|first| at < first);
    state.due.insert((at, Arc::as_ptr(core) as usize), Arc::downgrade(core));
    if state.leader.is_none() {
        start_leader(state);
    } else if earliest {
        TIMER.leader.notify_one();
        if state.awaits_due {
            TIMER.deputy.notify_one();
        }
    }
}

pub(in crate::signal) fn remove(at: Instant, core: *const Core) {
    TIMER.state.lock().due.remove(&(at, core as usize));
}

/// Before a call that waits: in a forked child, what it waits for may be a target that was attached
/// before the fork.
#[inline]
pub(in crate::signal) fn resume() {
    // Relaxed: set before the child's first line.
    if IS_LEFT_ALONE.load(Ordering::Relaxed) {
        resume_now();
    }
}

#[cold]
fn resume_now() {
    let state = TIMER.state.lock();
    IS_LEFT_ALONE.store(false, Ordering::Relaxed);
    if state.leader.is_none() && !state.is_idle() {
        start_leader(state);
    }
}
