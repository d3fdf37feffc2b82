//! A batch of stack requests: sends them, a few at a time, and collects the replies. Never waits
//! for a thread while it holds the batch's lock.
//!
//! Invariants
//! 1. One batch at a time (`super::BATCH`).
//! 2. A request that the table names is in its target's `Delivery::Sent`, so it lives. It is
//!    changed, sent again or freed only after its entry is null and a grace is over.
//! 3. A thread is sent a request while it has not got past its `ended` call, which waits for
//!    `Batch::state`: its id and its stack are its own. Past that call, nothing of the batch leads
//!    to it any more. Each thread that can be sent a request makes that call on itself
//!    (`thread/tree/leave.rs`), also if its guard was leaked.
//! 4. Only the call of `request_stacks` that made a batch keeps it alive.

use super::replies;
use super::request::StackRequest;
use crate::model::locks::Mutex;
use crate::os::fork;
use crate::os::tasks::{self, Copied};
use crate::os::{sigprof, task};
use crate::profile::engines::timer::table::{self, Claim, Grace};
use crate::profile::engines::timer::unwind::Modules;
use crate::profile::raw::Reply;
use crate::thread::{Thread, observe};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A batch is given up this long after its last reply.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// The maximum duration of a batch: a thousand threads that all want the processor need a while to
/// come to it.
const LONGEST: Duration = Duration::from_secs(2);
/// The number of requests that are out at once, of 35 KiB each. Those out for longer than `SLOW` do
/// not count.
const AT_ONCE: usize = 64;
/// The number of requests that are out at once, all counted.
const AT_MOST: usize = 128;
const SLOW: Duration = Duration::from_millis(10);
/// The longest sleep for replies: threads that could not be sent a request are tried again.
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

/// Requests to some threads, and an observer of these threads' ends.
pub(super) struct Batch {
    state: Mutex<BatchState>,
    /// The generation of the requesting process. A forked child has this in memory as well.
    generation: u32,
}

struct BatchState {
    targets: Vec<Target>,
    /// Indexes into `targets`, by the threads' ids in the tree.
    by_thread: HashMap<u64, usize>,
    /// The index of the first target that was not tried yet.
    next: usize,
    /// The indexes of unsent targets that could not take a signal when they were tried, each with
    /// the reason.
    postponed: Vec<(usize, &'static str)>,
    /// The indexes of targets in `Delivery::Sent`.
    sent: Vec<usize>,
    /// Requests to be used again.
    free: Vec<Arc<StackRequest>>,
    /// Requests removed from their entries, with a grace that is not over.
    in_grace: Vec<(Arc<StackRequest>, Grace)>,
    modules: Arc<Modules>,
}

/// An OS thread, and the threads of the tree that it is registered as.
struct Target {
    /// The kernel's id.
    id: i32,
    /// Its `pthread_t`; 0 for an unregistered thread.
    os_thread: u64,
    stack: Range<u64>,
    /// Its stack pointer in its reply; 0 before that.
    stack_pointer: u64,
    /// The handles that have not ended.
    alive: Vec<Thread>,
    delivery: Delivery,
}

impl Target {
    fn new(id: i32, os_thread: u64, stack: Range<u64>) -> Target {
        Target { id, os_thread, stack, stack_pointer: 0, alive: Vec::new(), delivery: Delivery::Unsent }
    }
}

enum Delivery {
    Unsent,
    Sent { entry: Claim, request: Arc<StackRequest>, since: Instant },
    Done(Reply),
}

impl Batch {
    /// Also returns, for each of the threads and then of the unregistered threads, the index of its
    /// target. `None`: it has none.
    pub(super) fn new(threads: &[Thread], unregistered: &[i32], modules: Arc<Modules>) -> (Batch, Vec<Option<usize>>) {
        let mut targets: Vec<Target> = Vec::with_capacity(threads.len() + unregistered.len());
        let (mut by_id, mut by_thread) = (HashMap::new(), HashMap::new());
        let mut place = |thread: &Thread| {
            let (clock, os_thread) = thread.cpu_clock().zip(thread.os_thread())?;
            let place = *by_id.entry(clock.thread()).or_insert(targets.len());
            if place == targets.len() {
                let (id, stack) = (clock.thread(), thread.stack().unwrap_or(0..0));
                targets.push(Target::new(id, os_thread, stack));
            }
            targets[place].alive.push(thread.clone());
            by_thread.insert(thread.id(), place);
            Some(place)
        };
        let mut places: Vec<Option<usize>> = threads.iter().map(&mut place).collect();
        for &id in unregistered {
            // A thread that has joined the tree meanwhile is a target of the tree already.
            let is_new = !by_id.contains_key(&id);
            places.push(is_new.then_some(targets.len()));
            if is_new {
                targets.push(Target::new(id, 0, 0..0));
            }
        }
        let (sent, free, in_grace) = (Vec::new(), Vec::new(), Vec::new());
        let postponed = Vec::new();
        let state = BatchState { targets, by_thread, next: 0, postponed, sent, free, in_grace, modules };
        (Batch { state: Mutex::new(state), generation: fork::generation() }, places)
    }

    /// Finds the mappings around the stack pointers of unregistered threads, which are their
    /// stacks. Returns `true` if requests must be sent to them once more.
    pub(super) fn find_stacks(&self) -> bool {
        let mut state = self.state.lock();
        let has_replied = |target: &Target| target.os_thread == 0 && target.stack_pointer != 0;
        if !state.targets.iter().any(has_replied) || Copied::probe().is_err() {
            return false;
        }
        let mappings = tasks::mappings();
        for target in state.targets.iter_mut().filter(|target| has_replied(target)) {
            if let Some(stack) = tasks::around(&mappings, target.stack_pointer) {
                (target.stack, target.delivery) = (stack, Delivery::Unsent);
            }
        }
        state.next = 0;
        true
    }

    /// Sends the requests and collects the replies, until all have come or patience is over.
    pub(super) fn run(&self) {
        let began = Instant::now();
        let mut last_reply = began;
        loop {
            // Before the replies are collected: what comes later ends the sleep.
            let replied = replies::count();
            let mut state = self.state.lock();
            let now = Instant::now();
            if state.collect() {
                last_reply = now;
            }
            state.send(now);
            if state.sent.is_empty() && state.postponed.is_empty() && state.next == state.targets.len() {
                return;
            }
            if now.duration_since(last_reply) > PATIENCE || now.duration_since(began) > LONGEST {
                return state.give_up();
            }
            let sent = state.sent.len();
            drop(state);
            // Half of them: the other threads reply while the next requests are sent.
            replies::wait(replied, sent.div_ceil(2).max(1) as u32, LONGEST_SLEEP);
        }
    }

    /// The replies of all targets, and the requests whose handlers may still be at work. A thread
    /// that ends now may still hold the batch, so it is emptied here: nothing large stays with it
    /// or is dropped by that thread.
    pub(super) fn end(&self) -> (Vec<Reply>, Vec<(Arc<StackRequest>, Grace)>) {
        let (in_grace, targets, by_thread) = {
            let mut state = self.state.lock();
            let targets = std::mem::take(&mut state.targets);
            state.next = 0;
            state.free.clear();
            (std::mem::take(&mut state.in_grace), targets, std::mem::take(&mut state.by_thread))
        };
        drop(by_thread);
        let reply = |target: Target| match target.delivery {
            Delivery::Done(reply) => reply,
            Delivery::Unsent | Delivery::Sent { .. } => Reply::Silent,
        };
        (targets.into_iter().map(reply).collect(), in_grace)
    }
}

impl BatchState {
    /// Takes the replies that have come. Returns `true` if there is one.
    fn collect(&mut self) -> bool {
        let (sent, before) = (std::mem::take(&mut self.sent), self.sent.len());
        for place in sent {
            let Delivery::Sent { request, .. } = &self.targets[place].delivery else { continue };
            match request.read_reply() {
                Some((reply, pointer)) => self.finish_with_pointer(place, reply, pointer),
                None => self.sent.push(place),
            }
        }
        self.reclaim();
        self.sent.len() < before
    }

    /// Sends as many requests as may be out at once.
    fn send(&mut self, now: Instant) {
        let is_slow = |place: &&usize| {
            let delivery = &self.targets[**place].delivery;
            matches!(delivery, Delivery::Sent { since, .. } if now.duration_since(*since) > SLOW)
        };
        let mut quick = self.sent.len() - self.sent.iter().filter(is_slow).count();
        for (place, _) in std::mem::take(&mut self.postponed) {
            self.send_one(place, now);
        }
        while self.next < self.targets.len() && quick < AT_ONCE && self.sent.len() < AT_MOST {
            let place = self.next;
            self.next += 1;
            quick += usize::from(self.send_one(place, now));
        }
    }

    /// Sends a request to the target, if it can take a signal now. Returns `true` if it was sent.
    fn send_one(&mut self, place: usize, now: Instant) -> bool {
        let target = &mut self.targets[place];
        let Delivery::Unsent = &target.delivery else { return false };
        // A thread with `ended_at` set ended before we registered, or is blocked on our lock in
        // `ended`. No other thread can end while we hold it.
        target.alive.retain(|thread| thread.ended_at().is_none());
        let entry = table::claim(target.id).filter(|_| !target.alive.is_empty() || target.os_thread == 0);
        let Some(entry) = entry else {
            target.delivery = Delivery::Done(Reply::Ended);
            return false;
        };
        // A signal to a thread that cannot take it would stay pending, for the thread's own
        // `sigwait` perhaps.
        if let Some(silence) = task::read(target.id).and_then(task::Task::silence) {
            match silence {
                task::Silence::MayPass(why) => self.postponed.push((place, why)),
                task::Silence::Lasts(why) => target.delivery = Delivery::Done(Reply::Unavailable(why.into())),
            }
            return false;
        }
        let mut request = self.free.pop().unwrap_or_else(|| Arc::new(StackRequest::new(self.modules.clone())));
        let Some(fresh) = Arc::get_mut(&mut request) else { return false };
        fresh.open(target.os_thread, target.stack.clone());
        // SAFETY: the request lives in the target, and after that in `in_grace`, until it was
        // cleared from the entry and the grace is over.
        unsafe { entry.set_request(Arc::as_ptr(&request)) };
        target.delivery = Delivery::Sent { entry, request, since: now };
        self.sent.push(place);
        let Err(cause) = sigprof::send_request(target.id) else { return true };
        self.sent.pop();
        let reply = match sigprof::is_no_thread(&cause) {
            true => Reply::Ended,
            false => Reply::Unavailable(format!("the system refuses to send it SIGPROF: {cause}")),
        };
        self.finish(place, reply);
        false
    }

    fn finish_with_pointer(&mut self, place: usize, reply: Reply, stack_pointer: u64) {
        self.targets[place].stack_pointer = stack_pointer;
        self.finish(place, reply);
    }

    /// Keeps the reply of a target that is not in `sent` any more, and clears its request.
    fn finish(&mut self, place: usize, reply: Reply) {
        let before = std::mem::replace(&mut self.targets[place].delivery, Delivery::Done(reply));
        if let Delivery::Sent { entry, request, .. } = before {
            let grace = entry.clear_request();
            self.in_grace.push((request, grace));
            self.reclaim();
        }
    }

    /// Requests that no handler uses any more may be sent again.
    fn reclaim(&mut self) {
        let over = self.in_grace.extract_if(.., |(_, grace)| grace.is_over());
        self.free.extend(over.map(|(request, _)| request));
    }

    /// Takes the replies that are there now, and waits for no more.
    fn give_up(&mut self) {
        for place in std::mem::take(&mut self.sent) {
            let Delivery::Sent { request, .. } = &self.targets[place].delivery else { continue };
            let (reply, pointer) = request.read_reply().unwrap_or((Reply::Silent, 0));
            self.finish_with_pointer(place, reply, pointer);
        }
        for (place, why) in std::mem::take(&mut self.postponed) {
            self.finish(place, Reply::Unavailable(why.into()));
        }
    }
}

impl observe::Observer for Batch {
    fn started(&self, _: &Thread) {}

    /// Called by the ending thread (for `main`, by the thread that ends it): from here on it is
    /// sent no request, and no request leads to it.
    fn ended(&self, thread: &Thread) {
        // In a forked child, the lock may be held by a thread that is not there.
        if fork::generation() != self.generation {
            return;
        }
        let mut state = self.state.lock();
        let Some(&place) = state.by_thread.get(&thread.id()) else { return };
        state.targets[place].alive.retain(|known| known != thread);
        if state.targets[place].alive.is_empty() && !matches!(state.targets[place].delivery, Delivery::Done(_)) {
            state.sent.retain(|&sent| sent != place);
            state.postponed.retain(|&(postponed, _)| postponed != place);
            state.finish(place, Reply::Ended);
        }
    }
}
