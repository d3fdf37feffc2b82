//! Logs the failures of threads whose handle is held, and which no thread joins. A join that comes
//! soon gets the failure without a word in the log. A join that comes weeks later does not keep it
//! from the log. `stop_clock` has the time of the next look. No look is planned while no thread has
//! failed.

use super::roots::roots;
use super::stop_clock;
use super::tree::walk;
use std::time::Instant;

/// Logs the failures whose time has come, and plans the next look. Called by each look of the stop
/// watch of the runtime.
pub(crate) fn tell_due() {
    let now = Instant::now();
    let Some(planned) = stop_clock::take_held(now) else { return };
    if planned > now {
        return stop_clock::look_for_held(planned);
    }
    let mut next: Option<Instant> = None;
    walk(roots(), |node| {
        if let Some(due) = node.tell_held(now) {
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        // A thread that has stopped has collected the failures below it.
        if node.stopped.is_go() { Vec::new() } else { node.children_by_age() }
    });
    if let Some(next) = next {
        stop_clock::look_for_held(next);
    }
}
