//! One blocking wait for a socket: until it is ready, the signal has gone, or the socket's own time
//! limit has passed.

use super::names::Names;
use super::stopped::Stopped;
use crate::os::fork::PerProcess;
use crate::os::poll::{Interest, Waker, until_ready};
use crate::signal::{OnGoScoped, Signal};
use crate::wait::{self, Ender, WaitDescription};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Without a descriptor for the wake-up, a wait checks its signal at this interval.
const LOOK: Duration = Duration::from_millis(50);

/// Wakes the waits of one socket when a signal goes. Costs a descriptor from the first wait on that
/// blocks; in a forked child another one.
pub(super) struct Wake {
    till: Signal,
    armed: PerProcess<Armed>,
}

type Armed = OnceLock<(Arc<Waker>, OnGoScoped)>;

impl Wake {
    pub(super) fn new(till: &Signal) -> Wake {
        Wake { till: till.clone(), armed: PerProcess::default() }
    }

    pub(super) fn till(&self) -> &Signal {
        &self.till
    }

    /// `None`: no descriptor is to be had just now.
    fn arm(&self) -> Option<&Waker> {
        if self.armed.get().is_none() {
            let waker = Arc::new(Waker::new().ok()?);
            let wakes = waker.clone();
            let target = self.till.on_go_first_scoped(move || wakes.wake());
            // Another thread that waits on the same socket may have been faster; then this target
            // is cancelled.
            let _ = self.armed.set((waker, target));
        }
        self.armed.get().map(|(waker, _)| &**waker)
    }

    /// The error of a call that ends because the signal has gone.
    pub(super) fn stopped(&self, what: &'static str) -> io::Error {
        io::Error::other(Stopped { what, signal: self.till.name() })
    }
}

pub(super) enum Outcome {
    Ready,
    Stopped,
    TimedOut,
}

/// Blocks until the socket is ready for `interest`, the signal has gone, or `limit` has passed, and
/// shows meanwhile as waiting for `kind` and the name.
///
/// # Errors
/// The errors of `poll`.
pub(super) fn wait(
    socket: BorrowedFd<'_>,
    interest: Interest,
    wake: &Wake,
    limit: Option<Duration>,
    kind: &'static str,
    names: &Names,
) -> io::Result<Outcome> {
    let can_go = wake.till.can_go();
    // A limit beyond what the clock can express is none.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let what = WaitDescription::new(kind, names.name.clone()).stable_name(names.lasting.clone());
    let _published = what.limited(can_go || deadline.is_some()).publish();
    let waker = if can_go { wake.arm() } else { None };
    let most = if can_go && waker.is_none() { Some(LOOK) } else { None };
    loop {
        // After the wake-up is armed: a signal that went before is seen here, a later one wakes.
        if wake.till.is_go() {
            wait::ended_by(|| wake.till.ender());
            return Ok(Outcome::Stopped);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            wait::ended_by(|| Ender::clock(deadline));
            return Ok(Outcome::TimedOut);
        }
        let limit = left.into_iter().chain(most).min();
        wait::begin_sleep();
        if until_ready(socket, interest, waker, limit)? {
            wait::ended_by(|| Ender::OUTSIDE);
            return Ok(Outcome::Ready);
        }
    }
}

#[cfg(all(test, feature = "log4rs", not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::os::for_tests::in_forked_child;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_forked_child_wakes_its_own_waits_alone() {
        let (till, (ours, _theirs)) = (Signal::new("till"), UnixStream::pair().unwrap());
        let wake = Wake::new(&till);
        let parents = wake.arm().unwrap();
        let is_stopped = in_forked_child(|| {
            let goes = till.clone();
            std::thread::spawn(move || goes.go());
            let outcome = wait(ours.as_fd(), Interest::Read, &wake, None, "reading", &Names::one("peer"));
            let own = wake.arm().unwrap();
            let is_woken = until_ready(own.as_fd(), Interest::Read, None, Some(Duration::ZERO)).unwrap();
            matches!(outcome, Ok(Outcome::Stopped)) && is_woken
        });
        assert!(is_stopped, "no signal of the child ends a wait of the child");
        // Otherwise a wait of this process would turn without end: the signal has not gone here.
        assert!(!until_ready(parents.as_fd(), Interest::Read, None, Some(Duration::ZERO)).unwrap());
        assert!(!till.is_go());
    }
}
