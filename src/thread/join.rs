//! Joining a thread.

use super::spawn::Slot;
use super::tree::{self, Node, Outcome};
use super::{Failure, Thread, unseen};
use crate::signal::{Reason, Signal};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The right to the result of a thread. Dropping it leaves the thread to its parent, which stops
/// it, joins it, and is told of its failure; the log is told when the thread fails.
///
/// An `Err` that a thread of a plain [`spawn`](crate::spawn) returns is a value, not a failure. If
/// the handle is dropped it is lost, and the log says so once for each call that spawns such a
/// thread: [`spawn_fallible`](crate::spawn_fallible) is meant.
#[must_use = "a thread whose handle is dropped is stopped when its parent ends; join it for its result"]
pub struct JoinHandle<T> {
    /// Taken by join and release.
    inner: Option<(Thread, Slot<T>)>,
    thread: Thread,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(node: Arc<Node>, slot: Slot<T>) -> JoinHandle<T> {
        let thread = Thread(node);
        JoinHandle { inner: Some((thread.clone(), slot)), thread }
    }

    /// Blocks until the thread and all its children have ended, and returns what its function
    /// returned.
    ///
    /// If the calling thread is asked to stop, before or while it waits here for a thread below
    /// itself, it passes that on and asks the thread to stop; so a parent that does nothing but
    /// join can be stopped.
    ///
    /// # Errors
    /// The thread's [`Failure`]: its panic, its error, or failures of its children that no thread
    /// had joined. Also that it was stopped and has no value ([`Failure::is_stopped`]).
    ///
    /// # Panics
    /// If the calling thread is that thread or below it: each would wait for the other's end.
    pub fn join(mut self) -> Result<T, Failure> {
        let me = tree::current();
        if me.id == self.thread.0.id || me.is_below(&self.thread.0) {
            panic!("{} cannot join {}, which ends after it", me.path, self.thread.0.path);
        }
        self.thread.0.joining(true);
        let _passing_on = forward_stops_to(me, &self.thread.0);
        let node = &self.thread.0;
        match node.take_os_handle() {
            Some(os) => {
                // Of many that are joined, most have ended meanwhile.
                let _published = (!os.is_finished()).then(|| node.as_waited_for().publish());
                node.join_os(os);
            }
            None => {
                node.stopped().wait_as(|| node.as_waited_for(), None, None);
            }
        }
        self.result()
    }

    /// [`join`](Self::join), but gives up when `till` goes: then the handle comes back as the outer
    /// `Err`.
    ///
    /// # Errors
    /// Outside, the handle; inside, the thread's [`Failure`].
    ///
    /// ```
    /// use selvedge::{Till, spawn};
    /// use std::time::Duration;
    ///
    /// let patient = spawn("patient", |please_stop| please_stop.wait_for_go());
    /// let Err(patient) = patient.join_till(&Till::after(Duration::from_millis(1))) else { unreachable!() };
    /// patient.stop();
    /// patient.join().unwrap();
    /// ```
    pub fn join_till(self, till: &Signal) -> Result<Result<T, Failure>, JoinHandle<T>> {
        self.join_within(Some(till), None)
    }

    /// [`join`](Self::join), but gives up when `timeout` has passed: then the handle comes back as
    /// the outer `Err`.
    ///
    /// # Errors
    /// Outside, the handle; inside, the thread's [`Failure`].
    ///
    /// ```
    /// use selvedge::spawn;
    /// use std::time::Duration;
    ///
    /// let backup = spawn("backup", |please_stop| please_stop.wait_for_go());
    /// let Err(backup) = backup.join_timeout(Duration::from_millis(1)) else { unreachable!() };
    /// backup.stop();
    /// backup.join().unwrap();
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, Failure>, JoinHandle<T>> {
        // A deadline beyond what the clock can express is no deadline.
        self.join_within(None, Instant::now().checked_add(timeout))
    }

    fn join_within(
        mut self,
        till: Option<&Signal>,
        deadline: Option<Instant>,
    ) -> Result<Result<T, Failure>, JoinHandle<T>> {
        self.thread.0.joining(true);
        let forwarding = forward_stops_to(tree::current(), &self.thread.0);
        let node = &self.thread.0;
        if !node.stopped().wait_as(|| node.as_waited_for(), till, deadline) {
            self.thread.0.joining(false);
            drop(forwarding);
            return Err(self);
        }
        if let Some(os) = self.thread.0.take_os_handle() {
            self.thread.0.join_os(os);
        }
        Ok(self.result())
    }

    /// The thread itself.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Asks it and all below it to stop; see [`Thread::stop`].
    #[track_caller]
    pub fn stop(&self) {
        self.thread.stop();
    }

    /// Gives the result up: a failure goes to the log, once, as an error, and no further. The
    /// thread keeps its parent, which stops and joins it.
    pub fn release(mut self) {
        if let Some((thread, _)) = self.inner.take() {
            unseen::handle_dropped::<T>(&thread);
            thread.0.handle_dropped(true);
        }
    }

    fn result(&mut self) -> Result<T, Failure> {
        let node = &self.thread.0;
        if node.is_inherited() && (node.ended.get().is_none() || node.has_failed()) {
            // Its result comes in the parent process. The lock of the slot may be held by a thread
            // that is not there.
            std::mem::forget(self.inner.take());
            return Err(Failure::in_parent_process(&node.path));
        }
        let value = self.inner.take().and_then(|(_, slot)| slot.lock().take());
        match (node.joined(), value) {
            (Outcome::Failed(failure), _) => Err(failure),
            // A value, or that it was stopped.
            (Outcome::Succeeded, Some(result)) => result,
            (Outcome::ReportedToParent | Outcome::Succeeded, _) => {
                let parent = node.parent.as_ref().map_or("no thread", |parent| &parent.path);
                Err(Failure::reported(&node.path, parent))
            }
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some((thread, _)) = self.inner.take() {
            unseen::handle_dropped::<T>(&thread);
            thread.0.handle_dropped(false);
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({:?})", self.thread)
    }
}

/// While the guard lives, a stop of `me` is passed on to `target`, if that is below it.
fn forward_stops_to(me: Arc<Node>, target: &Arc<Node>) -> Option<StopForwarding> {
    // A thread that has stopped needs no asking; a join of many finds most of them so.
    if target.stopped.is_go() || !target.is_below(&me) {
        return None;
    }
    me.begin_join(target.clone());
    // One target for all joins of this thread. Weak, or it would keep the signal that it is
    // attached to.
    if !me.forwards_stops.swap(true, Ordering::Relaxed) {
        let joiner = Arc::downgrade(&me);
        me.please_stop.on_go(move || {
            let Some(joiner) = joiner.upgrade() else { return };
            joiner.joins().iter().for_each(|target| forward_stop(&joiner, target));
        });
    }
    // If that target has run already, it may not have seen this one.
    if me.please_stop.is_go() {
        forward_stop(&me, target);
    }
    Some(StopForwarding { joiner: me, target: target.id })
}

fn forward_stop(joiner: &Node, target: &Arc<Node>) {
    target.forward_stop(&Reason::of("the thread that joins it was asked to stop", None, joiner.please_stop.reason()));
}

struct StopForwarding {
    joiner: Arc<Node>,
    target: u64,
}

impl Drop for StopForwarding {
    fn drop(&mut self) {
        self.joiner.end_join(self.target);
    }
}
