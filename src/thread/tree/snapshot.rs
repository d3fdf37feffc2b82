//! A copy of the data that a node's lock guards. A reader of the tree must not wait long for that
//! lock: the reader may be looking for the very thread that holds it.

use super::{Node, Phase};
use std::sync::Arc;
use std::time::Duration;

/// What the lock of a node guards, at one moment.
pub(crate) struct Snapshot {
    /// The oldest first.
    pub(crate) children: Vec<Arc<Node>>,
    /// Its own code has ended: it stops its children, or has ended itself.
    pub(crate) is_ending: bool,
    /// Failures that no thread has joined: its own first, then those of children that are gone.
    pub(crate) failures: Vec<String>,
}

impl Node {
    /// `None` if another thread has held the lock for all of `patience`.
    pub(crate) fn try_snapshot(&self, patience: Duration) -> Option<Snapshot> {
        let state = self.state.try_lock_for(patience)?;
        // Texts of ours that were made when it failed: nothing of the user's runs here.
        let failures = state.failure.iter().chain(state.failures.iter());
        let more = state.failures.omitted();
        let more = (more > 0).then(|| format!("and {more} more that failed and were not joined"));
        Some(Snapshot {
            children: state.children.values().cloned().collect(),
            is_ending: state.phase != Phase::Alive,
            failures: failures.map(ToString::to_string).chain(more).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::policy::{Role, SpawnSettings};
    use crate::thread::roots::root;

    #[test]
    fn a_held_lock_delays_no_snapshot() {
        let (node, _) = Node::child(&root(), "looked-at", SpawnSettings::of(Role::User)).unwrap();
        let short = Duration::from_millis(1);
        assert!(node.try_snapshot(short).is_some_and(|seen| seen.children.is_empty() && !seen.is_ending));
        let held = node.state.lock();
        assert!(node.try_snapshot(short).is_none());
        drop(held);
        node.never_started();
        assert!(node.try_snapshot(short).is_some_and(|seen| seen.is_ending));
    }
}
