//! Lists the threads that were asked to stop and have not ended. The runtime reports them.

use super::handle::Thread;
use super::policy::Role;
use super::roots::roots;
use super::tree::walk;
use std::time::{Duration, Instant};

/// A thread that was asked to stop and has not ended.
pub(crate) struct Asked {
    pub(crate) thread: Thread,
    pub(crate) when: Instant,
    /// Its own, if the thread has one.
    pub(crate) patience: Option<Duration>,
}

/// The threads of the tree that were asked and have not ended; parents come before their children.
/// Called by each look of the stop watch of the runtime.
pub(crate) fn not_ended() -> Vec<Asked> {
    let mut found = Vec::new();
    walk(roots(), |node| {
        // If it has stopped, all below it have, too.
        if node.stopped.is_go() {
            return Vec::new();
        }
        // No thread waits for the end of a thread that is lent.
        if node.settings.role != Role::Unregistered
            && !node.settings.is_lent
            && let Some(reason) = node.please_stop.reason()
        {
            let (when, patience) = (reason.when(), node.settings.patience);
            found.push(Asked { when, patience, thread: Thread(node.clone()) });
        }
        node.children_by_age()
    });
    found
}
