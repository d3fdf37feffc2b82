//! `Thread`: the public handle of a thread in the tree. Reads the node; changes nothing but by a
//! request to stop.

use super::policy::Role;
use super::tree::Node;
use super::{latency, roots};
use crate::os::CpuClock;
use crate::signal::{Reason, Signal};
use crate::wait::Wait;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A thread of the tree, alive or ended. Clones are handles to the same thread; keeping one keeps
/// no thread alive.
///
/// ```
/// use selvedge::Thread;
///
/// let child = selvedge::spawn("walker", |_please_stop| Thread::current().name().to_owned());
/// assert!(child.thread().path().ends_with("/walker"));
/// assert_eq!(child.join().unwrap(), "walker");
/// ```
#[derive(Clone)]
pub struct Thread(pub(super) Arc<Node>);

impl Thread {
    /// The calling thread. A thread that was neither spawned by this crate nor registered is not in
    /// the tree: its path is `other/<its name>`, it has no parent, and a stop of `main` does not
    /// ask it to stop. The threads that it spawns are children of `main`; while `main` ends, of the
    /// `main` that comes next, and that end does not wait for them.
    ///
    /// The process's main thread is `main`, unless a runtime runs on another thread: then that one
    /// is.
    pub fn current() -> Thread {
        Thread(roots::current())
    }

    /// The name it was given; `/` and control characters in it have become `_`.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The names from `main` to this thread: `main/readers/reader-2`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// A number that no other thread of this process has or had; later threads have greater ones.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Its parent; `None` for `main`.
    pub fn parent(&self) -> Option<Thread> {
        self.0.parent.clone().map(Thread)
    }

    /// Its children that are alive, or have ended and can still be joined; the oldest first.
    /// Without the runtime's own threads, `main/selvedge/…`, which a [dump](crate::dump()) and a
    /// profile show.
    pub fn children(&self) -> Vec<Thread> {
        let children = self.0.children().into_iter().rev().map(Thread);
        children.filter(|child| !child.is_runtimes_own()).collect()
    }

    /// The signal that asks it to stop.
    pub fn please_stop(&self) -> &Signal {
        &self.0.please_stop
    }

    /// Goes when the thread has ended and all its children have.
    pub fn stopped(&self) -> &Signal {
        self.0.stopped()
    }

    /// Goes when one of its children has failed.
    pub fn child_failed(&self) -> &Signal {
        self.0.child_failed.get(&self.0.path, "child_failed")
    }

    /// Asks it and all threads below it to stop, and returns at once. The thread itself is asked
    /// first, then its children, the youngest first, each with what is below it. A thread with
    /// [`StopOrder::OneByOne`] asks its own children when it ends.
    ///
    /// Targets of [`on_go`](Signal::on_go) run on the calling thread, in the same order, once all
    /// have been asked and woken. So a target may wait for any of these threads.
    ///
    /// [`StopOrder::OneByOne`]: crate::StopOrder::OneByOne
    #[track_caller]
    pub fn stop(&self) {
        self.stop_because("stop() was called");
    }

    /// [`stop`](Self::stop) with a reason: the [`stop_reason`](Self::stop_reason) of all threads
    /// that it asks.
    ///
    /// ```
    /// use selvedge::spawn;
    ///
    /// let worker = spawn("worker", |please_stop| please_stop.wait_for_go());
    /// worker.thread().stop_because("its shard has moved");
    /// assert_eq!(worker.thread().stop_reason().unwrap().text(), "its shard has moved");
    /// worker.join().unwrap();
    /// ```
    #[track_caller]
    pub fn stop_because(&self, why: impl Into<Cow<'static, str>>) {
        self.0.request_stop(&Reason::given(why));
    }

    /// The thread that asked it to stop, where, when, and why: its parent ended, a sibling failed,
    /// the system sent a signal, or a thread called [`stop`](Self::stop). `None` while it was not
    /// asked.
    pub fn stop_reason(&self) -> Option<Reason> {
        self.0.please_stop.reason()
    }

    /// How long it took from being asked to stop to its end; to now, while it has not ended. `None`
    /// if it was never asked, or ended before it was.
    pub fn stop_latency(&self) -> Option<Duration> {
        latency::of(&self.0)
    }

    /// The call that spawned or registered it. `None` for `main` and for unregistered threads.
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.0.settings.spawned_at
    }

    /// Returns `true` if it has not stopped yet.
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// The CPU time, user and system, that it has used since the OS started it; after its end, all
    /// it has used. `None` before it runs, where the system does not tell (not on Linux), and for a
    /// thread that has become known only among the destructors of its thread-locals.
    pub fn cpu_time(&self) -> Option<Duration> {
        if let Some(ended) = self.0.ended.get() {
            return ended.cpu_time;
        }
        if self.0.is_inherited() {
            // The clock's number may be that of another thread of this process.
            return None;
        }
        let time = self.0.os_thread()?.clock?.read();
        // It may have ended meanwhile, and its clock be another thread's.
        match self.0.ended.get() {
            Some(ended) => ended.cpu_time,
            None => time,
        }
    }

    /// From its start to its end, or to now. Zero before it runs.
    pub fn age(&self) -> Duration {
        let Some(started) = self.0.started.get() else { return Duration::ZERO };
        self.0.ended.get().map_or_else(Instant::now, |ended| ended.at).saturating_duration_since(started.at)
    }

    /// How often its function was run again after a failure; see
    /// [`Builder::restart`](crate::Builder::restart).
    pub fn restarts(&self) -> u64 {
        self.0.restarts.load(Ordering::Relaxed)
    }

    /// What it is waiting for just now in a blocking call of this crate.
    pub fn waiting_for(&self) -> Option<Wait> {
        self.0.waits.get()
    }

    pub(crate) fn from_node(node: Arc<Node>) -> Thread {
        Thread(node)
    }

    pub(crate) fn is_runtimes_own(&self) -> bool {
        self.0.settings.role == Role::Runtime
    }

    /// `main`.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn root() -> Thread {
        Thread(roots::root())
    }

    /// Its place in the tree.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }

    /// The clock behind `cpu_time`: another thread's, perhaps, once this one has ended.
    pub(crate) fn cpu_clock(&self) -> Option<CpuClock> {
        self.0.os_thread()?.clock
    }

    /// Returns `true` if its OS thread was made for it, so that both begin and end together.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn has_own_os_thread(&self) -> bool {
        // Relaxed: stored before that thread was made.
        self.0.has_own_os_thread.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Where it publishes what it waits for.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn waits(&self) -> Arc<crate::wait::Slot> {
        self.0.waits.clone()
    }

    /// Its `pthread_t`, given to another thread some time after its end.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn os_thread(&self) -> Option<u64> {
        self.0.os_thread().map(|os| os.handle)
    }

    /// Where its stack lies: another thread's, perhaps, once this one has ended.
    #[cfg(all(target_os = "linux", feature = "profiling"))]
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
    pub(crate) fn stack(&self) -> Option<std::ops::Range<u64>> {
        self.0.os_thread()?.stack.clone()
    }

    /// Returns `true` if an OS thread runs it, or did.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn has_started(&self) -> bool {
        self.0.started.get().is_some()
    }

    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn started_at(&self) -> Instant {
        self.0.started.get().map_or_else(Instant::now, |started| started.at)
    }

    /// The id of the thread that spawned it, which need not be its parent. `None` if another library
    /// made the OS thread.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn spawner(&self) -> Option<u64> {
        Some(self.0.spawner.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.0.ended.get().map(|ended| ended.at)
    }
}

impl PartialEq for Thread {
    fn eq(&self, other: &Thread) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Thread {}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thread({}, {})", self.path(), if self.is_alive() { "alive" } else { "stopped" })
    }
}
