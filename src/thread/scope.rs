//! Scopes: threads that may borrow, because they end before the scope does. The standard library's
//! scope guards the borrows, the tree the stop and the failures.

use super::failure::Failure;
use super::join::JoinHandle;
use super::kept_error::boxed;
use super::policy::SpawnSettings;
use super::result_slot::Slot;
use super::roots::{default_parent, new_child};
use super::spawn::body;
use super::tree::Node;
use super::{forked, mdc, stop};
use crate::model::locks::Mutex;
use crate::signal::{Reason, Signal};
use std::error::Error;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Where threads that borrow are spawned; made by [`scope`]. Clones spawn into the same scope, from
/// threads in it too.
///
/// ```
/// let numbers = [3, 1, 2];
/// let sum = selvedge::scope(|s| {
///     let inner = s.clone();
///     let outer = s.spawn("outer", move |_please_stop| {
///         inner.spawn("inner", move |_please_stop| numbers.iter().sum::<i32>()).join().unwrap()
///     });
///     outer.join().unwrap()
/// });
/// assert_eq!(sum, 6);
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    std: &'scope std::thread::Scope<'scope, 'env>,
    owner: Arc<Node>,
    at: &'static Location<'static>,
    spawned: Arc<Mutex<Spawned>>,
}

#[derive(Default)]
struct Spawned {
    /// In the order of their start. The scope's threads that are still children of the owner are
    /// among them.
    nodes: Vec<Arc<Node>>,
    ending: bool,
}

/// Runs `f`, whose threads may borrow what lives longer than the scope. They are children of the
/// calling thread and the same rules hold: when `f` ends, by return or by panic, the threads that
/// were not joined are asked to stop, and joined, the youngest first. So join a thread whose work
/// must be completed.
///
/// A failure that no thread joined becomes part of the calling thread's own.
///
/// # Blocking
/// After `f`, until all threads of the scope have ended. They are asked to stop; no other signal
/// ends that wait, since they borrow.
///
/// # Panics
/// If `f` panics: with the same payload, once the threads have ended.
///
/// A child that is forked within the scope cannot leave it while the scope has threads of the
/// parent process: nothing ends the wait for them. It says so on stderr and exits with 1. Let it
/// end within the scope.
///
/// ```
/// let text = String::from("warp and weft");
/// let (letters, words) = selvedge::scope(|s| {
///     let letters = s.spawn("letters", |_| text.chars().filter(|c| c.is_alphabetic()).count());
///     let words = s.spawn("words", |_| text.split(' ').count());
///     (letters.join().unwrap(), words.join().unwrap())
/// });
/// assert_eq!((letters, words), (11, 3));
/// ```
#[track_caller]
pub fn scope<'env, F, R>(f: F) -> R
where
    F: for<'scope> FnOnce(&Scope<'scope, 'env>) -> R,
{
    let (owner, at) = (default_parent(), Location::caller());
    let _lending = crate::wait::lend();
    std::thread::scope(|std| {
        let scope = Scope { std, owner, at, spawned: Arc::default() };
        let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
        if scope.has_threads_of_parent_process() {
            forked::cannot_leave_scope(at);
        }
        scope.stop();
        // The payload that the hook has seen goes on as it came.
        result.unwrap_or_else(|payload| resume_unwind(payload))
    })
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// As [`spawn`](crate::spawn), for a function that may borrow.
    ///
    /// # Panics
    /// If the OS gives no thread.
    #[track_caller]
    pub fn spawn<T, F>(&self, name: impl AsRef<str>, f: F) -> JoinHandle<T>
    where
        F: FnOnce(&Signal) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.start(name.as_ref(), move |node| Ok(f(&node.please_stop)))
    }

    /// As [`spawn_fallible`](crate::spawn_fallible), for a function that may borrow.
    ///
    /// # Panics
    /// If the OS gives no thread.
    #[track_caller]
    pub fn spawn_fallible<T, E, F>(&self, name: impl AsRef<str>, f: F) -> JoinHandle<T>
    where
        F: FnOnce(&Signal) -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.start(name.as_ref(), move |node| f(&node.please_stop).map_err(|error| Failure::error(node, boxed(error))))
    }

    #[track_caller]
    fn start<T, F>(&self, name: &str, f: F) -> JoinHandle<T>
    where
        F: FnOnce(&Node) -> Result<T, Failure> + Send + 'scope,
        T: Send + 'scope,
    {
        // An owner that was `main` may have ended, if its scope belongs to a thread that is not in
        // the tree. The scope waits for its threads all the same.
        let child = Node::child(&self.owner, name, SpawnSettings::here())
            .or_else(|_| new_child(None, name, SpawnSettings::here()));
        let (node, path) = match child {
            Ok(child) => child,
            Err(error) => panic!("no thread: {error}"),
        };
        let context = mdc::inherit();
        let slot = Slot::<T>::default();
        let run = {
            let (node, slot) = (node.clone(), slot.clone());
            move || {
                mdc::adopt(context);
                body(node, f, slot);
            }
        };
        let started = node.unless_started();
        if let Err(error) = std::thread::Builder::new().name(path).spawn_scoped(self.std, run) {
            panic!("the system gives no thread for {}: {error}", node.path);
        }
        started();
        self.keep(&node);
        JoinHandle::new(node, slot)
    }

    fn keep(&self, node: &Arc<Node>) {
        let (ending, _gone) = {
            let mut spawned = self.spawned.lock();
            let mut gone = Vec::new();
            if spawned.nodes.len() == spawned.nodes.capacity() {
                // Before it grows: a scope may last as long as the program. Dropped with no lock
                // held, since what goes with a node is the user's.
                let (left, others) = std::mem::take(&mut spawned.nodes).into_iter().partition(|node| node.is_child());
                (spawned.nodes, gone) = (left, others);
            }
            spawned.nodes.push(node.clone());
            (spawned.ending, gone)
        };
        if ending {
            // Born while the others stop, one of which may wait for it.
            node.request_stop(&self.reason());
        }
    }

    /// Returns `true` in a forked child that lacks threads for which std waits.
    fn has_threads_of_parent_process(&self) -> bool {
        /// std waits for a thread that has ended until it has left the last line of its body.
        const LAST_LINE: Duration = Duration::from_millis(100);
        let is_there = |node: &Arc<Node>| node.ended.get().is_none_or(|ended| ended.at.elapsed() < LAST_LINE);
        self.spawned.lock().nodes.iter().any(|node| node.is_inherited() && is_there(node))
    }

    fn reason(&self) -> Reason {
        Reason::of("its scope ended", Some(self.at), self.owner.please_stop.reason())
    }

    /// Ends the scope's threads. A thread of the scope may still spawn into it meanwhile.
    fn stop(&self) {
        loop {
            let mut spawned = {
                let mut spawned = self.spawned.lock();
                spawned.ending = true;
                std::mem::take(&mut spawned.nodes)
            };
            if spawned.is_empty() {
                return;
            }
            spawned.reverse();
            stop::stop_these(&self.owner, spawned, &self.reason());
        }
    }
}

impl Clone for Scope<'_, '_> {
    fn clone(&self) -> Self {
        Scope { std: self.std, owner: self.owner.clone(), at: self.at, spawned: self.spawned.clone() }
    }
}
