//! A node of the tree on an OS thread that this crate has not made: from its registration until the
//! guard drops, the body ends in which it was made, or the thread ends.

use super::current::{CurrentThreadGuard, become_registered};
use super::failure::Failure;
use super::panic_flags::count_registration;
use super::seen::{self, Unwinding};
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
    /// It has begun in a destructor, while a panic was unwinding the thread.
    began_in_panic: bool,
    /// Panics of the thread that were over when it began.
    before: seen::Before,
}

thread_local! {
    static INNERMOST: Innermost =
        const { Innermost { innermost: RefCell::new(Weak::new()), kept: RefCell::new(None) } };
    /// The calling thread has used `INNERMOST`, whose destructor costs each thread that uses it.
    /// Each body of the tree looks for registrations at its end, and hardly any has one.
    static HAS_REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The innermost registration of the calling thread. It can be reached until it is dropped, so
/// forever if its guard was leaked. The destructor of the thread-local ends a registration that the
/// thread leaves behind.
struct Innermost {
    innermost: RefCell<Weak<Registration>>,
    /// A registration that lasts until the thread ends.
    kept: RefCell<Option<Rc<Registration>>>,
}

impl Innermost {
    fn get() -> Option<Rc<Registration>> {
        if !HAS_REGISTERED.get() {
            return None;
        }
        INNERMOST.try_with(|own| own.innermost.borrow().upgrade()).ok().flatten()
    }

    fn set(registration: Weak<Registration>) {
        HAS_REGISTERED.set(true);
        let _ = INNERMOST.try_with(|own| own.innermost.replace(registration));
    }

    /// Keeps the registration until the thread ends. Returns the registration before it.
    fn keep(registration: Option<Rc<Registration>>) -> Option<Rc<Registration>> {
        INNERMOST.try_with(|own| own.kept.replace(registration)).ok().flatten()
    }
}

impl Drop for Innermost {
    fn drop(&mut self) {
        if os::is_main_thread() {
            // The process ends, and nothing in it is to be told apart any more.
            std::mem::forget(self.kept.take());
            return;
        }
        let mut next = self.innermost.get_mut().upgrade();
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
        count_registration(true);
        let began_in_panic = std::thread::panicking();
        let before = seen::Before::now();
        let registration = Rc::new(Registration { node, guard, outer: Innermost::get(), began_in_panic, before });
        Innermost::set(Rc::downgrade(&registration));
        registration
    }

    /// The calling thread is a new node, which `make` gives, until it ends. Does nothing where the
    /// end could not be seen: while the thread-locals are destroyed.
    pub(super) fn begin_for_good(make: impl FnOnce() -> Option<Arc<Node>>) {
        if INNERMOST.try_with(|_| ()).is_err() {
            return;
        }
        // A registration whose parent has let go of it ends first. The thread is then again what it
        // was before.
        drop(Innermost::keep(None));
        if let Some(node) = make() {
            drop(Innermost::keep(Some(Registration::begin(node))));
        }
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Does nothing the second time.
    fn end(&self) {
        let Some(guard) = self.guard.take() else { return };
        count_registration(false);
        // Before the children are stopped: targets of their signals run then, and may panic.
        let panics = !self.began_in_panic && std::thread::panicking();
        self.finish(panics.then(|| seen::unwinding(&self.before)));
        self.step_out();
        drop(guard);
    }

    fn finish(&self, panic: Option<Unwinding>) {
        if self.node.settings.is_lent && !self.node.claim_end() {
            // Its parent has let go of it.
            self.node.leave_os_thread(false);
        } else {
            stop_and_finish(&self.node, panic);
        }
    }

    fn step_out(&self) {
        Innermost::set(self.outer.as_ref().map_or_else(Weak::new, Rc::downgrade));
    }

    /// The OS thread ends, or calls `exit`, while the guard is still there. Does not wait for the
    /// children: they may need the end of this thread, or of the process.
    fn leave_behind(&self) {
        let Some(guard) = self.guard.take() else { return };
        count_registration(false);
        self.node.leave_os_thread(false);
        drop(guard);
        let node = self.node.clone();
        if node.settings.is_lent && !node.claim_end() {
            return;
        }
        if node.children().is_empty() {
            return stop_and_finish(&node, None);
        }
        let waiting = std::thread::Builder::new().name(format!("{}/leaver", node.path));
        if waiting.spawn(move || stop_and_finish(&node, None)).is_err() {
            stop_and_finish(&self.node, None);
        }
    }
}

/// `panic`: it unwinds the guard.
fn stop_and_finish(node: &Arc<Node>, panic: Option<Unwinding>) {
    let is_unwinding = panic.is_some();
    let finish = || {
        stop::stop_children(node, None);
        let children = node.take_failures();
        let own = panic.and_then(|panic| Failure::unwinding(node, panic, &children));
        node.finish(Failure::merge(node, own, children));
    };
    if is_unwinding { seen::set_apart(finish) } else { finish() }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}
