//! The threads that were asked to stop and have not ended.

use super::Thread;
use super::tree::{self, Role};
use std::time::{Duration, Instant};

/// A thread that was asked to stop and has not ended.
pub(crate) struct Asked {
    pub(crate) thread: Thread,
    pub(crate) when: Instant,
    /// Its own, if the thread has one.
    pub(crate) patience: Option<Duration>,
}

/// The threads of the tree that were asked and have not ended; parents come before their children.
/// Not recursive: trees may be deeper than a stack.
pub(crate) fn not_ended() -> Vec<Asked> {
    let (mut found, mut next) = (Vec::new(), tree::roots());
    while let Some(node) = next.pop() {
        // All below it have ended, too.
        if node.stopped.is_go() {
            continue;
        }
        next.extend(node.children());
        if node.settings.role != Role::Unregistered
            && let Some(reason) = node.please_stop.reason()
        {
            found.push(Asked { when: reason.when(), patience: node.settings.patience, thread: Thread(node) });
        }
    }
    found
}
