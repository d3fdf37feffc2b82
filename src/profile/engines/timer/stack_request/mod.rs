//! Stack requests: asks threads for their present stacks, while they run, wait, or are sampled by a
//! recording. The recording does not notice. The protocol stands in `profile/README.md`.
//!
//! Invariants
//! 1. One round of requests at a time (`BATCH`).
//! 2. A request that the table names is in its target's `Delivery::Sent`, so it lives. It is changed,
//!    asked again or freed only after its entry is null and a grace is over.
//! 3. A thread is asked while it has not got past its `ended` call, which waits for `Batch::state`:
//!    its id and its stack are its own. Past it, nothing of the round leads to it any more. Each
//!    thread that can be asked makes that call on itself (`thread/tree/leave.rs`), also if its
//!    guard was leaked.
//! 4. Nothing keeps a round alive but the call of `request_stacks` that made it.

use super::handler;
use super::modules::{ModuleList, learn_start_of_threads};
use super::slot::{DEEPEST, part_in_use};
use super::table::{self, Claim, Grace};
use super::unwind::{Cache, Memory, Modules, Registers};
use crate::model::locks::Mutex;
use crate::os::fork::{self, PerProcess};
use crate::os::tasks::{self, Copied};
use crate::os::{sigprof, task};
use crate::profile::describe_handler::describe_handler;
use crate::profile::engines::{Ending, Reply};
use crate::thread::{Thread, observe};
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// How long threads may keep silent, from the last answer of any of them.
const PATIENCE: Duration = Duration::from_millis(250);
/// And how long all of it may take: a thousand threads that all want the processor need a while to
/// come to it.
const LONGEST: Duration = Duration::from_secs(2);
/// So many are asked at once, each with a request of 35 KiB. More, once some have kept silent for
/// `SLOW`.
const AT_ONCE: usize = 16;
const AT_MOST: usize = 64;
const SLOW: Duration = Duration::from_millis(10);

/// Held during a round. In it: what handlers were still at work with when a round ended, which
/// takes a thread that is given no processor in the middle of its handler.
static BATCH: PerProcess<Mutex<Retired>> = PerProcess::new(Mutex::new(Vec::new()), Mutex::default);

type Retired = Vec<(Arc<StackRequest>, Grace)>;

const OPEN: u8 = 0;
const REPLIED: u8 = 1;

/// What one thread's handler needs to say where the thread is.
pub(super) struct StackRequest {
    /// | value | meaning | stored by |
    /// |---|---|---|
    /// | `OPEN` | `cache` and `answer` are the handler's | the asking thread, before the table names the request |
    /// | `REPLIED` | `answer` is whole; the handler touches nothing any more | the handler |
    state: AtomicU8,
    /// The `pthread_t` of the thread that is asked: no other thread answers. 0 for a thread that is
    /// not in the tree, of which only the id is known.
    owner: u64,
    /// Of a thread that is not in the tree: what was found mapped around the stack pointer of its
    /// first answer, which may be otherwise by now. Empty until then.
    stack: Range<u64>,
    modules: Arc<Modules>,
    cache: UnsafeCell<Cache>,
    copied: UnsafeCell<Copied>,
    stack_found: UnsafeCell<RawStack>,
}

struct RawStack {
    addresses: [u64; DEEPEST as usize],
    length: usize,
    ending: Ending,
    stack_pointer: u64,
}

// SAFETY: `cache`, `copied` and `answer` are not Sync. They are reached in `answer` only while
// `OPEN`, by the one handler of the one thread whose entry names this; and in `read` only once
// `REPLIED`, after which that handler does not touch them.
unsafe impl Sync for StackRequest {}
// SAFETY: nothing in it belongs to a thread: memory and numbers.
unsafe impl Send for StackRequest {}

impl StackRequest {
    fn new(modules: Arc<Modules>) -> StackRequest {
        let stack_found =
            RawStack { addresses: [0; DEEPEST as usize], length: 0, ending: Ending::Leaf, stack_pointer: 0 };
        StackRequest {
            state: AtomicU8::new(OPEN),
            owner: 0,
            stack: 0..0,
            modules,
            cache: UnsafeCell::default(),
            copied: UnsafeCell::new(Copied::new()),
            stack_found: UnsafeCell::new(stack_found),
        }
    }

    /// Returns `true` if the request is for the thread with that `pthread_t`.
    ///
    /// # Signal safety
    /// Safe: a comparison.
    pub(super) fn is_for(&self, thread: u64) -> bool {
        self.owner == thread || self.owner == 0
    }

    /// Writes down where the thread was interrupted, once.
    ///
    /// # Safety
    /// - The caller is the signal handler of the thread whose entry names this, and
    ///   [`is_for`](Self::is_for) it is `true`.
    /// - That handler does not interrupt itself.
    /// - `registers` are the registers that it interrupted.
    ///
    /// # Signal safety
    /// Safe: no lock, no allocation, no thread-local, no panic that we know how to cause. Calls
    /// `Modules::walk`, which reads memory by itself or by `process_vm_readv`, and asks the kernel
    /// whether code can be read.
    pub(super) unsafe fn reply(&self, registers: &Registers) {
        // Relaxed: whatever was stored before the entry named this is seen by the load that found
        // it there; since then only this handler stores.
        if self.state.load(Ordering::Relaxed) != OPEN {
            return;
        }
        // SAFETY: `OPEN`: only this handler uses them, and the caller's word is that it is not
        // within itself. So each reference is the only one to its cell.
        let (cache, copied, found) =
            unsafe { (&mut *self.cache.get(), &mut *self.copied.get(), &mut *self.stack_found.get()) };
        let (mut length, pointer) = (0, registers.stack_pointer());
        let mut push = |address| {
            if let Some(place) = found.addresses.get_mut(length) {
                *place = address;
                length += 1;
            }
            length < DEEPEST as usize
        };
        let ending = match part_in_use(registers, &self.stack) {
            (Some(part), own) => {
                let memory = if self.owner == 0 {
                    Memory::copied(part, own, copied)
                } else {
                    // SAFETY: `stack` is the stack of the thread with that `pthread_t`, which is
                    // the caller's: so what the thread uses of it is mapped; and of its alternate
                    // stack, if it runs there, what lies above the stack pointer. The thread writes
                    // to neither while its handler runs.
                    unsafe { Memory::of_this_thread(part, own) }
                };
                self.modules.walk(registers, memory, cache, push)
            }
            (None, _) => {
                push(registers.instruction());
                Ending::Leaf
            }
        };
        (found.length, found.ending, found.stack_pointer) = (length, ending, pointer);
        // Release: a thread that sees this sees the whole answer.
        self.state.store(REPLIED, Ordering::Release);
    }

    /// The reply, and where the thread's stack pointer was.
    fn read_reply(&self) -> Option<(Reply, u64)> {
        // Acquire: with the Release in `answer`.
        if self.state.load(Ordering::Acquire) != REPLIED {
            return None;
        }
        // SAFETY: `REPLIED`: the handler does not touch it any more, and only `&mut` makes it
        // `OPEN` again.
        let found = unsafe { &*self.stack_found.get() };
        let addresses = found.addresses[..found.length].to_vec();
        Some((Reply::Stack { addresses, ending: found.ending }, found.stack_pointer))
    }
}

/// Asks each of the threads, and then the threads with the kernel ids `unregistered`, for its stack, and
/// waits for the answers: a fraction of a millisecond for a sleeping thread, longer for a thread
/// that waits for a processor, `PATIENCE` for a thread that does not answer. Interrupted system
/// calls are restarted where the kernel can do that.
///
/// # Errors
/// Why no thread can be asked now, as a part of a sentence.
pub(in crate::profile::engines) fn request_stacks(
    threads: &[Thread],
    unregistered: &[i32],
) -> Result<Vec<Reply>, String> {
    learn_start_of_threads();
    let Some(mut retired) = BATCH.try_lock_for(PATIENCE) else {
        return Err("another dump is being made".into());
    };
    retired.retain(|(_, grace)| !grace.is_over());
    match handler::anothers() {
        Ok(None) => {}
        Ok(Some(other)) => {
            return Err(format!(
                "SIGPROF, by which threads are state, has a handler already: {}",
                describe_handler(other)
            ));
        }
        Err(cause) => return Err(format!("the system does not tell what handles SIGPROF: {cause}")),
    }
    handler::install().map_err(|cause| format!("the system refuses a handler for SIGPROF: {cause}"))?;
    let modules = Arc::new(ModuleList::default().renew().unwrap_or_default());
    let (batch, places) = Batch::new(threads, unregistered, modules);
    let batch = Arc::new(batch);
    let Some(observer) = observe::listen(Arc::downgrade(&batch) as _, PATIENCE) else {
        return Err("the list of observers of threads is in use".into());
    };
    batch.run();
    if !unregistered.is_empty() && batch.find_stacks() {
        batch.run();
    }
    observe::unlisten(observer, PATIENCE);
    // A thread that ends now may still hold the round: nothing of weight shall stay with it, nor be
    // dropped by it.
    let (mut in_grace, targets, by_thread) = {
        let mut state = batch.state.lock();
        let targets = std::mem::take(&mut state.targets);
        state.next = 0;
        state.free.clear();
        (std::mem::take(&mut state.in_grace), targets, std::mem::take(&mut state.by_thread))
    };
    drop(by_thread);
    retired.append(&mut in_grace);
    let reply = |place: usize| match &targets[place].delivery {
        Delivery::Done(reply) => reply.clone(),
        Delivery::Unsent | Delivery::Sent { .. } => Reply::Silent,
    };
    let without = |thread: &Thread| match thread.ended_at().is_some() || !thread.has_started() {
        true => Reply::Ended,
        false => Reply::Unavailable(UNKNOWN_END.into()),
    };
    let of_tree = places.iter().zip(threads).map(|(place, thread)| place.map_or_else(|| without(thread), reply));
    let of_others = places[threads.len()..].iter().map(|place| place.map_or(Reply::Ended, reply));
    Ok(of_tree.chain(of_others).collect())
}

/// Why a thread without ids is not asked, as a sentence.
const UNKNOWN_END: &str = "it has joined the tree while its thread-locals were destroyed, where its end is not seen";

struct Batch {
    state: Mutex<BatchState>,
    /// Of the process that asks. A forked child has this in memory as well.
    generation: u32,
}

struct BatchState {
    targets: Vec<Target>,
    /// Index into `targets`, by the thread's id in the tree.
    by_thread: HashMap<u64, usize>,
    /// The first that was not asked yet.
    next: usize,
    /// Indexes of those in `Delivery::Unsent` that could not take a signal when they were looked at,
    /// each with the reason.
    postponed: Vec<(usize, &'static str)>,
    /// Indexes of those in `Delivery::Sent`.
    sent: Vec<usize>,
    free: Vec<Arc<StackRequest>>,
    /// Taken from their entries, with a grace that is not over.
    in_grace: Vec<(Arc<StackRequest>, Grace)>,
    modules: Arc<Modules>,
}

/// A thread of the system, and the threads of the tree that it is.
struct Target {
    id: i32,
    /// Its `pthread_t`; 0 for a thread that is not in the tree.
    os_thread: u64,
    stack: Range<u64>,
    /// Where it was when it answered; 0 if it has not.
    stack_pointer: u64,
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
    /// And for each of the threads, and then of the others, its place among the targets.
    fn new(threads: &[Thread], unregistered: &[i32], modules: Arc<Modules>) -> (Batch, Vec<Option<usize>>) {
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
            // A thread that has joined the tree meanwhile is asked as one of the tree.
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

    /// Looks up what is mapped around the stack pointers of the threads that are not in the tree.
    /// Returns `true` if they are to be asked again.
    fn find_stacks(&self) -> bool {
        let mut state = self.state.lock();
        let is_met = |target: &Target| target.os_thread == 0 && target.stack_pointer != 0;
        if !state.targets.iter().any(is_met) || Copied::probe().is_err() {
            return false;
        }
        let mappings = tasks::mappings();
        for target in state.targets.iter_mut().filter(|target| is_met(target)) {
            if let Some(stack) = tasks::around(&mappings, target.stack_pointer) {
                (target.stack, target.delivery) = (stack, Delivery::Unsent);
            }
        }
        state.next = 0;
        true
    }

    /// Asks, and collects the answers. Never waits for a thread while it holds the lock.
    fn run(&self) {
        let began = Instant::now();
        let (mut last_reply, mut polls) = (began, 0u32);
        loop {
            let mut state = self.state.lock();
            let now = Instant::now();
            if state.collect() {
                (last_reply, polls) = (now, 0);
            }
            state.send(now);
            if state.sent.is_empty() && state.postponed.is_empty() && state.next == state.targets.len() {
                return;
            }
            if now.duration_since(last_reply) > PATIENCE || now.duration_since(began) > LONGEST {
                return state.give_up();
            }
            drop(state);
            polls += 1;
            if polls < 50 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(100)) }
        }
    }
}

impl BatchState {
    /// Returns `true` if a thread has answered.
    fn collect(&mut self) -> bool {
        let (sent, before) = (std::mem::take(&mut self.sent), self.sent.len());
        for place in sent {
            let Delivery::Sent { request, .. } = &self.targets[place].delivery else { continue };
            match request.read_reply() {
                Some((reply, pointer)) => self.replied(place, reply, pointer),
                None => self.sent.push(place),
            }
        }
        self.reclaim();
        self.sent.len() < before
    }

    /// Asks as many as may be asked at once.
    fn send(&mut self, now: Instant) {
        let slow = |place: &&usize| matches!(&self.targets[**place].delivery, Delivery::Sent { since, .. } if now.duration_since(*since) > SLOW);
        let mut quick = self.sent.len() - self.sent.iter().filter(slow).count();
        for (place, _) in std::mem::take(&mut self.postponed) {
            self.send_one(place, now);
        }
        while self.next < self.targets.len() && quick < AT_ONCE && self.sent.len() < AT_MOST {
            let place = self.next;
            self.next += 1;
            quick += usize::from(self.send_one(place, now));
        }
    }

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
        (fresh.owner, fresh.stack) = (target.os_thread, target.stack.clone());
        *fresh.state.get_mut() = OPEN;
        // SAFETY: it stays in the target, and after that in `in_grace`, until it was taken and the
        // grace is over.
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

    fn replied(&mut self, place: usize, reply: Reply, stack_pointer: u64) {
        self.targets[place].stack_pointer = stack_pointer;
        self.finish(place, reply);
    }

    /// Takes the request back from a thread that is not in `sent` any more, and keeps the reply.
    fn finish(&mut self, place: usize, reply: Reply) {
        let before = std::mem::replace(&mut self.targets[place].delivery, Delivery::Done(reply));
        if let Delivery::Sent { entry, request, .. } = before {
            let grace = entry.clear_request();
            self.in_grace.push((request, grace));
            self.reclaim();
        }
    }

    /// What no handler can be using any more may be asked again.
    fn reclaim(&mut self) {
        let over = self.in_grace.extract_if(.., |(_, grace)| grace.is_over());
        self.free.extend(over.map(|(request, _)| request));
    }

    /// Takes the answers that came this instant, and no more.
    fn give_up(&mut self) {
        for place in std::mem::take(&mut self.sent) {
            let Delivery::Sent { request, .. } = &self.targets[place].delivery else { continue };
            let (reply, pointer) = request.read_reply().unwrap_or((Reply::Silent, 0));
            self.replied(place, reply, pointer);
        }
        for (place, why) in std::mem::take(&mut self.postponed) {
            self.finish(place, Reply::Unavailable(why.into()));
        }
    }
}

impl observe::Observer for Batch {
    fn started(&self, _: &Thread) {}

    /// On the thread itself (for `main`, on the thread that ends it): from here on it is not asked,
    /// and no request leads to it.
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

#[cfg(test)]
mod tests;
