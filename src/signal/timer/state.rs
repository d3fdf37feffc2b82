//! What the threads of the timer share: the targets that are due, and which thread leads. Starts no
//! thread and runs no target.

use crate::model::locks::{Condvar, Mutex};
use crate::os::fork::PerProcess;
use crate::signal::core::Core;
use crate::signal::targets::Attached;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// How long the leader stays without work: long enough that a loop of short time-outs does not
/// start one each.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// How long a target may hold up another target that is due.
pub(super) const BOUND: Duration = Duration::from_millis(100);
/// How many threads targets may block before the others have to wait.
pub(super) const MOST_THREADS: usize = 64;

/// A forked child has one without threads, which takes over what is due; see `at_fork.rs`.
pub(super) static TIMER: PerProcess<Timer> = PerProcess::new(Timer::new(), Timer::new);
/// Set while there are targets and no thread for them: in a forked child that has taken over
/// targets, and when the system gave no thread.
pub(super) static IS_LEFT_ALONE: AtomicBool = AtomicBool::new(false);
pub(super) static TREE: OnceLock<Tree> = OnceLock::new();

/// How a thread of the timer comes into the tree of threads. The room above, where threads are,
/// puts itself in here.
pub(crate) struct Tree {
    /// The number of the tree that is alive, if there is one.
    pub(crate) living: fn() -> Option<u64>,
    /// Brings the calling thread into that tree, under this name. The function is called when the
    /// thread is asked to stop, on the thread that asks.
    pub(crate) join: fn(&str, fn()) -> Option<Member>,
    /// Has a thread of that tree call `resume` at that time, if a runtime is up.
    pub(crate) look_again: fn(Instant),
}

/// The calling thread is in a tree while this lives.
pub(crate) struct Member {
    pub(crate) tree: u64,
    /// Returns `true` once the thread was asked to stop.
    pub(crate) is_asked: Box<dyn Fn() -> bool>,
    pub(crate) guard: Box<dyn Any>,
}

pub(super) struct Timer {
    pub(super) state: Mutex<State>,
    /// Notified when the leader has something to do.
    pub(super) leader: Condvar,
    /// Notified when the deputy has something to watch.
    pub(super) deputy: Condvar,
}

impl Timer {
    const fn new() -> Timer {
        Timer { state: Mutex::new(State::new()), leader: Condvar::new(), deputy: Condvar::new() }
    }
}

pub(super) struct State {
    /// By time, then by the address of the node, which is unique while the node lives; its drop
    /// removes it.
    pub(super) due: BTreeMap<(Instant, usize), Weak<Core>>,
    /// What is to be run, in this order, now.
    pub(super) ready: VecDeque<Job>,
    /// The threads that there are, each with the number in its name.
    pub(super) threads: BTreeMap<u64, usize>,
    pub(super) next_id: u64,
    pub(super) leader: Option<u64>,
    pub(super) deputy: Option<u64>,
    /// What the leader runs, if it may take long.
    pub(super) running: Option<Running>,
    /// The deputy looks at `running` by itself, at the latest when `BOUND` is over.
    pub(super) is_watched: bool,
    /// The deputy sleeps until the first entry of `due` is due: an earlier one must wake it.
    pub(super) awaits_due: bool,
    /// A tree that has asked a thread of the timer to stop. None joins it again.
    pub(super) left: Option<u64>,
    /// The system gave no thread when one was last needed.
    pub(super) outage: Option<Outage>,
}

/// A time in which the timer has targets, and the system gives no thread for them.
#[derive(Clone, Copy)]
pub(super) struct Outage {
    pub(super) since: Instant,
    pub(super) retry_at: Instant,
    pause: Duration,
}

impl Outage {
    /// An attempt to start a thread has failed. `before`: the outage, if the attempt before failed too.
    pub(super) fn after(before: Option<Outage>) -> Outage {
        const FIRST: Duration = Duration::from_millis(50);
        const LONGEST: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let pause = before.map_or(FIRST, |before| (before.pause * 2).min(LONGEST));
        Outage { since: before.map_or(now, |before| before.since), retry_at: now + pause, pause }
    }
}

pub(super) enum Job {
    /// With the number of the leaf that has gone.
    Target(Arc<dyn Attached>, usize),
    /// To be logged.
    Tell(String),
}

pub(super) struct Running {
    pub(super) since: Instant,
    /// `None`: a text that the log is slow to take.
    pub(super) target: Option<Arc<dyn Attached>>,
}

impl State {
    const fn new() -> State {
        State {
            due: BTreeMap::new(),
            ready: VecDeque::new(),
            threads: BTreeMap::new(),
            next_id: 1,
            leader: None,
            deputy: None,
            running: None,
            is_watched: false,
            awaits_due: false,
            left: None,
            outage: None,
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.due.is_empty() && self.ready.is_empty()
    }

    /// A new thread's id. Its number is the lowest that no other thread has.
    pub(super) fn new_thread(&mut self) -> u64 {
        let taken: BTreeSet<usize> = self.threads.values().copied().collect();
        let number = (1..).find(|number| !taken.contains(number)).unwrap_or(usize::MAX);
        let id = self.next_id;
        self.next_id += 1;
        self.threads.insert(id, number);
        id
    }

    pub(super) fn name(&self, id: u64) -> String {
        match self.threads.get(&id) {
            None | Some(1) => "timer".to_owned(),
            Some(number) => format!("timer-{number}"),
        }
    }
}

pub(crate) fn set_tree(tree: Tree) {
    // The first one stays; there is only one room of threads.
    let _ = TREE.set(tree);
}
