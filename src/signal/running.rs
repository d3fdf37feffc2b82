//! The targets of the program that run now, and on which threads. A target that blocks holds up the
//! thread that let its signal go, and the end of the program with it. Knows no signals.

use crate::model::locks::Mutex;
use crate::os::fork::{self, PerProcess};
use crate::wait;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// A target of `on_go` that runs.
#[derive(Clone)]
pub(crate) struct RunningTarget {
    /// No other target has it.
    pub(crate) number: u64,
    /// The path of the thread that runs it.
    pub(crate) thread: Arc<str>,
    pub(crate) since: Instant,
    attached_at: &'static Location<'static>,
}

struct Running {
    next: u64,
    targets: Vec<RunningTarget>,
}

impl Running {
    const fn new() -> Mutex<Running> {
        Mutex::new(Running { next: 0, targets: Vec::new() })
    }
}

/// In a forked child, only the target that has forked still runs. The child need not know of it.
static RUNNING: PerProcess<Mutex<Running>> = PerProcess::new(Running::new(), Running::new);

/// A target counts as running while this lives.
pub(super) struct Run(u64);

/// From now on the calling thread runs a target that was attached at this place.
pub(super) fn run(attached_at: &'static Location<'static>) -> Run {
    fork::watch();
    let (thread, since) = (wait::my_path(), Instant::now());
    let mut running = RUNNING.lock();
    let number = running.next;
    running.next += 1;
    running.targets.push(RunningTarget { number, thread, since, attached_at });
    Run(number)
}

impl Drop for Run {
    fn drop(&mut self) {
        RUNNING.lock().targets.retain(|target| target.number != self.0);
    }
}

/// The targets that run now, the oldest first.
pub(crate) fn running_targets() -> Vec<RunningTarget> {
    RUNNING.lock().targets.clone()
}

impl fmt::Display for RunningTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a target of on_go, attached at {}", self.attached_at)
    }
}
