//! Which thread of the tree the calling one is, and where the tree begins.

use super::Thread;
use super::tree::{Node, Role, Terms, tidy};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

static ROOT: Mutex<Option<Arc<Node>>> = Mutex::new(None);

/// `main`. After one has ended (a runtime was shut down) the next call makes a new one.
pub(crate) fn root() -> Arc<Node> {
    let mut root = ROOT.lock();
    match &*root {
        Some(node) if !node.stopped.is_go() => node.clone(),
        _ => {
            super::register::serve_timer();
            let node = Node::new("main", "main", None, Terms::of(Role::Root));
            let ended = root.replace(node.clone());
            drop(root);
            // Perhaps its last handle, and targets go with it whose drop is the user's code: with no lock held.
            drop(ended);
            node
        }
    }
}

/// `main`, if there is one that has not ended.
pub(super) fn living_root() -> Option<Arc<Node>> {
    ROOT.lock().as_ref().filter(|node| !node.stopped.is_go()).cloned()
}

thread_local! {
    /// Without a destructor, whose registration would cost each thread that is spawned a lock and an allocation: a body takes
    /// its node out again by `Inside`, and where there is no body, `LEAVING` does.
    static CURRENT: ManuallyDrop<RefCell<Option<Thread>>> = const { ManuallyDrop::new(RefCell::new(None)) };
    static LEAVING: Leaving = const { Leaving };
}

/// The calling thread ends, of which the tree knows no body.
struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        drop(set_current(None));
    }
}

/// The calling thread's node.
pub(crate) fn current() -> Arc<Node> {
    let known = CURRENT.try_with(|current| current.borrow().as_ref().map(|thread| thread.0.clone())).ok().flatten();
    match known {
        // An ended root: the main thread after a shutdown, before the next start.
        Some(node) if node.terms.role != Role::Root || !node.stopped.is_go() => node,
        _ => unknown(),
    }
}

/// A thread that the tree has not met: the process's main thread, or somebody else's.
fn unknown() -> Arc<Node> {
    let this = std::thread::current();
    let node = if this.name() == Some("main") {
        let node = root();
        // For as long as the process lives: main is main.
        std::mem::forget(crate::wait::become_thread(node.path.clone(), node.waits.clone()));
        node.start();
        node
    } else {
        let name = this.name().map_or_else(|| format!("{:?}", this.id()), str::to_owned);
        let name = tidy(&name);
        let path = format!("other/{name}");
        let node = Node::new(&name, &path, None, Terms::of(Role::Foreign));
        node.start();
        node
    };
    drop(set_current(Some(Thread(node.clone()))));
    node
}

/// Returns who it was. Whoever drops that may run the user's code, so not while it is borrowed here.
fn set_current(thread: Option<Thread>) -> Option<Thread> {
    // Among the destructors of its thread-locals, one of somebody else's is nobody any more.
    let thread = thread.filter(|thread| match thread.0.terms.role {
        Role::Root | Role::Foreign => LEAVING.try_with(|_| ()).is_ok(),
        Role::User | Role::Runtime => true,
    });
    CURRENT.try_with(|current| current.replace(thread)).ok().flatten()
}

/// The node under which the calling thread's children belong.
pub(crate) fn default_parent() -> Arc<Node> {
    adoptive(&current())
}

/// `node` if it is in the tree, else `main`.
pub(crate) fn adoptive(node: &Arc<Node>) -> Arc<Node> {
    if node.terms.role == Role::Foreign { root() } else { node.clone() }
}

/// Whether the calling thread runs a body of the tree (and not, say, a test's or a library's own).
pub(crate) fn is_inside() -> bool {
    let role = CURRENT.try_with(|current| current.borrow().as_ref().map(|thread| thread.0.terms.role)).ok().flatten();
    role.is_some_and(|role| role != Role::Foreign)
}

/// Makes the calling thread `node` until the guard drops.
pub(crate) fn become_node(node: &Arc<Node>) -> Inside {
    let outer = set_current(Some(Thread(node.clone())));
    let inside = Inside { outer, _publishing: crate::wait::become_thread(node.path.clone(), node.waits.clone()) };
    node.start();
    inside
}

pub(crate) struct Inside {
    outer: Option<Thread>,
    _publishing: crate::wait::Before,
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(set_current(self.outer.take()));
    }
}
