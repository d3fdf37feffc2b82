//! Attaching targets to the leaves of a signal, and detaching them; and what a signal that is
//! dropped takes with it. The only file that tells the timer which Tills it must fire.

use super::core::{Core, Kind};
use super::targets::Attached;
use super::{timer, walk};
use std::sync::Arc;

impl Core {
    /// Puts a target in, unless the signal has fired; then the caller must look again.
    pub(super) fn attach(self: &Arc<Core>, target: Arc<dyn Attached>, leaf: usize) -> Option<u64> {
        let mut slow = self.slow.lock();
        if slow.fired {
            return None;
        }
        let id = slow.next_target;
        slow.next_target += 1;
        slow.targets.insert(id, (target, leaf));
        let first = slow.targets.len() == 1;
        slow.timed = true;
        drop(slow);
        if first && let Kind::Till(at) = self.kind {
            timer::add(at, self);
        }
        Some(id)
    }

    pub(super) fn detach(self: &Arc<Core>, id: u64) {
        let mut slow = self.slow.lock();
        let removed = slow.targets.remove(&id);
        let last = removed.is_some() && slow.targets.is_empty();
        drop(slow);
        if last && let Kind::Till(at) = self.kind {
            timer::remove(at, Arc::as_ptr(self));
            // Another thread may have attached a target between the unlock and the removal.
            if !self.slow.lock().targets.is_empty() {
                timer::add(at, self);
            }
        }
        // The target is dropped here, after all locks: its drop may be the user's code.
        drop(removed);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(link) = self.link.get() {
            link.unlink();
        }
        if let Kind::Till(at) = self.kind
            && self.slow.get_mut().timed
        {
            timer::remove(at, self);
        }
        // A plain signal with targets has not gone, and now it never goes. A target that waits for this
        // signal and for others must not stay with the others.
        if matches!(self.kind, Kind::Plain(_)) {
            for (target, leaf) in std::mem::take(&mut self.slow.get_mut().targets).into_values() {
                target.leaf_lost(leaf);
            }
        }
        walk::drop_parts(self);
    }
}
