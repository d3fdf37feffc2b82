//! The last part of a thread's life: its function has returned, and destructors of its
//! thread-locals may still run. A join waits for them too, up to its limit, and reports a destructor
//! that takes longer than the thread's patience.

use super::stop_clock;
use crate::error::ignore_panic;
use crate::model::locks::RwLock;
use crate::os::fork::PerProcess;
use crate::os::tell::tell;
use crate::signal::{Signal, running_targets};
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

/// A thread whose function has returned is joined for at least this long after that, also where a
/// limit is over: it has only its last lines to run, unless a thread-local has a destructor.
const LAST_LINES: Duration = Duration::from_millis(100);

/// What ends a join before the thread has ended.
#[derive(Clone, Copy, Default)]
pub(super) struct Limit<'a> {
    till: Option<&'a Signal>,
    deadline: Option<Instant>,
}

impl Limit<'_> {
    /// How often `till` is looked at: no call waits for a signal and for the end of an OS thread.
    const LOOKS: Duration = Duration::from_millis(10);

    pub(super) fn new(till: Option<&Signal>, deadline: Option<Instant>) -> Limit<'_> {
        Limit { till: till.filter(|till| till.can_go()), deadline }
    }

    /// For how long the thread may be waited for before the next call, if its function has returned
    /// at `since`. `None`: the limit is over.
    fn left(&self, since: Instant) -> Option<Duration> {
        let now = Instant::now();
        let left = self.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        if left.is_zero() || self.till.is_some_and(Signal::is_go) {
            return LAST_LINES.checked_sub(now.saturating_duration_since(since));
        }
        Some(self.till.map_or(left, |_| left.min(Limit::LOOKS)))
    }
}

/// Joins the OS thread of `path`. `returned` gives when the thread's function returned, `None`
/// while it runs. Called by `Node::join_os` for joins and stops, and by `tree/reap.rs` for threads that
/// no other thread joins.
pub(super) fn join(
    os: OsHandle<()>,
    path: &Arc<str>,
    own_patience: Option<Duration>,
    returned: impl Fn() -> Option<Instant>,
) {
    // Without a limit it is never given up.
    let _ = join_within(os, path, own_patience, returned, Limit::default());
}

/// The same, up to a limit. Then the handle comes back.
pub(super) fn join_within(
    os: OsHandle<()>,
    path: &Arc<str>,
    own_patience: Option<Duration>,
    returned: impl Fn() -> Option<Instant>,
    limit: Limit<'_>,
) -> Result<(), OsHandle<()>> {
    const SHORTEST: Duration = Duration::from_millis(1);
    let patience = own_patience.unwrap_or_else(stop_clock::patience).max(SHORTEST);
    let (began, mut next) = (Instant::now(), patience);
    let check = || {
        let Some(since) = returned() else {
            // Fewer and fewer checks: a join may take as long as the program.
            return limit.left(began).map(|left| left.min(began.elapsed().clamp(FIRST_CHECK, LONGEST)));
        };
        if since.elapsed() >= next {
            let report = *REPORT.read();
            ignore_panic(|| report(&Leaving { path: path.clone(), since }));
            next = next.saturating_mul(2).min(since.elapsed().saturating_add(LONGEST));
        }
        limit.left(since).map(|left| left.min(next.saturating_sub(since.elapsed())).max(SHORTEST))
    };
    // What is left to panic in a body is a destructor of a thread-local, and that aborts.
    let first = limit.left(returned().unwrap_or(began)).unwrap_or_default().min(patience).max(SHORTEST);
    crate::os::join(os, first, check)
}

fn report(leaving: &Leaving) {
    tell(log::Level::Warn, module_path!(), &leaving.to_string());
}

impl Leaving {
    /// A thread whose function has returned runs targets of its `stopped()`, then destructors.
    fn runs(&self) -> String {
        let target = running_targets().into_iter().find(|target| target.thread == self.path);
        target.map_or_else(|| "a destructor of one of its thread-locals".to_owned(), |target| target.to_string())
    }
}

impl std::fmt::Display for Leaving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} has returned {:.1?} ago and its OS thread has not ended: {} still runs",
            self.path,
            self.since.elapsed(),
            self.runs()
        )
    }
}
