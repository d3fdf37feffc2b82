//! The siblings of a failed child, under `OnChildFailure::StopSiblings`: which are asked at the
//! failure, and whether a child that is born later is asked at once.
//!
//! Invariant: the failure is noted, and the present siblings are listed, under the parent's lock. A
//! birth looks for a noted failure under that lock, after it has put the child in. So each sibling
//! is listed, or finds the failure.

use super::{Node, Phase, State};
use std::sync::Arc;

impl Node {
    /// Notes that a child has failed. Returns its siblings, the youngest first. Returns none if
    /// `self` ends: then it asks all of them in its own order.
    pub(crate) fn note_failed_child(&self, failed: u64) -> Vec<Arc<Node>> {
        let mut state = self.state.lock();
        if state.phase != Phase::Alive {
            return Vec::new();
        }
        // Unless the thread that dropped the handle has settled it already.
        if state.children.contains_key(&failed) {
            state.failed.insert(failed);
        }
        state.children.values().rev().filter(|child| child.id != failed).cloned().collect()
    }
}

impl State {
    /// The path of a child of the node at `path` that has failed, if no thread was told of that
    /// failure yet.
    pub(super) fn failed_child(&self, path: &str) -> Option<Arc<str>> {
        let is_child = |below: &str| below.rsplit_once('/').is_some_and(|(above, _)| above == path);
        let present = self.failed.first().and_then(|id| self.children.get(id)).map(|child| child.path.clone());
        present.or_else(|| {
            // A failure from further below came here without a request to the children.
            let mut gone = self.failures.iter().map(|failure| failure.thread_path());
            gone.find(|below| is_child(below)).map(Arc::from)
        })
    }
}
