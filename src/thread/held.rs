//! Logs the failures of threads whose handle is held, and which no thread joins. A join that comes
//! soon gets the failure without a word in the log. A join that comes weeks later does not keep it
//! from the log. `stop_clock` has the time of the next look. No look is planned while no thread has
//! failed.

use super::failure::Unlogged;
use super::roots::roots;
use super::stop_clock;
use super::tree::{Held, walk};
use std::time::Instant;

/// Returns the lines of the failures whose time has come, and plans the next look. Called by each look
/// of the stop watch of the runtime, which must not wait for the log itself.
pub(crate) fn take_due() -> Vec<Unlogged> {
    let now = Instant::now();
    let Some(planned) = stop_clock::take_held(now) else { return Vec::new() };
    if planned > now {
        stop_clock::look_for_held(planned);
        return Vec::new();
    }
    let (mut lines, mut next) = (Vec::new(), None::<Instant>);
    walk(roots(), |node| {
        match node.take_held(now) {
            Held::Nothing => {}
            Held::Due(due) => lines.extend(due),
            Held::Later(due) => next = Some(next.map_or(due, |next| next.min(due))),
        }
        // A thread that has stopped has collected the failures below it.
        if node.stopped.is_go() { Vec::new() } else { node.children_by_age() }
    });
    if let Some(next) = next {
        stop_clock::look_for_held(next);
    }
    lines
}
