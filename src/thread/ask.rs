//! Asking a subtree to stop.

use super::StopOrder;
use super::stop_clock;
use super::tree::{Node, Role};
use crate::signal::{BatchWake, Reason};
use std::cell::RefCell;
use std::sync::Arc;

/// Threads to be asked, and why.
type Asked = Vec<(Arc<Node>, Reason)>;

thread_local! {
    /// While the calling thread asks a subtree: the nodes that are still to be asked.
    static ASKING: RefCell<Option<Asked>> = const { RefCell::new(None) };
}

/// Asks these to stop, in this order, and each time all below it, the youngest first. A `OneByOne`
/// parent asks its children itself, when it ends.
///
/// Not recursive, and `forward_stop` from within is not either: trees may be deeper than a stack.
pub(super) fn request_stops(nodes: &[Arc<Node>], reason: &Reason) {
    let outer = ASKING.try_with(|asking| asking.replace(Some(Vec::new()))).ok().flatten();
    let mut next: Asked = nodes.iter().rev().map(|node| (node.clone(), reason.clone())).collect();
    let mut asked = BatchWake::default();
    while let Some((node, reason)) = next.pop() {
        asked.go_for(&node.please_stop, &reason);
        if node.settings.patience.is_some() {
            // It may be shorter than the patience that the clock was set by.
            stop_clock::stop_requested(node.settings.patience);
        }
        let passed_on = ASKING.try_with(|asking| asking.borrow_mut().as_mut().map(std::mem::take));
        next.extend(passed_on.ok().flatten().unwrap_or_default());
        if node.settings.stop_order == StopOrder::Together {
            // The youngest last, so that it comes off first.
            let users = node.children().into_iter().rev().filter(|child| child.settings.role == Role::User);
            next.extend(users.map(|child| (child, reason.clone())));
        }
    }
    let _ = ASKING.try_with(|asking| asking.replace(outer));
}

impl Node {
    /// Asks it to stop, and all below it.
    pub(crate) fn request_stop(self: &Arc<Node>, reason: &Reason) {
        request_stops(std::slice::from_ref(self), reason);
    }

    /// `ask`, from a target of another's `please_stop`.
    pub(crate) fn forward_stop(self: &Arc<Node>, reason: &Reason) {
        let later = ASKING.try_with(|asking| match &mut *asking.borrow_mut() {
            Some(asking) => {
                asking.push((self.clone(), reason.clone()));
                true
            }
            None => false,
        });
        if later != Ok(true) {
            self.request_stop(reason);
        }
    }
}
