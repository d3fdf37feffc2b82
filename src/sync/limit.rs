//! What may end a wait early (`till`, time-out), and how a thread blocks until then. Used by all of
//! `sync`.

use super::GaveUp;
use super::parker::Parker;
use crate::model::now;
use crate::signal::{Signal, WaitSet};
use crate::wait::{self, Ender, Published};
use std::time::{Duration, Instant};

/// The `_till` and the `_timeout` of one call.
#[derive(Clone, Copy)]
pub(super) struct Limit<'a> {
    till: Option<&'a Signal>,
    deadline: Option<Instant>,
}

impl<'a> Limit<'a> {
    pub(super) const NONE: Limit<'static> = Limit { till: None, deadline: None };

    pub(super) fn till(till: &'a Signal) -> Limit<'a> {
        Limit { till: Some(till), deadline: None }
    }

    pub(super) fn timeout(timeout: Duration) -> Limit<'static> {
        // A deadline beyond what the clock can express is no deadline.
        Limit { till: None, deadline: now().checked_add(timeout) }
    }

    /// Returns `true` if there is something that can end the wait.
    pub(super) fn is_any(&self) -> bool {
        self.deadline.is_some() || self.till.is_some_and(Signal::can_go)
    }

    /// A `till` that has gone before the call wins over what the call would find.
    pub(super) fn check(&self) -> Result<(), GaveUp> {
        if self.till.is_some_and(Signal::is_go) { Err(GaveUp::Stopped) } else { Ok(()) }
    }

    /// The reason to give up now, if there is one.
    pub(super) fn reached(&self) -> Option<GaveUp> {
        if self.till.is_some_and(Signal::is_go) {
            Some(GaveUp::Stopped)
        } else if self.deadline.is_some_and(|deadline| deadline <= now()) {
            Some(GaveUp::TimedOut)
        } else {
            None
        }
    }

    /// What has ended a wait that gave up.
    fn ender(&self, reason: &GaveUp) -> Ender {
        match reason {
            GaveUp::Stopped => self.till.map_or(Ender::UNKNOWN, Signal::ender),
            GaveUp::TimedOut => Ender::clock(self.deadline),
        }
    }

    fn begin(&self, wait_set: &mut WaitSet) {
        wait_set.clear(self.deadline);
        if let Some(till) = self.till {
            wait_set.watch(till);
        }
    }

    /// Blocks until `done` returns `true`, or until the limit. Calls `done` again after each
    /// `unpark` of `parker`, the calling thread's own.
    pub(super) fn block_until(&self, parker: &Parker, mut done: impl FnMut() -> bool) -> Result<(), GaveUp> {
        let mut wait_set = WaitSet::default();
        while !done() {
            if let Some(reason) = self.reached() {
                wait::ended_by(|| self.ender(&reason));
                return Err(reason);
            }
            self.begin(&mut wait_set);
            wait_set.block_on(parker.token());
        }
        wait::ended_by(|| parker.ender());
        Ok(())
    }

    /// Blocks until the signal has gone, or until the limit. If both have come, the signal wins.
    pub(super) fn wait_for(&self, signal: &Signal, publish: impl FnOnce() -> Published) -> Result<(), GaveUp> {
        if signal.is_go() {
            return Ok(());
        }
        if let Some(reason) = self.reached() {
            return Err(reason);
        }
        let _published = publish();
        let mut wait_set = WaitSet::default();
        loop {
            self.begin(&mut wait_set);
            wait_set.watch(signal);
            wait_set.block();
            if signal.is_go() {
                wait::ended_by(|| signal.ender());
                return Ok(());
            }
            if let Some(reason) = self.reached() {
                wait::ended_by(|| self.ender(&reason));
                return Err(reason);
            }
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
impl Limit<'_> {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
