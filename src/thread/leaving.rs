//! The last part of a thread's life: its function has returned, and destructors of its
//! thread-locals may still run. A join waits for them too, and reports a destructor that takes
//! longer than the thread's patience.

use super::stop_clock;
use crate::error::ignore_panic;
use crate::model::locks::RwLock;
use crate::os::fork::PerProcess;
use crate::os::tell::tell;
use std::sync::Arc;
use std::thread::JoinHandle as OsHandle;
use std::time::{Duration, Instant};

/// A thread whose function has returned, and which the system still has.
pub(crate) struct Leaving {
    pub(crate) path: Arc<str>,
    pub(crate) since: Instant,
}

/// Reports it. May end the process.
type Report = fn(&Leaving);

static REPORT: PerProcess<RwLock<Report>> = PerProcess::new(RwLock::new(report), || RwLock::new(report));

/// From now on `report` is called for each thread that does not leave in time; `None`: a warning is
/// logged.
pub(crate) fn set_report(with: Option<Report>) {
    *REPORT.write() = with.unwrap_or(report);
}

/// Between two checks of a thread whose function still runs.
const FIRST_CHECK: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);

/// Joins the OS thread of `path`. `returned` gives when the thread's function returned, `None`
/// while it runs. Called by `Node::join_os` for joins and stops, and by `tree/reap.rs` for threads that
/// no other thread joins.
pub(super) fn join(
    os: OsHandle<()>,
    path: &Arc<str>,
    own_patience: Option<Duration>,
    returned: impl Fn() -> Option<Instant>,
) {
    let patience = own_patience.unwrap_or_else(stop_clock::patience).max(Duration::from_millis(1));
    let (began, mut next) = (Instant::now(), patience);
    let check = || {
        let Some(since) = returned() else {
            // Fewer and fewer checks: a join may take as long as the program.
            return began.elapsed().clamp(FIRST_CHECK, LONGEST);
        };
        if since.elapsed() >= next {
            let report = *REPORT.read();
            ignore_panic(|| report(&Leaving { path: path.clone(), since }));
            next = next.saturating_mul(2).min(since.elapsed().saturating_add(LONGEST));
        }
        next.saturating_sub(since.elapsed()).max(Duration::from_millis(1))
    };
    // What is left to panic in a body is a destructor of a thread-local, and that aborts.
    crate::os::join(os, patience, check);
}

fn report(leaving: &Leaving) {
    tell(log::Level::Warn, module_path!(), &leaving.to_string());
}

impl std::fmt::Display for Leaving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} has returned {:.1?} ago and its OS thread has not ended: a destructor of one of its thread-locals \
             still runs",
            self.path,
            self.since.elapsed()
        )
    }
}
