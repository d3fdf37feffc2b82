//! Registering threads that this crate has not spawned.

use super::current::{living_root, new_child};
use super::tree::{self, CurrentThreadGuard, Node, Role, SpawnSettings};
use super::{Failure, Thread, deadlock, panic, stop};
use crate::error::ignore_panic;
use crate::os;
use crate::signal::{TimerMember, TimerTree, set_timer_tree};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// The calling thread, which this crate has not spawned, is in the tree while this lives. See
/// [`register`].
pub struct Registered(Rc<Registration>);

struct Registration {
    node: Arc<Node>,
    /// `None`: it has ended, or is about to.
    inside: Cell<Option<CurrentThreadGuard>>,
    outer: Option<Rc<Registration>>,
}

thread_local! {
    static INNERMOST: Innermost = const { Innermost(RefCell::new(Weak::new())) };
}

/// The innermost registration of the calling thread. It can be reached until it is dropped, so
/// forever if its guard was leaked. The destructor of the thread-local ends a registration that the
/// thread leaves behind.
struct Innermost(RefCell<Weak<Registration>>);

impl Innermost {
    fn get() -> Option<Rc<Registration>> {
        INNERMOST.try_with(|innermost| innermost.0.borrow().upgrade()).ok().flatten()
    }

    fn set(registration: Weak<Registration>) {
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

/// Brings the calling thread into the tree, below the thread that it is known as so far (`main`, if
/// it is not known), until the guard drops: it gets a path, a `please_stop`, a place in the
/// profile; its children are stopped and joined when the guard drops. Its parent asks it to stop
/// and waits for the guard to drop, so it should look at its `please_stop`.
///
/// For threads of other libraries: a callback, a pool's start hook. A registered thread that
/// registers again is its own child; the outer guard, if it is dropped first, counts until the
/// inner one has been dropped.
///
/// A guard that is leaked (`mem::forget`) counts until its thread ends, or until the body of the
/// thread ends in which it was made. Its children are stopped then too. A thread that ends does not
/// wait for them, but its parent does.
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
/// It works at any time, so a callback may call it: of a thread that is not in the tree yet, which
/// registers while a runtime ends, the parent is the `main` that comes after. That runtime does not
/// wait for the guard.
#[track_caller]
pub fn register(name: impl AsRef<str>) -> Registered {
    match register_below(None, name.as_ref(), SpawnSettings::here()) {
        Ok(registered) => registered,
        Err(_) => unreachable!("without a named parent there is always one to be had"),
    }
}

pub(super) fn register_below(parent: Option<&Thread>, name: &str, settings: SpawnSettings) -> io::Result<Registered> {
    panic::install_hook();
    let (node, _) = new_child(parent, name, settings)?;
    // A guard is never joined: failures below it go to its parent.
    node.handle_dropped(false);
    let end_is_seen = INNERMOST.try_with(|_| ()).is_ok();
    let inside = Cell::new(Some(tree::become_registered(&node, end_is_seen)));
    let registration = Rc::new(Registration { node, inside, outer: Innermost::get() });
    Innermost::set(Rc::downgrade(&registration));
    Ok(Registered(registration))
}

/// Lets the threads of the timer, which `signal` starts, come into the tree.
pub(super) fn serve_timer() {
    let join = |name: &str, on_stop: fn()| {
        let root = living_root()?;
        let registered = register_below(Some(&Thread(root.clone())), name, SpawnSettings::of(Role::Runtime)).ok()?;
        let please_stop = registered.thread().please_stop().clone();
        please_stop.on_go(on_stop);
        // It is one of ours: what it may wake, the search for deadlocks sees.
        let guard = Box::new((registered, deadlock::count_body()));
        Some(TimerMember { tree: root.id, is_asked: Box::new(move || please_stop.is_go()), guard })
    };
    set_timer_tree(TimerTree { living: || living_root().map(|root| root.id), join });
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

impl Registered {
    /// The thread, as the tree knows it now.
    pub fn thread(&self) -> Thread {
        Thread(self.0.node.clone())
    }
}

impl Registration {
    /// Does nothing the second time.
    fn end(&self) {
        let Some(inside) = self.inside.take() else { return };
        stop_and_finish(&self.node);
        self.step_out();
        drop(inside);
    }

    fn step_out(&self) {
        Innermost::set(self.outer.as_ref().map_or_else(Weak::new, Rc::downgrade));
    }

    /// The OS thread ends, or calls `exit`, while the guard is still there. Does not wait for the
    /// children: they may need the end of this thread, or of the process.
    fn leave_behind(&self) {
        let Some(inside) = self.inside.take() else { return };
        self.node.leave_os_thread(false);
        drop(inside);
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
