//! Threads that somebody else spawned.

use super::tree::{self, Inside, Node, Role};
use super::{Failure, OnChildFailure, StopOrder, Thread, panic, stop};
use std::marker::PhantomData;
use std::sync::Arc;

/// The calling thread, which somebody else spawned, is in the tree while this lives. See [`register`].
pub struct Registered {
    node: Arc<Node>,
    _inside: Inside,
    /// What it says is true of one thread only.
    _not_send: PhantomData<*const ()>,
}

/// Brings the calling thread into the tree, below the thread that it is known as so far (`main`, if it is not known), until
/// the guard drops: it gets a path, a `please_stop`, a place in the profile; its children are stopped and joined when the
/// guard drops. Its parent asks it to stop and waits for the guard to drop, so it should look at its `please_stop`.
///
/// For threads of other libraries: a callback, a pool's start hook.
///
/// ```
/// std::thread::spawn(|| {
///     let registered = selvedge::register("callback");
///     assert_eq!(registered.thread().path(), "main/callback");
/// })
/// .join()
/// .unwrap();
/// ```
///
/// # Panics
/// If the thread that would be its parent has ended: during the destructors of thread-locals.
#[track_caller]
pub fn register(name: impl AsRef<str>) -> Registered {
    panic::install_hook();
    let parent = tree::default_parent();
    let node = match Node::child(&parent, name.as_ref(), Role::User, StopOrder::default(), OnChildFailure::default()) {
        Ok(node) => node,
        Err(error) => panic!("cannot register: {error}"),
    };
    // Nobody joins a guard: what goes wrong below it is its parent's to hear.
    node.handle_dropped(false);
    let inside = tree::become_node(&node);
    Registered { node, _inside: inside, _not_send: PhantomData }
}

impl Registered {
    /// The thread, as the tree knows it now.
    pub fn thread(&self) -> Thread {
        Thread(self.node.clone())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        stop::stop_children(&self.node);
        self.node.finish(Failure::merge(&self.node.path, None, self.node.take_failures()));
    }
}
