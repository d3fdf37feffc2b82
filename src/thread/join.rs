//! `JoinHandle`: waiting for a thread's end and taking its result. How a stop of the joining thread
//! is forwarded is in `stop.rs`, and which thread gets a failure in `tree/settle.rs`.

use super::failure::Failure;
use super::handle::Thread;
use super::leaving::Limit;
use super::result_slot::Slot;
use super::roots::current;
use super::stop::forward_stops_to;
use super::tree::{Node, Outcome};
use super::unseen;
use crate::signal::Signal;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The right to the result of a thread. Dropping it leaves the thread to its parent, which stops
/// it, joins it, and gets its failure; the failure is logged when it happens.
///
/// ```
/// use selvedge::spawn_fallible;
///
/// let lines = spawn_fallible("lines", |_please_stop| -> Result<usize, std::io::Error> {
///     Ok(std::fs::read_to_string("Cargo.toml")?.lines().count())
/// });
/// assert!(lines.join()? > 0);
/// # Ok::<(), selvedge::Failure>(())
/// ```
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
    /// # Blocking
    /// Until the thread has ended. If the calling thread is asked to stop, before or while it waits
    /// here for a thread below itself, it forwards the request to that thread. So a parent that
    /// does nothing but join can be stopped.
    ///
    /// # Errors
    /// The thread's [`Failure`]: its panic, its error, or failures of its children that no thread
    /// had joined. Also that it was stopped and has no value ([`Failure::is_stopped`]).
    ///
    /// At once, a failure of the *calling* thread ([`Failure::is_error`]), if it is that thread or
    /// below it: each of the two would wait for the other's end. The handle counts as dropped then.
    pub fn join(mut self) -> Result<T, Failure> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        self.thread.0.joining(true);
        let _forwarding = forward_stops_to(current(), &self.thread.0);
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
    /// # Blocking
    /// Until the thread has ended, or `till` goes, also while destructors of its thread-locals run.
    /// They have at least 0.1 s from the return of the thread's function. Outside of Linux, there is
    /// no limit while they run.
    ///
    /// # Errors
    /// Outside, the handle, with the result for a later join; inside, a [`Failure`] as
    /// [`join`](Self::join) has it.
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
    /// # Blocking
    /// Until the thread has ended, or `timeout` has passed, as [`join_till`](Self::join_till).
    ///
    /// # Errors
    /// Outside, the handle, with the result for a later join; inside, a [`Failure`] as
    /// [`join`](Self::join) has it.
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
        if let Some(refusal) = self.refusal() {
            return Ok(Err(refusal));
        }
        self.thread.0.joining(true);
        let forwarding = forward_stops_to(current(), &self.thread.0);
        let node = &self.thread.0;
        if !node.stopped().wait_as(|| node.as_waited_for(), till, deadline) {
            self.thread.0.joining(false);
            drop(forwarding);
            return Err(self);
        }
        // The destructors of its thread-locals may still run.
        let os = node.take_os_handle();
        if os.is_some_and(|os| !node.join_os_within(os, Limit::new(till, deadline))) {
            node.joining(false);
            drop(forwarding);
            return Err(self);
        }
        Ok(self.result())
    }

    /// Why the calling thread must not wait for this one, if it must not.
    fn refusal(&self) -> Option<Failure> {
        let (me, target) = (current(), &self.thread.0);
        let ends_first = me.id == target.id || me.is_below(target);
        ends_first.then(|| Failure::text(&me, format!("cannot join {}, which ends after it", target.path)))
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
