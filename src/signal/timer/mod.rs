//! The timer: fires Tills that have a target or a receiver. Plain waits on Tills do not need it.
//!
//! Its threads belong to the process and not to a runtime, since its users may outlive a runtime.
//! The first target starts one, and it ends when there has been no target for a while. While a tree
//! of threads is alive, each is a thread of that tree (`main/selvedge/timer`); asked to stop, it leaves the
//! tree, and goes on outside of it if a target is still to come.
//!
//! One thread *leads*: it alone takes targets out and runs them, so they run in the order in which
//! they are due. While it runs a target, a *deputy* watches. If the target takes longer than
//! [`BOUND`] and another one is due, the deputy leads from then on, and the log tells which target
//! it was. The former leader ends with its target, or becomes the deputy.
//!
//! Invariants
//! 1. While `due` or `ready` has an entry, there is a leader, or no thread was to be had when one
//!    was last needed.
//! 2. Only the leader takes entries out. The lead changes only while `running` is set, so never
//!    between the removal of an entry and the start of its target.
//! 3. Nothing of the user's runs, and nothing is logged, while `state` is locked.

#[cfg(all(test, not(selvedge_model)))]
pub(super) mod tests;

use super::Signal;
use super::core::Core;
use super::on_go::Target;
use crate::model::locks::{Condvar, Mutex, MutexGuard};
use crate::os::fork::PerProcess;
use crate::os::tell::tell;
use crate::os::{self, fork, process, task};
use log::Level;
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::{self, ManuallyDrop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock, Weak};
use std::time::{Duration, Instant};

/// How long the leader stays without work: long enough that a loop of short time-outs does not
/// start one each.
const LINGER: Duration = Duration::from_secs(1);
/// How long a target may hold up another target that is due.
const BOUND: Duration = Duration::from_millis(100);
/// How many threads targets may block before the others have to wait.
const MOST_THREADS: usize = 64;

/// A forked child has one without threads, which takes over what is due; see [`at_fork`].
static TIMER: PerProcess<Timer> = PerProcess::new(Timer::new(), Timer::new);
/// Set in a forked child that has taken over targets and has no thread for them yet.
static IS_LEFT_ALONE: AtomicBool = AtomicBool::new(false);
static TREE: OnceLock<Tree> = OnceLock::new();

/// How a thread of the timer comes into the tree of threads. The room above, where threads are,
/// puts itself in here.
pub(crate) struct Tree {
    /// The number of the tree that is alive, if there is one.
    pub(crate) living: fn() -> Option<u64>,
    /// Brings the calling thread into that tree, under this name.
    pub(crate) join: fn(&str) -> Option<Member>,
}

/// The calling thread is in a tree while this lives.
pub(crate) struct Member {
    pub(crate) tree: u64,
    pub(crate) please_stop: Signal,
    pub(crate) guard: Box<dyn Any>,
}

struct Timer {
    state: Mutex<State>,
    /// Notified when the leader has something to do.
    leader: Condvar,
    /// Notified when the deputy has something to watch.
    deputy: Condvar,
}

impl Timer {
    const fn new() -> Timer {
        Timer { state: Mutex::new(State::new()), leader: Condvar::new(), deputy: Condvar::new() }
    }
}

struct State {
    /// By time, then by the address of the node, which is unique while the node lives; its drop
    /// removes it.
    due: BTreeMap<(Instant, usize), Weak<Core>>,
    /// What is to be run, in this order, now.
    ready: VecDeque<Job>,
    /// The threads that there are, each with the number in its name.
    threads: BTreeMap<u64, usize>,
    next_id: u64,
    leader: Option<u64>,
    deputy: Option<u64>,
    /// What the leader runs, if it may take long.
    running: Option<Running>,
    /// The deputy looks at `running` by itself, at the latest when `BOUND` is over.
    is_watched: bool,
    /// The deputy sleeps until the first entry of `due` is due: an earlier one must wake it.
    awaits_due: bool,
    /// A tree that has asked a thread of the timer to stop. None joins it again.
    left: Option<u64>,
}

enum Job {
    /// With the number of the leaf that has gone.
    Target(Arc<Target>, usize),
    /// To be logged.
    Tell(String),
}

struct Running {
    since: Instant,
    /// `None`: a text that the log is slow to take.
    target: Option<Arc<Target>>,
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
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(&(at, _), _)| at)
    }

    fn is_idle(&self) -> bool {
        self.due.is_empty() && self.ready.is_empty()
    }

    /// A new thread's id. Its number is the lowest that no other thread has.
    fn new_thread(&mut self) -> u64 {
        let taken: BTreeSet<usize> = self.threads.values().copied().collect();
        let number = (1..).find(|number| !taken.contains(number)).unwrap_or(usize::MAX);
        let id = self.next_id;
        self.next_id += 1;
        self.threads.insert(id, number);
        id
    }

    fn name(&self, id: u64) -> String {
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

pub(super) fn add(at: Instant, core: &Arc<Core>) {
    let mut state = TIMER.state.lock();
    let earliest = state.next_due().is_none_or(|first| at < first);
    state.due.insert((at, Arc::as_ptr(core) as usize), Arc::downgrade(core));
    if state.leader.is_none() {
        start_leader(state);
    } else if earliest {
        TIMER.leader.notify_one();
        if state.awaits_due {
            TIMER.deputy.notify_one();
        }
    }
}

pub(super) fn remove(at: Instant, core: *const Core) {
    TIMER.state.lock().due.remove(&(at, core as usize));
}

/// Before a call that waits: in a forked child, what it waits for may be a target that was attached
/// before the fork.
#[inline]
pub(super) fn resume() {
    // Relaxed: set before the child's first line.
    if IS_LEFT_ALONE.load(Ordering::Relaxed) {
        resume_now();
    }
}

#[cold]
fn resume_now() {
    let state = TIMER.state.lock();
    IS_LEFT_ALONE.store(false, Ordering::Relaxed);
    if state.leader.is_none() && !state.is_idle() {
        start_leader(state);
    }
}

thread_local! {
    /// While the calling thread forks: the lock, so that `due` is whole in the child. Without a
    /// destructor, so that an exit handler may fork too.
    static HELD: RefCell<ManuallyDrop<Option<MutexGuard<'static, State>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// A forked child keeps what is due, and has none of the threads.
fn at_fork() {
    /// The lock is never held for long.
    const PATIENCE: Duration = Duration::from_secs(1);
    extern "C" fn before() {
        let held = TIMER.state.try_lock_for(PATIENCE);
        HELD.with(|slot| **slot.borrow_mut() = held);
    }
    extern "C" fn in_parent() {
        drop(HELD.with(|slot| slot.borrow_mut().take()));
    }
    extern "C" fn in_child() {
        let Some(mut parents) = HELD.with(|slot| slot.borrow_mut().take()) else { return };
        let mut state = TIMER.state.lock();
        (state.due, state.ready) = (mem::take(&mut parents.due), mem::take(&mut parents.ready));
        IS_LEFT_ALONE.store(!state.is_idle(), Ordering::Relaxed);
        drop(state);
        drop(parents);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // First, so that in the child `TIMER` is the child's when the others run.
        fork::watch();
        process::at_fork(before, in_parent, in_child);
    });
}

fn start_leader(mut state: MutexGuard<'_, State>) {
    at_fork();
    let id = state.new_thread();
    state.leader = Some(id);
    let name = state.name(id);
    drop(state);
    if let Err(error) = start(id, &name) {
        let mut state = TIMER.state.lock();
        state.threads.remove(&id);
        state.leader = state.leader.filter(|&leader| leader != id);
        drop(state);
        let end = "targets of on_go on a Till are late until the next one is attached";
        tell(Level::Error, module_path!(), &format!("no thread for the timer: {error}; {end}"));
    }
}

fn start(id: u64, name: &str) -> std::io::Result<()> {
    let is_in_tree = TREE.get().is_some_and(|tree| (tree.living)().is_some());
    let path = if is_in_tree { format!("main/selvedge/{name}") } else { name.to_owned() };
    let name = name.to_owned();
    std::thread::Builder::new().name(path).spawn(move || Worker::new(id, name).serve()).map(drop)
}

/// One thread of the timer.
struct Worker {
    id: u64,
    name: String,
    member: Option<Member>,
}

impl Worker {
    fn new(id: u64, name: String) -> Worker {
        os::set_thread_name(&name);
        Worker { id, name, member: None }
    }

    fn serve(mut self) {
        // While it is in no tree.
        let _hidden = task::hide();
        loop {
            let must_leave = self.member.as_ref().is_some_and(|member| member.please_stop.is_go());
            if must_leave {
                self.leave();
            } else if self.member.is_none() {
                self.join();
            }
            let state = TIMER.state.lock();
            // After a fork, the child has this thread if the target forked, but the timer has none.
            let is_known = state.threads.contains_key(&self.id);
            let goes_on = if is_known && state.leader == Some(self.id) {
                self.lead(state, must_leave)
            } else if is_known && state.deputy == Some(self.id) {
                self.watch(state)
            } else {
                false
            };
            if !goes_on {
                break;
            }
        }
        TIMER.state.lock().threads.remove(&self.id);
    }

    /// Comes into the tree that is alive, unless that tree is about to end.
    fn join(&mut self) {
        let Some(tree) = TREE.get() else { return };
        let Some(living) = (tree.living)() else { return };
        if TIMER.state.lock().left == Some(living) {
            return;
        }
        self.member = (tree.join)(&self.name);
        if let Some(member) = &self.member {
            member.please_stop.on_go(|| {
                // Under the lock, so that each thread is either before its look at please_stop or
                // in the wait.
                let _state = TIMER.state.lock();
                TIMER.leader.notify_all();
                TIMER.deputy.notify_all();
            });
        }
    }

    fn leave(&mut self) {
        let Some(member) = self.member.take() else { return };
        TIMER.state.lock().left = Some(member.tree);
        drop(member.guard);
    }

    fn is_asked(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.please_stop.is_go())
    }

    /// One step of the leader. Returns `false` if the thread is to end.
    fn lead(&self, mut state: MutexGuard<'_, State>, was_asked: bool) -> bool {
        if self.is_asked() {
            return true;
        }
        if let Some(job) = state.ready.pop_front() {
            return self.run(state, job);
        }
        let now = Instant::now();
        match state.due.first_key_value() {
            Some((&(at, node), _)) if at <= now => {
                let core = state.due.remove(&(at, node)).and_then(|core| core.upgrade());
                drop(state);
                // Wakes, and may drop the node: with no lock held.
                let jobs = core.map_or_else(Vec::new, |core| fire(&core));
                // In front is nothing: only this thread adds, and it has found it empty.
                TIMER.state.lock().ready.extend(jobs);
                true
            }
            Some((&(at, _), _)) => {
                TIMER.leader.wait_until(&mut state, at);
                true
            }
            None => {
                let timed_out = was_asked || TIMER.leader.wait_for(&mut state, LINGER).timed_out();
                if !timed_out || !state.is_idle() || self.is_asked() {
                    return true;
                }
                state.leader = None;
                state.deputy = None;
                TIMER.deputy.notify_all();
                false
            }
        }
    }

    /// Returns `false` if another thread leads since, and this one is to end.
    fn run(&self, mut state: MutexGuard<'_, State>, job: Job) -> bool {
        let target = match &job {
            Job::Target(target, _) => Some(target.clone()),
            Job::Tell(_) => None,
        };
        if target.as_ref().is_some_and(|target| !target.is_users()) {
            drop(state);
            // One of ours, which disconnects a receiver.
            job.run();
            return true;
        }
        if state.deputy.is_none() {
            state = start_deputy(state);
        }
        state.running = Some(Running { since: Instant::now(), target });
        if !state.is_watched {
            state.is_watched = true;
            TIMER.deputy.notify_one();
        }
        drop(state);
        job.run();
        let mut state = TIMER.state.lock();
        let leads = state.leader == Some(self.id);
        let ran = if leads { state.running.take() } else { None };
        let goes_on = leads || state.leader.is_some() && state.deputy.is_none();
        if !leads && goes_on && state.threads.contains_key(&self.id) {
            state.deputy = Some(self.id);
            state.is_watched = false;
        }
        drop(state);
        // With no lock held: it may be the last that knows of the target.
        drop(ran);
        goes_on
    }

    /// One step of the deputy. Returns `false` if the thread is to end.
    fn watch(&self, mut state: MutexGuard<'_, State>) -> bool {
        if self.is_asked() {
            return true;
        }
        (state.is_watched, state.awaits_due) = (false, false);
        let Some(since) = state.running.as_ref().map(|running| running.since) else {
            TIMER.deputy.wait(&mut state);
            return true;
        };
        let (now, late) = (Instant::now(), since + BOUND);
        if now < late {
            state.is_watched = true;
            TIMER.deputy.wait_until(&mut state, late);
            return true;
        }
        let is_due = !state.ready.is_empty() || state.next_due().is_some_and(|at| at <= now);
        if is_due && state.threads.len() < MOST_THREADS {
            return self.take_over(state, now.duration_since(since));
        }
        if is_due {
            drop(state);
            say_once(&ALL_HELD_UP, || {
                let text = format!("targets of on_go hold up {MOST_THREADS} threads of the timer: the others wait");
                tell(Level::Error, module_path!(), &text);
            });
            state = TIMER.state.lock();
            if state.running.is_none() {
                return true;
            }
        }
        state.awaits_due = true;
        match state.next_due().filter(|_| !is_due) {
            Some(at) => drop(TIMER.deputy.wait_until(&mut state, at)),
            None => TIMER.deputy.wait(&mut state),
        }
        state.awaits_due = false;
        true
    }

    fn take_over(&self, mut state: MutexGuard<'_, State>, ran: Duration) -> bool {
        let running = state.running.take();
        let held_up = state.leader.map_or_else(String::new, |leader| state.name(leader));
        (state.leader, state.deputy) = (Some(self.id), None);
        drop(state);
        if let Some(target) = running.and_then(|running| running.target) {
            let text = format!(
                "{target} has run for {ran:.1?} on {held_up} and holds up other targets; {} runs them from now on",
                self.name
            );
            // Behind what is due: the log may be what blocks.
            TIMER.state.lock().ready.push_back(Job::Tell(text));
        }
        true
    }
}

/// Lets a Till go whose time has come, and gives what is to be run then.
fn fire(core: &Core) -> Vec<Job> {
    let Some(fired) = core.set_gone(|| None) else { return Vec::new() };
    core.wake(fired.sender);
    fired.targets.in_order().map(|(target, leaf)| Job::Target(target, leaf)).collect()
}

impl Job {
    fn run(self) {
        match self {
            Job::Target(target, leaf) => target.leaf_gone(leaf),
            Job::Tell(text) => crate::error::ignore_panic(|| tell(Level::Warn, module_path!(), &text)),
        }
    }
}

/// Whether it was said that the deputy cannot take over.
static ALL_HELD_UP: AtomicBool = AtomicBool::new(false);
/// Whether it was said that there is no thread for a deputy.
static NO_DEPUTY: AtomicBool = AtomicBool::new(false);

fn say_once(told: &AtomicBool, say: impl FnOnce()) {
    // Relaxed: it guards nothing.
    if !told.swap(true, Ordering::Relaxed) {
        crate::error::ignore_panic(say);
    }
}

fn start_deputy(mut state: MutexGuard<'_, State>) -> MutexGuard<'_, State> {
    let id = state.new_thread();
    state.deputy = Some(id);
    let name = state.name(id);
    drop(state);
    let started = start(id, &name);
    if let Err(error) = &started {
        let end = "a target of on_go that blocks holds up the others";
        let text = format!("no second thread for the timer: {error}; {end}");
        say_once(&NO_DEPUTY, || tell(Level::Warn, module_path!(), &text));
    }
    let mut state = TIMER.state.lock();
    if started.is_err() {
        state.threads.remove(&id);
        state.deputy = None;
    }
    state
}
