//! What else is known of a thread at the moment when it fails: its diagnostic context, its last log
//! records, where it was spawned, why it was asked to stop.

use super::mdc;
use crate::signal::Reason;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

#[derive(Clone, Default)]
pub(crate) struct FailureContext {
    /// The thread that spawned it, and where; then the thread that spawned that thread.
    pub(super) sites: Vec<(Arc<str>, &'static Location<'static>)>,
    pub(super) context: Vec<(String, String)>,
    pub(super) records: Vec<String>,
    pub(super) survivors: Vec<String>,
    /// Why it had been asked to stop, if it had.
    pub(super) stop: Option<Reason>,
}

/// How to get the last log records of the calling thread: the log is above this room.
static RECORDS: OnceLock<fn() -> Vec<String>> = OnceLock::new();

pub(crate) fn set_records(records: fn() -> Vec<String>) {
    let _ = RECORDS.set(records);
}

impl FailureContext {
    /// Of the calling thread.
    pub(super) fn of_now() -> FailureContext {
        FailureContext {
            context: mdc::inherit(),
            records: RECORDS.get().map(|records| records()).unwrap_or_default(),
            ..FailureContext::default()
        }
    }
}
