//! How long threads took from being asked to stop to their end: the slowest since the runtime
//! began.

use super::policy::Role;
use super::tree::Node;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The number of threads that are remembered.
const SLOWEST: usize = 5;

/// One thread's way to its end.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    path: Arc<str>,
    took: Duration,
    /// The part of it in which its own code had ended, and threads below it had not.
    for_children: Duration,
}

/// The slowest first.
static STOPPED: PerProcess<Mutex<Vec<Stopped>>> = PerProcess::new(Mutex::new(Vec::new()), Mutex::default);

/// Nanoseconds below which nothing needs the lock. Relaxed: a value that is behind costs a look
/// more, and no thread is left out by it, since it only grows until the next `begin`.
static FLOOR: AtomicU64 = AtomicU64::new(0);

/// Forgets all.
pub(crate) fn begin() {
    STOPPED.lock().clear();
    FLOOR.store(0, Ordering::Relaxed);
}

/// The slowest since `begin`, the slowest first.
pub(crate) fn slowest() -> Vec<Stopped> {
    STOPPED.lock().clone()
}

/// `node` ends now. Called when it settles.
pub(super) fn ended(node: &Node) {
    if node.settings.role == Role::User {
        keep(node);
    }
}

/// How long `node` took from being asked to stop to its end; to now, while it has not ended. `None`
/// if it was never asked, or ended before it was.
pub(super) fn of(node: &Node) -> Option<Duration> {
    let asked = node.please_stop.reason()?.when();
    node.ended.get().map_or_else(Instant::now, |ended| ended.at).checked_duration_since(asked)
}

/// `main`'s own code has ended. If `main` was asked to stop before, the time until now counts as
/// its way to its end.
pub(crate) fn main_returned(main: &Node) {
    keep(main);
}

fn keep(node: &Node) {
    if !node.please_stop.is_go() {
        return;
    }
    let end = Instant::now();
    let Some(asked) = node.please_stop.reason().map(|reason| reason.when()) else { return };
    let Some(took) = end.checked_duration_since(asked) else { return };
    if took.as_nanos() < u128::from(FLOOR.load(Ordering::Relaxed)) {
        return;
    }
    let own_end = node.ending().map_or(end, |ending| ending.at).max(asked);
    let for_children = end.saturating_duration_since(own_end);
    let mut all = STOPPED.lock();
    let at = all.partition_point(|other| other.took >= took);
    all.insert(at, Stopped { path: node.path.clone(), took, for_children });
    all.truncate(SLOWEST);
    if all.len() == SLOWEST {
        FLOOR.store(all[SLOWEST - 1].took.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.1?}", self.path, self.took)?;
        // What it waited for is in the list itself, as a rule.
        if self.for_children > self.took / 2 {
            write!(f, " ({:.1?} of it for threads below it)", self.for_children)?;
        }
        Ok(())
    }
}
