//! The one walk over trees: iterative, since trees may be deeper than a stack. Also the drop of a
//! chain of nodes.

use super::Node;
use std::sync::Arc;

/// Calls `visit` with each of `roots` and with each node below them, parents before their
/// children. `visit` returns the children that are to be visited, in the order of the visits.
pub(crate) fn walk<N>(roots: Vec<N>, mut visit: impl FnMut(&N) -> Vec<N>) {
    let mut next = roots;
    next.reverse();
    while let Some(node) = next.pop() {
        let children = visit(&node);
        next.extend(children.into_iter().rev());
    }
}

impl Node {
    /// Its children, the oldest first.
    pub(crate) fn children_by_age(&self) -> Vec<Arc<Node>> {
        self.state.lock().children.values().cloned().collect()
    }
}

impl Drop for Node {
    /// Dropping the last handle of a leaf drops its parent, if that has no other, and so on up.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.take();
        }
    }
}
