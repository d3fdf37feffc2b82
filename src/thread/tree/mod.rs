//! The node behind a Thread, and the tree that the nodes make. May not name the runtime, the log or
//! the profiler.
//!
//! Invariants
//! 1. A node is in its parent's `children` from before its OS thread starts until it was joined, or
//!    has ended after its handle was dropped, or its parent has ended.
//! 2. A node's `stopped` goes after that of all its children. Once `Phase::Ended`, it takes no
//!    children.
//! 3. A failure is in exactly one place: the node that failed, its parent's `failures`, or the
//!    thread that was told. It moves, it is never copied. The failure moves up and the node leaves
//!    `children` in one step. So a parent without children has all failures that are for it.
//! 4. The thread that takes the handle out of `os` joins the OS thread: the joiner, the parent, or,
//!    for a dropped handle, a sibling that settles later and finds the OS thread gone (`unreaped`).
//!    So at most a few ended threads keep their stacks, except while their parent ends, which then
//!    joins each. And no thread waits for a thread that still runs something, or for itself.
//! 5. A thread that holds the locks of two nodes has locked the parent first, then its child. No
//!    thread holds three. Nothing of the user's runs under one.

mod birth;
mod leave;
mod reap;
mod settle;
mod siblings;
mod snapshot;
mod unjoined;
mod walk;

pub(crate) use self::settle::Held;
pub(crate) use self::walk::walk;

use self::reap::Unreaped;
use self::unjoined::Unjoined;
use super::failure::Failure;
use super::leaving::{self, Limit};
use super::policy::SpawnSettings;
use crate::model::locks::Mutex;
use crate::os::OsThread;
use crate::os::fork::PerProcess;
use crate::os::printable::is_unprintable;
use crate::signal::{LazySignal, PLEASE_STOP, Reason, Signal};
use crate::wait::{self, Slot, Unblocker, WaitDescription};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle as OsHandle;
use std::time::{Duration, Instant};

/// In the paths of the runtime's own threads, between `main` and their names: a place of their own.
/// No child of `main` has this name, so no path of a thread of the program begins so.
pub(crate) const RUNTIME: &str = "selvedge";

pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) path: Arc<str>,
    /// Where in the path the own name begins.
    name_at: usize,
    pub(crate) parent: Option<Arc<Node>>,
    pub(crate) settings: SpawnSettings,
    pub(crate) please_stop: Signal,
    pub(crate) stopped: LazySignal,
    pub(crate) child_failed: LazySignal,
    /// Set by the first join: a target that forwards stops to joined threads is attached to
    /// `please_stop`, or about to be. Relaxed: it guards nothing, since that target reads `joins`
    /// under the lock.
    pub(super) forwards_stops: AtomicBool,
    pub(crate) waits: Arc<Slot>,
    /// Set before this crate makes the OS thread; never set for a thread of another library.
    pub(crate) has_own_os_thread: AtomicBool,
    /// The id of the thread that called `spawn`; 0: another library made the OS thread. Relaxed:
    /// set before the OS thread starts.
    pub(crate) spawner: AtomicU64,
    pub(crate) started: OnceLock<Started>,
    pub(crate) ended: OnceLock<Ended>,
    /// How often its function was run again. Relaxed: a count for people.
    pub(crate) restarts: AtomicU64,
    /// It asks, joins and collects each of its children. Set under the lock of `state` with
    /// `Phase::Ending`, and cleared when there are none. A child that ends and sees it set leaves
    /// the settling to its parent, which finds it in `children`. So ten thousand children that end
    /// at once do not contend for one lock. Relaxed: what it stands for is read under that
    /// lock.
    collects: AtomicBool,
    /// Set if its parent was ending when it was born. Such a child settles itself, so that children
    /// that come and go meanwhile do not accumulate. Relaxed: it is set before the node is put into
    /// the parent's `children`, under the lock of the parent's `state`, and never changes after
    /// that. It is read by the thread itself, which starts later or has set it, and by the parent
    /// when it lets go of the node. The parent has found the node in `children`, under that lock.
    born_late: AtomicBool,
    /// For a thread that is lent. Its OS thread, when that ends, and its parent, when that ends,
    /// set this; the first of the two ends the node. SeqCst: it happens once in a node's life.
    end_is_claimed: AtomicBool,
    /// In a forked child, the state of a thread that has ended.
    state: PerProcess<Mutex<State>>,
}

/// What is known once the thread itself runs.
pub(crate) struct Started {
    pub(crate) at: Instant,
    os: Option<OsThread>,
}

/// What is kept of a thread that has ended.
pub(crate) struct Ended {
    pub(crate) at: Instant,
    pub(crate) cpu_time: Option<Duration>,
    failed: bool,
}

impl Ended {
    fn failed(&self) -> bool {
        self.failed
    }
}

pub(crate) struct State {
    phase: Phase,
    /// Why its children are asked, from `Phase::Ending` on.
    ending: Option<Ending>,
    /// By id, and so in the order of their start.
    children: BTreeMap<u64, Arc<Node>>,
    /// The children, by id, whose failure has had their siblings asked, and has not moved yet.
    /// Empty unless the policy is `OnChildFailure::StopSiblings`.
    failed: BTreeSet<u64>,
    /// The number of children that it got from threads that are not below it, since
    /// `Phase::Ending`.
    late_children: usize,
    /// The threads that it is joining. They are asked to stop when it is.
    joins: Vec<Arc<Node>>,
    /// Failures of children that no thread has joined.
    failures: Unjoined,
    /// Ended OS threads without a joiner. The next sibling that settles joins them, or the parent.
    unreaped: Vec<Unreaped>,
    os: Option<OsHandle<()>>,
    failure: Option<Failure>,
    /// The log was told that no thread has joined it.
    is_held_told: bool,
    owner: Owner,
    /// `finish` has stored the failure: from now on the thread that drops the handle settles.
    finished: bool,
}

/// The end of a thread's own code, from which on its children are stopped.
#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) at: Instant,
    pub(crate) reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Alive,
    /// It stops its children. A child that is born now is asked at once, since other threads may
    /// wait for it.
    Ending,
    Ended,
}

/// Where the outcome of this thread goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The handle exists: the thread that holds it may still join.
    Handle,
    /// A thread is joining: the outcome is for it, even if the parent ends first.
    Joiner,
    /// The handle was dropped: the outcome is for the parent.
    Parent,
    /// The handle was released: the outcome is for the log.
    Log,
    /// The parent got the outcome, and has ended. A late joiner is told so.
    Reported,
}

/// What a joiner finds.
pub(crate) enum Outcome {
    Succeeded,
    Failed(Failure),
    ReportedToParent,
}

impl State {
    fn new(phase: Phase, owner: Owner) -> State {
        State {
            phase,
            ending: None,
            children: BTreeMap::new(),
            failed: BTreeSet::new(),
            late_children: 0,
            joins: Vec::new(),
            failures: Unjoined::default(),
            unreaped: Vec::new(),
            os: None,
            failure: None,
            is_held_told: false,
            owner,
            finished: false,
        }
    }

    /// Takes a child out. Its failure has another place from now on.
    fn remove_child(&mut self, id: u64) {
        self.children.remove(&id);
        self.failed.remove(&id);
    }
}

impl Node {
    pub(super) fn new(name: &str, path: &str, parent: Option<Arc<Node>>, settings: SpawnSettings) -> Arc<Node> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let name_at = path.len() - name.len();
        let path: Arc<str> = Arc::from(path);
        Arc::new(Node {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name_at,
            please_stop: Signal::of(&path, PLEASE_STOP),
            stopped: LazySignal::new(),
            child_failed: LazySignal::new(),
            forwards_stops: AtomicBool::new(false),
            path,
            parent,
            settings,
            waits: Arc::default(),
            has_own_os_thread: AtomicBool::new(false),
            spawner: AtomicU64::new(0),
            started: OnceLock::new(),
            ended: OnceLock::new(),
            restarts: AtomicU64::new(0),
            collects: AtomicBool::new(false),
            born_late: AtomicBool::new(false),
            end_is_claimed: AtomicBool::new(false),
            state: PerProcess::here(Mutex::new(State::new(Phase::Alive, Owner::Handle)), || {
                Mutex::new(State::new(Phase::Ended, Owner::Reported))
            }),
        })
    }

    /// Returns `true` if it is a thread of a process of which this process is a forked child.
    pub(crate) fn is_inherited(&self) -> bool {
        self.state.is_inherited()
    }

    pub(crate) fn name(&self) -> &str {
        &self.path[self.name_at..]
    }

    /// Returns `true` if it has ended with a failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.ended.get().is_some_and(Ended::failed)
    }

    /// The present children, the youngest first.
    pub(crate) fn children(&self) -> Vec<Arc<Node>> {
        self.state.lock().children.values().rev().cloned().collect()
    }

    pub(crate) fn is_below(&self, above: &Node) -> bool {
        let mut next = self.parent.as_ref();
        while let Some(node) = next {
            if node.id == above.id {
                return true;
            }
            next = node.parent.as_ref();
        }
        false
    }

    /// What a thread that waits for its end publishes.
    pub(crate) fn as_waited_for(&self) -> WaitDescription {
        WaitDescription::new("thread", self.path.clone()).unblocker(Unblocker::Thread(self.id))
    }

    pub(crate) fn keep_os_handle(&self, os: OsHandle<()>) {
        self.state.lock().os = Some(os);
    }

    pub(crate) fn take_os_handle(&self) -> Option<OsHandle<()>> {
        self.state.lock().os.take()
    }

    /// Joins the OS thread `os`, which was taken out of its state.
    pub(super) fn join_os(&self, os: OsHandle<()>) {
        // A thread that has stopped already runs the destructors of its thread-locals at most.
        let is_running = !self.stopped.is_go();
        if is_running {
            wait::begin_sleep();
        }
        leaving::join(os, &self.path, self.settings.patience, || self.ended.get().map(|ended| ended.at));
        if is_running {
            wait::ended_by(|| self.stopped.ender());
        }
    }

    /// For a thread that has stopped: joins its OS thread, which was taken out of its state, up to
    /// `limit`. Then the state gets it back, and the result is `false`.
    pub(super) fn join_os_within(&self, os: OsHandle<()>, limit: Limit<'_>) -> bool {
        let returned = || self.ended.get().map(|ended| ended.at);
        let joined = leaving::join_within(os, &self.path, self.settings.patience, returned, limit);
        joined.map_err(|os| self.keep_os_handle(os)).is_ok()
    }

    /// Returns `true` if its parent still has it among its children.
    pub(crate) fn is_child(&self) -> bool {
        self.parent.as_ref().is_some_and(|parent| parent.state.lock().children.contains_key(&self.id))
    }

    /// The OS thread could not be started: as if it had never been.
    fn never_started(&self) {
        self.state.lock().phase = Phase::Ended;
        if let Some(parent) = &self.parent {
            parent.state.lock().remove_child(self.id);
        }
        // The parent may be waiting for it already.
        self.stopped.go();
    }

    /// Gives up the node unless its OS thread starts, also if what the body has captured panics as
    /// it is dropped.
    pub(crate) fn unless_started(self: &Arc<Node>) -> impl FnOnce() + use<> {
        struct Unstarted(Option<Arc<Node>>);
        impl Drop for Unstarted {
            fn drop(&mut self) {
                if let Some(node) = self.0.take() {
                    node.never_started();
                }
            }
        }
        crate::os::process::stay_loaded();
        self.has_own_os_thread.store(true, Ordering::Relaxed);
        let mut unstarted = Unstarted(Some(self.clone()));
        move || drop(unstarted.0.take())
    }

    /// The threads that it is joining now, in the order in which it began to.
    pub(super) fn joins(&self) -> Vec<Arc<Node>> {
        self.state.lock().joins.clone()
    }

    pub(super) fn begin_join(&self, target: Arc<Node>) {
        self.state.lock().joins.push(target);
    }

    pub(super) fn end_join(&self, target: u64) {
        let joined = {
            let mut state = self.state.lock();
            state.joins.iter().rposition(|join| join.id == target).map(|at| state.joins.remove(at))
        };
        // Without a lock: targets of its signals may be dropped with it, and their drop is the
        // user's code.
        drop(joined);
    }

    /// Begins the end: from now on a child is asked to stop when it is born, because of `reason`.
    pub(crate) fn begin_end(&self, reason: Reason) {
        let mut state = self.state.lock();
        state.phase = Phase::Ending;
        self.collects.store(true, Ordering::Relaxed);
        state.ending.get_or_insert(Ending { at: Instant::now(), reason });
    }

    /// Returns `true` if its own code has ended: it stops its children, or has ended itself.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.lock().phase != Phase::Alive
    }

    /// It takes no children any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().phase == Phase::Ended
    }

    /// When its own code ended, and why its children have been asked since.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.state.lock().ending.clone()
    }

    /// The end of a run that is followed by another run. Returns `false` if there are children
    /// left.
    pub(crate) fn begin_again(&self) -> bool {
        let mut state = self.state.lock();
        if !state.children.is_empty() {
            return false;
        }
        state.phase = Phase::Alive;
        state.late_children = 0;
        self.collects.store(false, Ordering::Relaxed);
        state.ending = None;
        true
    }

    /// Returns `true` for the one call that may end the node. Only of a thread that is lent may
    /// there be a second one.
    pub(crate) fn claim_end(&self) -> bool {
        !self.end_is_claimed.swap(true, Ordering::SeqCst)
    }

    /// Ends the time in which it can have children. Returns `false` if there are some.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        if !state.children.is_empty() {
            return false;
        }
        state.phase = Phase::Ended;
        true
    }
}

/// A name that can stand in a path and be given to the OS.
pub(super) fn sanitize(name: &str) -> Cow<'_, str> {
    let is_odd = |c: char| c == '/' || is_unprintable(c);
    // Nearly all names are so, and bytes are compared faster than characters.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    match name {
        "" => Cow::Borrowed("unnamed"),
        _ if name.bytes().all(is_plain) => Cow::Borrowed(name),
        _ if name.contains(is_odd) => Cow::Owned(name.replace(is_odd, "_")),
        _ => Cow::Borrowed(name),
    }
}
