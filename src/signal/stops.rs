//! Each stop that a thread is asked for is told to one observer, whichever call asked. The room
//! `thread` puts the observer in: it starts the clock of the stop.

use std::sync::OnceLock;

/// The name of each thread's stop signal, and of no other signal.
pub(crate) const PLEASE_STOP: &str = "please_stop";

static OBSERVER: OnceLock<fn()> = OnceLock::new();

/// From now on `observer` is called each time a thread's `please_stop` has gone, on the thread that
/// made it go, with no lock of this room held. The first observer stays.
pub(crate) fn observe_stops(observer: fn()) {
    let _ = OBSERVER.set(observer);
}

pub(super) fn tell_of_stop() {
    if let Some(observer) = OBSERVER.get() {
        observer();
    }
}
