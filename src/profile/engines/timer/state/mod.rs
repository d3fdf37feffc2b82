//! Which threads have a slot, and everything that is done to them from outside of the handler. All
//! of it under one lock.
//!
//! Invariants
//! 1. A slot that the table names is in `sampled`, so it lives. It leaves `sampled` after its timer is
//!    deleted, its entry null, and a grace over.
//! 2. A thread in `sampled` has not got past its `ended` call: its id, clock and stack are its own.
//!    Unregistered, which call nothing, are another matter: see `state/unregistered.rs`.
//! 3. After `stop`, `sampled` is empty and stays so.

mod blocking;
mod cpu;
mod deferred;
mod obstacles;
mod unregistered;
mod wall;

use super::accounting::{Accounting, ThreadClock, ThreadSnapshot, WallState};
use super::handler;
use super::ids::{ById, random};
use super::modules::ModuleList;
use super::slot::{Arena, Slot, StackBounds};
use super::table::{self, Claim, Grace};
use super::triggers::{Source, TimerCheck, Trigger, Triggers};
use super::unwind::Modules;
use super::wall_schedule::{Tick, Visit, WallSchedule};
use crate::os::CpuClock;
use crate::profile::engines::Nanos;
use crate::profile::loader::History;
use crate::thread::Thread;
use crate::wait;
use deferred::Deferred;
use obstacles::Obstacles;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use unregistered::Unregistered;

/// Slots kept for the next threads: those of a pool that comes and goes.
const MAX_SPARE_ARENAS: usize = 32;

/// Threads whose clocks the sampler looks at in one round although nothing tells it to, at two
/// microseconds each.
const CLOCKS_PER_ROUND: u64 = 32;

/// With a new thread each so often, there are many of them.
const FAST_SPAWNING: Duration = Duration::from_micros(500);

/// The maximum number of unneeded timers that the sampler has not deleted yet: each takes a signal
/// from the user's limit.
const MAX_UNNEEDED_TIMERS: usize = 64;

pub(super) struct State {
    pub(super) accounting: Accounting,
    triggers: Triggers,
    began: Instant,
    running: bool,
    /// By kernel thread id.
    sampled: ById<i32, SampledThread>,
    /// The kernel thread id and the account of each thread of the tree that is in `sampled`, by its id
    /// there.
    registered: ById<u64, (i32, usize)>,
    spare_arenas: Vec<Arena>,
    module_list: ModuleList,
    /// Module lists that a handler may still be using.
    retired_modules: Vec<(Box<Modules>, Vec<Grace>)>,
    /// Waits that a handler may still be reading.
    retired_waits: Vec<(Arc<wait::Slot>, Grace)>,
    /// For the threads' first expiries, and how many were drawn.
    seed: u64,
    drawn: u64,
    /// Moves on with each round: for threads that are looked at in turn.
    round: u64,
    /// New threads since the last round, and whether there were many in the last one.
    new_threads: u64,
    is_spawning_fast: bool,
    /// By their ids in the tree.
    deferred: ById<u64, Deferred>,
    /// Above the tick's rate: the threads that have come since the last round. The sooner they are
    /// judged, the less they lose.
    unchecked: Vec<i32>,
    /// By the wall clock only.
    wall_schedule: WallSchedule,
    visits: Vec<Visit>,
    /// The kernel's id of the sampler's own thread.
    sampler: Option<i32>,
    /// To be deleted by the sampler. Deleting is half of what a timer costs a thread that ends at
    /// once.
    unneeded_timers: Vec<Trigger>,
    /// `None`: unregistered threads were not asked for.
    unregistered: Option<Unregistered>,
    obstacles: Obstacles,
    buffer: Vec<u64>,
    waited: Vec<wait::Waited>,
}

struct SampledThread {
    slot: Arc<Slot>,
    entry: Claim,
    trigger: Option<Trigger>,
    timer_check: TimerCheck,
    clock: CpuClock,
    thread_clock: ThreadClock,
    /// By the wall clock only.
    wall_state: Option<WallState>,
    /// Where it publishes what it waits for; a unregistered thread never does.
    waits: Arc<wait::Slot>,
    /// In whose name it runs now, the last of those in charge.
    handles: Vec<Thread>,
}

impl State {
    /// With the modules listed and published, and no thread yet.
    pub(super) fn new(accounting: Accounting, triggers: Triggers, began: Instant, unregistered: bool) -> State {
        let mut state = State {
            accounting,
            triggers,
            began,
            running: true,
            sampled: ById::default(),
            registered: ById::default(),
            spare_arenas: Vec::new(),
            module_list: ModuleList::default(),
            retired_modules: Vec::new(),
            retired_waits: Vec::new(),
            seed: RandomState::new().hash_one(began),
            drawn: 0,
            round: 0,
            new_threads: 0,
            is_spawning_fast: false,
            deferred: ById::default(),
            unchecked: Vec::new(),
            wall_schedule: WallSchedule::default(),
            visits: Vec::new(),
            sampler: None,
            unneeded_timers: Vec::new(),
            unregistered: unregistered.then(Unregistered::new),
            obstacles: Obstacles::default(),
            buffer: Vec::new(),
            waited: Vec::new(),
        };
        state.renew_modules();
        state
    }

    /// The thread is sampled from now on. On the thread itself, or from outside while it lives.
    /// `is_new`: its OS thread is as well, so that its CPU clock began with it.
    pub(super) fn attach(&mut self, thread: &Thread, is_new: bool) {
        // A thread that has ended is about to call `detach`, or has called it, or found no
        // observer.
        if !self.running || self.registered.contains_key(&thread.id()) || thread.ended_at().is_some() {
            return;
        }
        let Some(clock) = thread.cpu_clock() else { return };
        if is_new {
            self.new_threads += 1;
        }
        let first = self.draw_first_expiry();
        if !(is_new && self.defer(thread, clock.thread(), first)) {
            self.register(thread, is_new, first);
        }
    }

    /// When a thread is due for the first time.
    fn draw_first_expiry(&mut self) -> Duration {
        self.drawn += 1;
        self.triggers.first_expiry(random(self.seed, self.drawn))
    }

    /// Gives the thread an account and, unless it has one by another name, a slot. It is due after
    /// `first`, since now or, if it is new, since its beginning.
    fn register(&mut self, thread: &Thread, is_new: bool, first: Duration) {
        let Some((clock, os_thread)) = thread.cpu_clock().zip(thread.os_thread()) else { return };
        let id = clock.thread();
        self.attach_deferred_as(id);
        if self.sampled.get(&id).is_some_and(SampledThread::is_unregistered) {
            // It is one no more.
            self.end_unregistered(id);
        }
        // Reading a clock costs a short thread a fiftieth of its life.
        let now = if is_new { Some(0) } else { nanos(clock) };
        let Some((now, entry)) = now.zip(table::claim(id)) else { return };
        let stack = thread.stack().unwrap_or(0..0);
        let is_outside = |sampled: &SampledThread| !matches!(sampled.slot.stack(), StackBounds::Known(known) if known.end == stack.end);
        let is_other = |sampled: &SampledThread| is_new || now < sampled.thread_clock.last() || is_outside(sampled);
        if self.sampled.get(&id).is_some_and(is_other) {
            // A guard was leaked, its thread has ended, and the kernel has given its id to this
            // one.
            self.end_unreported(id);
        }
        let account = self.accounting.open(thread.path().into(), Some(os_thread), self.time(thread.started_at()));
        self.accounting.is_spawned_at(account, thread.spawned_at());
        self.registered.insert(thread.id(), (id, account));
        if self.sampled.contains_key(&id) {
            // The thread is known by another name so far.
            self.empty(id, None, None);
            self.settle(id, None);
            if let Some(sampled) = self.sampled.get_mut(&id) {
                sampled.thread_clock.put_in_charge(account);
                sampled.handles.push(thread.clone());
                if sampled.wall_state.is_some() {
                    self.wall_schedule.reschedule(id);
                }
            }
            self.show_waits(id, thread);
            return;
        }
        self.add_sampled(
            id,
            entry,
            clock,
            ThreadClock::new(account, now),
            StackBounds::Known(stack),
            Some(thread),
            first,
        );
    }

    /// That thread has a slot from now on, and what sends it its signals, for the first time after
    /// `first`. `thread`: as the tree knows it.
    #[allow(clippy::too_many_arguments)] // three of them are of the tree, the others of the thread
    fn add_sampled(
        &mut self,
        id: i32,
        entry: Claim,
        clock: CpuClock,
        thread_clock: ThreadClock,
        stack: StackBounds,
        thread: Option<&Thread>,
        first: Duration,
    ) {
        let owner = thread.and_then(Thread::os_thread).unwrap_or(0);
        let slot = Arc::new(Slot::new(self.spare_arenas.pop().unwrap_or_default(), owner, stack));
        // SAFETY: the slot is in `sampled` until it was taken from the entry.
        unsafe { entry.set_slot(Arc::as_ptr(&slot)) };
        let wall_state = (self.triggers.source() == Source::Wall).then(|| {
            self.wall_schedule.add(id);
            let since = thread.map_or_else(|| self.now(), |thread| self.wall(thread.started_at()));
            WallState::new(since, self.wall_schedule.tick())
        });
        let trigger = self.triggers.timer(clock, first);
        if self.triggers.is_above_tick() {
            self.unchecked.push(id);
        }
        let waits = Arc::default();
        let timer_check = self.triggers.first_timer_check(trigger.as_ref());
        let handles = thread.cloned().into_iter().collect();
        self.sampled.insert(
            id,
            SampledThread { slot, entry, trigger, timer_check, clock, thread_clock, wall_state, waits, handles },
        );
        if let Some(thread) = thread {
            self.show_waits(id, thread);
        }
    }

    /// Ends the sampling of the thread, and closes its account. Called on the thread itself; for
    /// `main`, on the thread that ends it.
    pub(super) fn detach(&mut self, thread: &Thread) {
        let Some((id, account)) = self.registered.remove(&thread.id()) else { return self.end_deferred(thread) };
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if sampled.thread_clock.owners().eq([account]) {
            // First, so that its handler is not at work any more; what its timer sends from now on
            // finds nothing.
            sampled.entry.clear_slot();
            match sampled.trigger.take() {
                Some(timer @ Trigger::Timer { .. }) if self.unneeded_timers.len() < MAX_UNNEEDED_TIMERS => {
                    self.unneeded_timers.push(timer)
                }
                trigger => self.triggers.end(trigger),
            }
        }
        let ended = thread.ended_at().unwrap_or_else(Instant::now);
        let clock = thread.cpu_time().map(|time| time.as_nanos() as u64);
        self.empty(id, clock, Some(self.wall(ended)));
        self.settle_at(id, clock, self.wall(ended));
        let ended = self.time(ended);
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        // The sampler may have looked at it after its end, before this call got the lock: that time
        // is in the account.
        let looked = sampled.wall_state.as_ref().map_or(ended, |wall_state| wall_state.last() as Nanos);
        self.accounting.end(account, ended.max(looked));
        sampled.handles.retain(|known| known != thread);
        let is_left = sampled.thread_clock.remove(account);
        if let Some(outer) = sampled.handles.last().cloned() {
            if sampled.wall_state.is_some() {
                self.wall_schedule.reschedule(id);
            }
            self.show_waits(id, &outer);
        }
        if is_left {
            self.has_left_tree(id, clock);
            if let Some(sampled) = self.remove_sampled(id)
                && self.spare_arenas.len() < MAX_SPARE_ARENAS
                && let Some(slot) = Arc::into_inner(sampled.slot)
            {
                self.spare_arenas.push(slot.into_arena());
            }
        }
    }

    /// That thread has ended without a word: what it was found to do stays in the books.
    fn end_unreported(&mut self, id: i32) {
        if self.sampled.get(&id).is_some_and(SampledThread::is_unregistered) {
            return self.end_unregistered(id);
        }
        if let Some(sampled) = self.sampled.get_mut(&id) {
            self.triggers.end(sampled.trigger.take());
            sampled.entry.clear_slot();
        }
        self.empty(id, None, None);
        if let Some(sampled) = self.remove_sampled(id) {
            let ended = self.time(Instant::now());
            sampled.thread_clock.owners().for_each(|account| self.accounting.end(account, ended));
        }
        self.registered.retain(|_, (known, _)| *known != id);
    }

    /// Its clock is gone, or behind what it was: the id is another thread's, which must not be
    /// sampled with this one's slot. A clock that the system refuses to read says nothing of the
    /// kind.
    fn end_if_gone(&mut self, id: i32) {
        if self.sampled.get(&id).is_some_and(|sampled| sampled.clock.is_gone() || nanos(sampled.clock).is_some()) {
            self.end_unreported(id);
        }
    }

    /// Removes the thread and wakes its schedule entry; otherwise a reused id would be scheduled
    /// twice.
    fn remove_sampled(&mut self, id: i32) -> Option<SampledThread> {
        let sampled = self.sampled.remove(&id)?;
        if sampled.wall_state.is_some() {
            sampled.waits.end_times();
            sampled.waits.raise_flag();
        }
        Some(sampled)
    }

    /// Ends all sampling and closes the books of all threads.
    pub(super) fn stop(&mut self) {
        // What was loaded since the sampler came by last shall have names too.
        self.renew_modules();
        self.find_blocking();
        self.running = false;
        // The source first, of all of them; only then what has come of it.
        self.unneeded_timers.clear();
        for sampled in self.sampled.values_mut() {
            self.triggers.end(sampled.trigger.take());
        }
        for sampled in self.sampled.values() {
            sampled.entry.clear_slot();
        }
        for id in self.sampled_ids() {
            self.empty(id, None, None);
            self.settle(id, None);
        }
        let mut accounting = std::mem::take(&mut self.accounting);
        self.close_deferred(&mut accounting);
        self.deferred.clear();
        self.close_process(&mut accounting);
        self.accounting = accounting;
        for sampled in self.sampled.values().filter(|sampled| sampled.wall_state.is_some()) {
            sampled.waits.end_times();
        }
        self.sampled.clear();
        self.registered.clear();
        self.spare_arenas = Vec::new();
        // No entry leads to a slot any more, and no handler that found a slot is at work: no
        // handler reads the modules.
        drop(handler::publish(None));
        (self.retired_modules, self.retired_waits) = (Vec::new(), Vec::new());
    }

    /// The kernel ids of the sampled threads.
    fn sampled_ids(&self) -> Vec<i32> {
        self.sampled.keys().copied().collect()
    }

    /// That thread is the sampler.
    pub(super) fn is_sampled_by(&mut self, clock: Option<CpuClock>) {
        self.sampler = clock.map(CpuClock::thread);
    }

    /// Puts into `threads` the threads that the sampler visits in this round. By the CPU clock:
    /// threads with new samples, and some others in turn, since their timers may miss them. By the
    /// wall clock: threads that may have moved.
    pub(super) fn select(&mut self, threads: &mut Vec<i32>) {
        threads.clear();
        self.unneeded_timers.clear();
        self.attach_deferred();
        if self.triggers.source() == Source::Wall {
            let now = self.now();
            self.wall_schedule.next(now, |id| nanos(CpuClock::of_thread(id)), &mut self.visits);
            for Visit { id, unchanged_at } in self.visits.drain(..) {
                threads.push(id);
                if let Some((tick, sampled)) = unchanged_at.zip(self.sampled.get_mut(&id))
                    && let Some(wall_state) = &mut sampled.wall_state
                {
                    self.accounting.account_unchanged(&sampled.thread_clock, wall_state, tick);
                }
            }
            return;
        }
        threads.append(&mut self.unchecked);
        let handlers = (self.sampled.len() as u64).div_ceil(CLOCKS_PER_ROUND).max(1);
        self.round += 1;
        for ((&id, sampled), place) in self.sampled.iter().zip(self.round..) {
            if place.is_multiple_of(handlers) || !sampled.slot.is_empty() {
                threads.push(id);
            }
        }
    }

    /// Whether so many threads have come since the last round, `pause` ago, that the next one is to
    /// be at the next tick.
    pub(super) fn is_spawning_fast(&mut self, pause: Duration) -> bool {
        let new_threads = std::mem::take(&mut self.new_threads);
        self.is_spawning_fast = new_threads * FAST_SPAWNING.as_nanos() as u64 >= pause.as_nanos() as u64;
        self.is_spawning_fast
    }

    /// The sampler's visit to one thread.
    pub(super) fn visit(&mut self, id: i32) {
        match self.triggers.source() {
            Source::Wall => self.tick(id),
            Source::Cpu { .. } => {
                self.empty(id, None, None);
                self.check_timer(id);
            }
        }
    }

    /// Moves what the thread's handler has written into the books; by the wall clock, its waits
    /// too. `clock`: its CPU clock, if that is known. `until`: it has ended by then.
    fn empty(&mut self, id: i32, clock: Option<u64>, until: Option<u64>) {
        self.count_lost(id);
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if sampled.wall_state.is_some() {
            self.snapshot_by_wall(id, clock, until, false);
        } else if !sampled.slot.is_empty() {
            let (accounting, thread_clock) = (&mut self.accounting, &mut sampled.thread_clock);
            sampled.slot.read(&mut self.buffer, |record| {
                accounting.record(thread_clock, record.clock, record.ending, record.addresses);
            });
        }
    }

    /// Before the records are read: their clocks cover what is lost.
    fn count_lost(&mut self, id: i32) {
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        // Relaxed: a count.
        let lost = sampled.slot.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.accounting.lost(&mut sampled.thread_clock, lost);
        }
    }

    /// Closes the books of the account in charge of that thread, for now; `clock`: its CPU clock,
    /// if that is known.
    fn settle(&mut self, id: i32, clock: Option<u64>) {
        let now = self.now();
        self.settle_at(id, clock, now);
    }

    fn settle_at(&mut self, id: i32, clock: Option<u64>, now: u64) {
        let now = (now, self.wall_schedule.tick());
        if let Some(sampled) = self.sampled.get_mut(&id) {
            let (mut thread_clock, mut wall_state) = (sampled.thread_clock.clone(), sampled.wall_state.clone());
            settle(&mut self.accounting, sampled, clock, &mut thread_clock, wall_state.as_mut(), now);
            (sampled.thread_clock, sampled.wall_state) = (thread_clock, wall_state);
        }
    }

    /// The books as if the recording ended now.
    pub(super) fn closed_copy(&mut self) -> Accounting {
        for id in self.sampled_ids() {
            self.empty(id, None, None);
        }
        let (mut copy, now) = (self.accounting.clone(), (self.now(), self.wall_schedule.tick()));
        for sampled in self.sampled.values() {
            settle(
                &mut copy,
                sampled,
                None,
                &mut sampled.thread_clock.clone(),
                sampled.wall_state.clone().as_mut(),
                now,
            );
        }
        self.close_deferred(&mut copy);
        self.close_process(&mut copy);
        copy
    }

    /// Lists the modules again if something was loaded or unloaded, and frees lists that are not in
    /// use any more.
    pub(super) fn renew_modules(&mut self) {
        if !self.running {
            return;
        }
        self.retired_modules.retain(|(_, graces)| !graces.iter().all(Grace::is_over));
        self.free_retired_waits();
        let Some(modules) = self.module_list.renew() else { return };
        let generation = self.module_list.history().generation();
        if generation != self.accounting.generation() {
            // What was met so far was met among the libraries of before.
            for id in self.sampled_ids() {
                self.empty(id, None, None);
            }
            self.accounting.begin_generation(generation);
        }
        if let Some(old) = handler::publish(Some(Box::new(modules))) {
            let graces = self.sampled.values().map(|sampled| sampled.entry.grace()).collect();
            self.retired_modules.push((old, graces));
        }
    }

    /// Which code was loaded, now and before.
    pub(super) fn history(&self) -> History {
        self.module_list.history().clone()
    }

    /// What kept threads from being sampled, as a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        let all: Vec<String> = self.triggers.trouble().into_iter().chain(self.obstacles.trouble()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Threads whose timers were not enough, and all that they had.
    pub(super) fn inexact(&self) -> u64 {
        self.triggers.inexact()
    }

    /// The warnings to log, once. The caller logs them without the lock, since appenders are the
    /// user's.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        let mut warnings = self.triggers.take_warnings();
        warnings.append(&mut self.obstacles.take_warnings());
        warnings
    }

    /// The wall clock, since the recording began.
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn time(&self, time: Instant) -> Nanos {
        match time.checked_duration_since(self.began) {
            Some(after) => after.as_nanos() as Nanos,
            None => -(self.began.duration_since(time).as_nanos() as Nanos),
        }
    }
}

fn settle(
    accounting: &mut Accounting,
    sampled: &SampledThread,
    clock: Option<u64>,
    thread_clock: &mut ThreadClock,
    wall_state: Option<&mut WallState>,
    now: (u64, Tick),
) {
    let clock = clock.or_else(|| nanos(sampled.clock)).unwrap_or(0);
    match wall_state {
        None => accounting.settle(thread_clock, clock),
        Some(wall_state) => {
            let snapshot = ThreadSnapshot { clock, shown: sampled.waits.shown(), ..ThreadSnapshot::default() };
            accounting.settle_wall(thread_clock, wall_state, now, &snapshot);
        }
    }
}

fn nanos(clock: CpuClock) -> Option<u64> {
    clock.read().map(|time| time.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
