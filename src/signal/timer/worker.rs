//! The threads of the timer: the leader takes targets out and runs them, the deputy watches it. The
//! protocol is in `timer/mod.rs`.

use super::at_fork;
use super::state::{BOUND, IS_LEFT_ALONE, Job, LINGER, MOST_THREADS, Member, Outage, Running, State, TIMER, TREE};
use crate::model::locks::MutexGuard;
use crate::os::tell::tell;
use crate::os::{self, task};
use crate::signal::core::Core;
use crate::signal::reason::KeptReason;
use crate::signal::targets::Targets;
use log::Level;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Starts the thread that leads. The caller holds the lock, and has seen that no thread leads.
pub(super) fn start_leader(mut state: MutexGuard<'_, State>) {
    at_fork::prepare();
    let id = state.new_thread();
    state.leader = Some(id);
    let (name, outage) = (state.name(id), state.outage.take());
    drop(state);
    match (start(id, &name), outage) {
        (Ok(()), None) => {}
        (Ok(()), Some(outage)) => {
            let late = outage.since.elapsed();
            tell(
                Level::Warn,
                module_path!(),
                &format!("the timer has a thread again, after {late:.1?}: late targets run"),
            );
        }
        (Err(error), outage) => try_again_later(id, &error, outage),
    }
}

/// No thread was to be had for the leader `id`.
fn try_again_later(id: u64, error: &std::io::Error, before: Option<Outage>) {
    let outage = Outage::after(before);
    let mut state = TIMER.state.lock();
    state.threads.remove(&id);
    state.leader = state.leader.filter(|&leader| leader != id);
    state.outage = Some(outage);
    drop(state);
    // Relaxed: it guards nothing; a thread that sees it late tries later.
    IS_LEFT_ALONE.store(true, Ordering::Relaxed);
    if before.is_none() {
        let end = "targets of on_go on a Till are late until there is one; the timer tries again";
        tell(Level::Error, module_path!(), &format!("no thread for the timer: {error}; {end}"));
    }
    look_again(outage.retry_at);
}

/// Has a thread of the tree call `resume` at that time, if a runtime is up.
pub(super) fn look_again(at: Instant) {
    if let Some(tree) = TREE.get() {
        (tree.look_again)(at);
    }
}

fn start(id: u64, name: &str) -> std::io::Result<()> {
    #[cfg(all(test, not(selvedge_model)))]
    super::tests::may_start()?;
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
            let must_leave = self.is_asked();
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
        self.member = (tree.join)(&self.name, wake_all);
    }

    fn leave(&mut self) {
        let Some(member) = self.member.take() else { return };
        TIMER.state.lock().left = Some(member.tree);
        drop(member.guard);
    }

    fn is_asked(&self) -> bool {
        self.member.as_ref().is_some_and(|member| (member.is_asked)())
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

/// Wakes all threads of the timer, because one was asked to stop.
fn wake_all() {
    // Under the lock: each thread is either before its check of `is_asked`, or in the wait.
    let _state = TIMER.state.lock();
    TIMER.leader.notify_all();
    TIMER.deputy.notify_all();
}

/// Lets a Till go whose time has come, and gives what is to be run then.
fn fire(core: &Core) -> Vec<Job> {
    let Some(fired) = core.set_gone(|| KeptReason::None) else { return Vec::new() };
    core.wake(fired.sleepers);
    let users = fired.targets.run_own().into_iter();
    users.flat_map(Targets::in_order).map(|(target, leaf)| Job::Target(target, leaf)).collect()
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
