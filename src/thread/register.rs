//! Threads that somebody else spawned.

use super::current::{living_root, new_child};
use super::tree::{self, Inside, Node, Role, Terms};
use super::{Failure, Thread, deadlock, panic, stop};
use crate::signal::{TimerMember, TimerTree, set_timer_tree};
use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// The calling thread, which somebody else spawned, is in the tree while this lives. See [`register`].
pub struct Registered(Rc<Registration>);

struct Registration {
    node: Arc<Node>,
    /// Let go after this one has ended.
    _inside: Inside,
    outer: Option<Rc<Registration>>,
}

thread_local! {
    /// The innermost of the calling thread.
    static INNERMOST: RefCell<Weak<Registration>> = const { RefCell::new(Weak::new()) };
}

/// Brings the calling thread into the tree, below the thread that it is known as so far (`main`, if it is not known), until
/// the guard drops: it gets a path, a `please_stop`, a place in the profile; its children are stopped and joined when the
/// guard drops. Its parent asks it to stop and waits for the guard to drop, so it should look at its `please_stop`.
///
/// For threads of other libraries: a callback, a pool's start hook. A registered thread that registers again is its own
/// child; the outer guard, if it is dropped first, counts until the inner one has been dropped.
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
/// It works at any time, so a callback may call it: of a thread that is not in the tree yet, which registers while a runtime
/// ends, the parent is the `main` that comes after. That runtime does not wait for the guard.
#[track_caller]
pub fn register(name: impl AsRef<str>) -> Registered {
    match register_below(None, name.as_ref(), Terms::here()) {
        Ok(registered) => registered,
        Err(_) => unreachable!("without a named parent there is always one to be had"),
    }
}

pub(super) fn register_below(parent: Option<&Thread>, name: &str, terms: Terms) -> io::Result<Registered> {
    panic::install_hook();
    let (node, _) = new_child(parent, name, terms)?;
    // Nobody joins a guard: what goes wrong below it is its parent's to hear.
    node.handle_dropped(false);
    let inside = tree::become_node(&node);
    let outer = INNERMOST.try_with(|innermost| innermost.borrow().upgrade()).ok().flatten();
    let registration = Rc::new(Registration { node, _inside: inside, outer });
    let _ = INNERMOST.try_with(|innermost| innermost.replace(Rc::downgrade(&registration)));
    Ok(Registered(registration))
}

/// Lets the threads of the timer, which `signal` starts, come into the tree.
pub(super) fn serve_timer() {
    let join = |name: &str| {
        let root = living_root()?;
        let registered = register_below(Some(&Thread(root.clone())), name, Terms::of(Role::Runtime)).ok()?;
        let please_stop = registered.thread().please_stop().clone();
        // It is one of ours: what it may wake, the search for deadlocks sees.
        let guard = Box::new((registered, deadlock::count_body()));
        Some(TimerMember { tree: root.id, please_stop, guard })
    };
    set_timer_tree(TimerTree { living: || living_root().map(|root| root.id), join });
}

impl Registered {
    /// The thread, as the tree knows it now.
    pub fn thread(&self) -> Thread {
        Thread(self.0.node.clone())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        stop::stop_children(&self.node, None);
        self.node.finish(Failure::merge(&self.node.path, None, self.node.take_failures()));
        let outer = self.outer.as_ref().map_or_else(Weak::new, Rc::downgrade);
        let _ = INNERMOST.try_with(|innermost| innermost.replace(outer));
    }
}
