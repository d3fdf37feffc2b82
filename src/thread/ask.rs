//! Asking a subtree to stop.

use super::StopOrder;
use super::tree::{Node, Role};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    /// While the calling thread asks a subtree: whom else to ask.
    static ASKING: RefCell<Option<Vec<Arc<Node>>>> = const { RefCell::new(None) };
}

impl Node {
    /// Asks it to stop, and all below it, the youngest first. A `OneByOne` parent asks its children itself, when it ends.
    ///
    /// Not recursive, and `pass_on` from within is not either: trees may be deeper than a stack.
    pub(crate) fn ask(self: &Arc<Node>) {
        let outer = ASKING.try_with(|asking| asking.replace(Some(Vec::new()))).ok().flatten();
        let mut next = vec![self.clone()];
        while let Some(node) = next.pop() {
            node.please_stop.go();
            let passed_on = ASKING.try_with(|asking| asking.borrow_mut().as_mut().map(std::mem::take));
            next.extend(passed_on.ok().flatten().unwrap_or_default());
            if node.stop_order == StopOrder::Together {
                // The youngest last, so that it comes off first.
                next.extend(node.children().into_iter().rev().filter(|child| child.role == Role::User));
            }
        }
        let _ = ASKING.try_with(|asking| asking.replace(outer));
    }

    /// `ask`, from a target of another's `please_stop`.
    pub(crate) fn pass_on(self: &Arc<Node>) {
        let later = ASKING.try_with(|asking| match &mut *asking.borrow_mut() {
            Some(asking) => {
                asking.push(self.clone());
                true
            }
            None => false,
        });
        if later != Ok(true) {
            self.ask();
        }
    }
}
