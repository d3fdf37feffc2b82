//! Which Tills the timer is to fire: what `signal` calls. The first entry starts a thread.

use super::state::{IS_LEFT_ALONE, TIMER};
use super::worker::{look_again, start_leader};
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

/// Starts a thread if there are targets and no thread for them. That is so in a forked child, if
/// targets were attached before the fork, and when the system gave no thread. Called before each
/// wait, which may be for a target, after each spawn, and by each look of the runtime's stop watch.
#[inline]
pub(crate) fn resume() {
    // Relaxed: in a forked child it is set before the child's first line. A thread that sees the end
    // of an attempt late tries later.
    if IS_LEFT_ALONE.load(Ordering::Relaxed) {
        resume_now();
    }
}

/// Returns `true` if `resume` has something to do.
pub(crate) fn is_left_alone() -> bool {
    IS_LEFT_ALONE.load(Ordering::Relaxed)
}

#[cold]
fn resume_now() {
    let mut state = TIMER.state.lock();
    if state.is_idle() {
        // Its targets were detached: what comes later is not late because of it.
        state.outage = None;
    }
    if let Some(outage) = &state.outage
        && Instant::now() < outage.retry_at
    {
        let at = outage.retry_at;
        drop(state);
        return look_again(at);
    }
    IS_LEFT_ALONE.store(false, Ordering::Relaxed);
    if state.leader.is_none() && !state.is_idle() {
        start_leader(state);
    }
}
