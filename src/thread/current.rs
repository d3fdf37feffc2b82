//! Which node of the tree the calling thread is: a thread-local, and the guard that sets it. Knows
//! no roots; `roots.rs` finds the node of a thread that has none yet.

use super::policy::Role;
use super::tree::Node;
use crate::error::ignore_panic;
use crate::os;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

thread_local! {
    /// Without a destructor, whose registration would cost each thread that is spawned a lock and
    /// an allocation: a body takes its node out again by `CurrentThreadGuard`, and where there is
    /// no body, `LEAVING` does.
    static CURRENT: ManuallyDrop<RefCell<Option<Arc<Node>>>> = const { ManuallyDrop::new(RefCell::new(None)) };
    static LEAVING: Leaving = const { Leaving(RefCell::new(Vec::new())) };
}

/// The nodes of an OS thread that runs no body of the tree: `main`, or an unregistered thread. They
/// end with the thread.
struct Leaving(RefCell<Vec<Arc<Node>>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        drop(set_current(None));
        if os::is_main_thread() {
            // The process ends, and `main` is what it was to the last.
            return;
        }
        for node in self.0.take() {
            node.leave_os_thread(false);
            if node.settings.role == Role::Unregistered && node.close() {
                ignore_panic(|| node.finish(None));
            }
        }
    }
}

/// Starts `node` on the calling OS thread, whose end is the end of `node` too. Returns `true` for
/// the call that started it.
pub(super) fn start_until_leaving(node: &Arc<Node>) -> bool {
    // Not while the thread-locals are being destroyed.
    let end_is_seen = LEAVING.try_with(|_| ()).is_ok();
    let is_first = node.start(end_is_seen);
    if is_first {
        let keep = |leaving: &Leaving| {
            let mut nodes = leaving.0.borrow_mut();
            nodes.retain(|known| known.ended.get().is_none());
            nodes.push(node.clone());
        };
        let _ = LEAVING.try_with(keep);
    }
    is_first
}

/// Returns `true` if the calling thread is `node`.
pub(super) fn is_current(node: &Arc<Node>) -> bool {
    CURRENT.try_with(|current| current.borrow().as_ref().is_some_and(|thread| thread.id == node.id)).unwrap_or(false)
}

/// From now on the calling thread is `thread`. Returns the node that it was before. The caller
/// drops that node, since its drop may run the user's code, which must not happen during the borrow
/// here.
pub(super) fn set_current(thread: Option<Arc<Node>>) -> Option<Arc<Node>> {
    // While thread-locals are destroyed, an unregistered thread is forgotten.
    let thread = thread.filter(|thread| match thread.settings.role {
        Role::Root | Role::Unregistered => LEAVING.try_with(|_| ()).is_ok(),
        Role::User | Role::Runtime => true,
    });
    CURRENT.try_with(|current| current.replace(thread)).ok().flatten()
}

/// Returns `true` if the calling thread is in the tree, and not an unregistered thread.
pub(crate) fn is_in_tree() -> bool {
    known().is_some_and(|node| node.settings.role != Role::Unregistered)
}

/// The same, and its node has not ended. No lock, no counter of another thread is touched.
pub(super) fn lives_in_tree() -> bool {
    let lives = |node: &Arc<Node>| node.settings.role != Role::Unregistered && !node.stopped.is_go();
    CURRENT.try_with(|current| current.borrow().as_ref().is_some_and(lives)).unwrap_or(false)
}

/// What the calling thread is known as; `None` if the tree has not met it, or has forgotten it
/// because its thread-locals are destroyed.
pub(super) fn known() -> Option<Arc<Node>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Makes the calling thread, which runs the body of `node`, `node` until the guard drops.
pub(crate) fn become_node(node: &Arc<Node>) -> CurrentThreadGuard {
    become_registered(node, true)
}

/// Makes the calling thread `node` until the guard drops. `end_is_seen`: see [`Node::start`].
pub(crate) fn become_registered(node: &Arc<Node>, end_is_seen: bool) -> CurrentThreadGuard {
    let guard = CurrentThreadGuard::enter(node);
    node.start(end_is_seen);
    guard
}

/// While it lives, the calling thread is a certain node; afterwards it is what it was before.
pub(crate) struct CurrentThreadGuard {
    outer: Option<Arc<Node>>,
    _publishing: crate::wait::Before,
}

impl CurrentThreadGuard {
    /// From now on the calling thread is `node`, and publishes its waits there.
    pub(super) fn enter(node: &Arc<Node>) -> CurrentThreadGuard {
        let outer = set_current(Some(node.clone()));
        CurrentThreadGuard { outer, _publishing: crate::wait::become_thread(node.path.clone(), node.waits.clone()) }
    }
}

impl Drop for CurrentThreadGuard {
    fn drop(&mut self) {
        drop(set_current(self.outer.take()));
    }
}
