//! The place of the process's one runtime: taken by its start, given back by its end.

use super::last_profile;
use crate::error::{Error, Kind};
use crate::os::fork::{self, PerProcess};
use crate::thread::{leaving, panic};
use std::sync::atomic::{AtomicBool, Ordering};

/// One runtime at a time. A forked child may start one of its own.
pub(super) static RUNNING: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);

/// The process's one runtime. Gives the place back, also if the start fails half-way.
pub(super) struct Claim {
    /// The generation of the process that has the runtime.
    generation: u32,
}

impl Claim {
    pub(super) fn take() -> Result<Claim, Error> {
        fork::watch();
        if RUNNING.swap(true, Ordering::SeqCst) {
            let message = "a runtime runs already in this process; shut it down before the next one is started";
            return Err(Error::new(Kind::AlreadyRunning, message));
        }
        Ok(Claim { generation: fork::generation() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // The runtime is the parent process's.
            return;
        }
        panic::panics_go_to_log(false);
        leaving::set_report(None);
        last_profile::forget();
        RUNNING.store(false, Ordering::SeqCst);
    }
}
