//! Counts the replies of signal handlers, and lets the requesting thread sleep until enough of them
//! have come. Statics, so that a late handler of an earlier batch reaches nothing that is freed: it
//! counts one reply too many, and the requesting thread looks once in vain.

use crate::os::futex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The number of replies so far; it wraps around. Changed by handlers.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The number of replies at which the requesting thread is to be woken. Changed by that thread.
static WAKE_AT: AtomicU32 = AtomicU32::new(0);

/// | value | meaning | stored by |
/// |---|---|---|
/// | 0 | the requesting thread sleeps, or is about to | that thread |
/// | 1 | enough replies have come since | the handler of the last of them |
static WOKEN: AtomicU32 = AtomicU32::new(1);

/// The number of replies so far.
pub(super) fn count() -> u32 {
    COUNT.load(Ordering::SeqCst)
}

/// Called by a handler when its reply is whole.
///
/// # Signal safety
/// Safe: loads, stores, and a system call.
pub(super) fn add() {
    // SeqCst, as in `wait`: this adds and then loads `WAKE_AT`; the requesting thread stores
    // `WAKE_AT` and then loads `COUNT`. At least one of the two sees the other.
    let count = COUNT.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
    if count == WAKE_AT.load(Ordering::SeqCst) {
        WOKEN.store(1, Ordering::SeqCst);
        futex::wake_one(&WOKEN);
    }
}

/// Sleeps until there are `more` replies than at `before`, at most for so long. One thread at a time.
pub(super) fn wait(before: u32, more: u32, at_most: Duration) {
    WOKEN.store(0, Ordering::SeqCst);
    WAKE_AT.store(before.wrapping_add(more), Ordering::SeqCst);
    if count().wrapping_sub(before) < more {
        futex::wait(&WOKEN, 0, at_most);
    }
}
