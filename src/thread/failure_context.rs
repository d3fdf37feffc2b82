//! What else is known of a thread at the moment when it fails.

use super::tree::Node;
use crate::signal::Reason;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

/// Of a thread deeper in the tree than this, the nearest are shown.
const MOST_SITES: usize = 32;

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
            context: super::mdc::inherit(),
            records: RECORDS.get().map(|records| records()).unwrap_or_default(),
            ..FailureContext::default()
        }
    }

    pub(super) fn of_thread(&mut self, node: &Node) {
        self.stop = node.please_stop.reason();
        let mut next = Some(node);
        while let Some(node) = next
            && self.sites.len() < MOST_SITES
        {
            if let (Some(parent), Some(at)) = (&node.parent, node.settings.spawned_at) {
                self.sites.push((parent.path.clone(), at));
            }
            next = node.parent.as_deref();
        }
    }
}
