//! What a thread that waits for room in a queue shows: the wait that it publishes, and the warning that
//! it logs now and then. The wait itself is in `store.rs`.

use super::store::Store;
use crate::os::counted::counted;
use crate::os::tell::tell;
use crate::signal::Signal;
use crate::wait::{Handles, Unblocker, WaitDescription};
use log::Level;
use std::time::Instant;

impl<T> Store<T> {
    /// What a thread that waits for room publishes.
    pub(super) fn room_description(&self, till: Option<&Signal>, handles: impl FnOnce() -> Handles) -> WaitDescription {
        let limited = till.is_some_and(Signal::can_go);
        let what = WaitDescription::new("room in queue", self.name.clone()).limited(limited);
        match limited {
            true => what,
            false => what.unblocker(Unblocker::Users(self.poppers.clone())).handles(handles()),
        }
    }

    /// Logs that the calling thread has waited for room since `since`.
    pub(super) fn warn_full(&self, since: Instant) {
        let text = format!(
            "{} has waited {:.0?} for room in queue \"{}\", which is full with {}",
            crate::wait::my_path(),
            since.elapsed(),
            self.name,
            counted(self.len(), "value")
        );
        tell(Level::Warn, "selvedge::queue", &text);
    }
}
