//! The right to be the process's one runtime: taken by its start, given back by its end. What the
//! start has put into `thread` is taken out again here.

use super::{last_profile, pushing};
use crate::error::{Error, Kind};
use crate::os::fork::PerProcess;
use crate::os::only_one::OnlyOne;
use crate::thread::{leaving, panic};
use std::sync::atomic::AtomicBool;

/// One runtime at a time. A forked child may start one of its own.
pub(super) static RUNNING: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);

/// The process's one runtime. Gives the place back, also if the start fails half-way.
pub(super) struct Claim(OnlyOne);

impl Claim {
    pub(super) fn take() -> Result<Claim, Error> {
        OnlyOne::try_take(&RUNNING).map(Claim).ok_or_else(|| {
            let message = "a runtime runs already in this process; shut it down before the next one is started";
            Error::new(Kind::AlreadyRunning, message)
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.0.is_of_this_process() {
            // The runtime is the parent process's.
            return;
        }
        panic::panics_go_to_log(false);
        leaving::set_report(None);
        last_profile::forget();
        pushing::forget();
    }
}
