//! A node of the tree on an OS thread that this crate has not made: from its registration until the
//! guard drops, the body ends in which it was made, or the thread ends.

use super::current::{CurrentThreadGuard, become_registered};
use super::failure::Failure;
use super::stop;
use super::tree::Node;
use crate::error::ignore_panic;
use crate::os;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// The calling thread, on an OS thread that this crate has not made, is in the tree while this
/// lives.
pub(super) struct Registration {
    node: Arc<Node>,
    /// `None`: it has ended, or is about to.
    guard: Cell<Option<CurrentThreadGuard>>,
    outer: Option<Rc<Registration>>,
}

thread_local! {
    static INNERMOST: Innermost = const { Innermost(RefCell::new(Weak::new())) };
    /// The calling thread has used `INNERMOST`, whose destructor costs each thread that uses it. Each
    /// body of the tree looks for registrations at its end, and hardly any has one.
    static HAS_REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The innermost registration of the calling thread. It can be reached until it is dropped, so
/// forever if its guard was leaked. The destructor of the thread-local ends a registration that the
/// thread leaves behind.
struct Innermost(RefCell<Weak<Registration>>);

impl Innermost {
    fn get() -> Option<Rc<Registration>> {
        if !HAS_REGISTERED.get() {
            return None;
        }
        INNERMOST.try_with(|innermost| innermost.0.borrow().upgrade()).ok().flatten()
    }

    fn set(registration: Weak<Registration>) {
        HAS_REGISTERED.set(true);
        let _ = INNERMOST.try_with(|innermost| innermost.0.replace(registration));
    }
}

impl Drop for Innermost {
    fn drop(&mut self) {
        if os::is_main_thread() {
            // The process ends, and nothing in it is to be told apart any more.
            return;
        }
        let mut next = self.0.get_mut().upgrade();
        while let Some(registration) = next {
            ignore_panic(|| registration.leave_behind());
            next = registration.outer.clone();
        }
    }
}

/// Ends the registrations of the calling thread below `node`, whose own code has ended: their
/// guards were leaked, or are in thread-locals. `node` would wait for them without end.
pub(crate) fn end_those_left(node: &Node) {
    while let Some(registration) = Innermost::get().filter(|registration| registration.node.is_below(node)) {
        registration.end();
        // Also if it had ended before.
        registration.step_out();
    }
}

impl Registration {
    /// The calling thread is `node`, a new one, until the registration drops.
    pub(super) fn begin(node: Arc<Node>) -> Rc<Registration> {
        // It is never joined by a handle: failures below it go to its parent.
        node.handle_dropped(false);
        let end_is_seen = INNERMOST.try_with(|_| ()).is_ok();
        let guard = Cell::new(Some(become_registered(&node, end_is_seen)));
        let registration = Rc::new(Registration { node, guard, outer: Innermost::get() });
        Innermost::set(Rc::downgrade(&registration));
        registration
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Does nothing the second time.
    fn end(&self) {
        let Some(guard) = self.guard.take() else { return };
        stop_and_finish(&self.node);
        self.step_out();
        drop(guard);
    }

    fn step_out(&self) {
        Innermost::set(self.outer.as_ref().map_or_else(Weak::new, Rc::downgrade));
    }

    /// The OS thread ends, or calls `exit`, while the guard is still there. Does not wait for the
    /// children: they may need the end of this thread, or of the process.
    fn leave_behind(&self) {
        let Some(guard) = self.guard.take() else { return };
        self.node.leave_os_thread(false);
        drop(guard);
        let node = self.node.clone();
        if node.children().is_empty() {
            return stop_and_finish(&node);
        }
        let waiting = std::thread::Builder::new().name(format!("{}/leaver", node.path));
        if waiting.spawn(move || stop_and_finish(&node)).is_err() {
            stop_and_finish(&self.node);
        }
    }
}

fn stop_and_finish(node: &Arc<Node>) {
    stop::stop_children(node, None);
    node.finish(Failure::merge(node, None, node.take_failures()));
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}
