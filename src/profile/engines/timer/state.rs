//! Which threads have a slot, and everything that is done to them from outside of the handler. All
//! of it under one lock.
//!
//! Invariants
//! 1. A slot that the table names is in `held`, so it lives. It leaves `held` after its timer is
//!    deleted, its entry null, and a grace over.
//! 2. A thread in `held` has not got past its `ended` call: its id, clock and stack are its own.
//!    Unregistered, which call nothing, are another matter: see `state/unregistered.rs`.
//! 3. After `stop`, `held` is empty and stays so.

mod blocking;
mod deferred;
mod refused;
mod unregistered;
mod wall;

use super::books::{Books, Meter, Seen, Watch};
use super::handler;
use super::ids::{ById, random};
use super::modules::Listed;
use super::slot::{Arena, Slot, Stack};
use super::table::{self, Grace, Place};
use super::triggers::{Judged, Source, Trigger, Triggers};
use super::unwind::Modules;
use super::wall_schedule::{Tick, Visit, WallSchedule};
use crate::os::{CpuClock, task};
use crate::profile::engines::Nanos;
use crate::profile::loader::History;
use crate::thread::Thread;
use crate::wait;
use deferred::Deferred;
use refused::Refused;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use unregistered::Unregistered;

/// Slots kept for the next threads: those of a pool that comes and goes.
const SPARE: usize = 32;

/// Threads whose clocks the sampler looks at in one round although nothing tells it to, at two
/// microseconds each.
const LOOKS: u64 = 32;

/// With a new thread each so often, there are many of them.
const MANY: Duration = Duration::from_micros(500);

/// The maximum number of unneeded timers that the sampler has not deleted yet: each takes a signal
/// from the user's limit.
const DEAD: usize = 64;

pub(super) struct State {
    pub(super) books: Books,
    triggers: Triggers,
    began: Instant,
    running: bool,
    /// By kernel thread id.
    held: ById<i32, Held>,
    /// The kernel thread id and the account of each thread of the tree that is in `held`, by its id
    /// there.
    known: ById<u64, (i32, usize)>,
    spare: Vec<Arena>,
    listed: Listed,
    /// Module lists that a handler may still be using.
    retired: Vec<(Box<Modules>, Vec<Grace>)>,
    /// Waits that a handler may still be reading.
    left_waits: Vec<(Arc<wait::Slot>, Grace)>,
    /// For the threads' first expiries, and how many were drawn.
    seed: u64,
    drawn: u64,
    /// Moves on with each round: for threads that are looked at in turn.
    cursor: u64,
    /// New threads since the last round, and whether there were many in the last one.
    came: u64,
    many_come: bool,
    /// By their ids in the tree.
    deferred: ById<u64, Deferred>,
    /// Above the tick's rate: the threads that have come since the last round. The sooner they are
    /// judged, the less they lose.
    fresh: Vec<i32>,
    /// By the wall clock only.
    wall_schedule: WallSchedule,
    visits: Vec<Visit>,
    /// The kernel's id of the sampler's own thread.
    sampler: Option<i32>,
    /// To be deleted by the sampler. Deleting is half of what a timer costs a thread that ends at
    /// once.
    dead: Vec<Trigger>,
    /// `None`: unregistered threads were not asked for.
    unregistered: Option<Unregistered>,
    refused: Refused,
    buffer: Vec<u64>,
    waited: Vec<wait::Waited>,
}

struct Held {
    slot: Arc<Slot>,
    entry: Place,
    trigger: Option<Trigger>,
    judged: Judged,
    clock: CpuClock,
    meter: Meter,
    /// By the wall clock only.
    watch: Option<Watch>,
    /// Where it publishes what it waits for; a unregistered thread never does.
    waits: Arc<wait::Slot>,
    /// In whose name it runs now, the last of those in charge.
    threads: Vec<Thread>,
}

impl State {
    /// With the modules listed and published, and no thread yet.
    pub(super) fn new(books: Books, triggers: Triggers, began: Instant, unregistered: bool) -> State {
        let mut state = State {
            books,
            triggers,
            began,
            running: true,
            held: ById::default(),
            known: ById::default(),
            spare: Vec::new(),
            listed: Listed::default(),
            retired: Vec::new(),
            left_waits: Vec::new(),
            seed: RandomState::new().hash_one(began),
            drawn: 0,
            cursor: 0,
            came: 0,
            many_come: false,
            deferred: ById::default(),
            fresh: Vec::new(),
            wall_schedule: WallSchedule::default(),
            visits: Vec::new(),
            sampler: None,
            dead: Vec::new(),
            unregistered: unregistered.then(Unregistered::new),
            refused: Refused::default(),
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
        if !self.running || self.known.contains_key(&thread.id()) || thread.ended_at().is_some() {
            return;
        }
        let Some(clock) = thread.cpu_clock() else { return };
        if is_new {
            self.came += 1;
        }
        let first = self.draw();
        if !(is_new && self.defer(thread, clock.thread(), first)) {
            self.take_in(thread, is_new, first);
        }
    }

    /// When a thread is due for the first time.
    fn draw(&mut self) -> Duration {
        self.drawn += 1;
        self.triggers.first_expiry(random(self.seed, self.drawn))
    }

    /// Gives the thread an account and, unless it has one by another name, a slot. It is due after
    /// `first`, since now or, if it is new, since its beginning.
    fn take_in(&mut self, thread: &Thread, is_new: bool, first: Duration) {
        let Some((clock, os_thread)) = thread.cpu_clock().zip(thread.os_thread()) else { return };
        let id = clock.thread();
        self.attach_deferred_as(id);
        if self.held.get(&id).is_some_and(Held::is_unregistered) {
            // It is one no more.
            self.end_unregistered(id);
        }
        // Reading a clock costs a short thread a fiftieth of its life.
        let now = if is_new { Some(0) } else { nanos(clock) };
        let Some((now, entry)) = now.zip(table::claim(id)) else { return };
        let stack = thread.stack().unwrap_or(0..0);
        let is_elsewhere = |held: &Held| !matches!(held.slot.stack(), Stack::Known(known) if known.end == stack.end);
        let is_other = |held: &Held| is_new || now < held.meter.last() || is_elsewhere(held);
        if self.held.get(&id).is_some_and(is_other) {
            // A guard was leaked, its thread has ended, and the kernel has given its id to this
            // one.
            self.forget(id);
        }
        let account = self.books.open(thread.path().into(), Some(os_thread), self.time(thread.started_at()));
        self.books.is_spawned_at(account, thread.spawned_at());
        self.known.insert(thread.id(), (id, account));
        if self.held.contains_key(&id) {
            // The thread is known by another name so far.
            self.empty(id, None, None);
            self.settle(id, None);
            if let Some(held) = self.held.get_mut(&id) {
                held.meter.put_in_charge(account);
                held.threads.push(thread.clone());
                if held.watch.is_some() {
                    self.wall_schedule.call_back(id);
                }
            }
            self.watch_waits(id, thread);
            return;
        }
        self.hold(id, entry, clock, Meter::new(account, now), Stack::Known(stack), Some(thread), first);
    }

    /// That thread has a slot from now on, and what sends it its signals, for the first time after
    /// `first`. `thread`: as the tree knows it.
    #[allow(clippy::too_many_arguments)] // three of them are of the tree, the others of the thread
    fn hold(
        &mut self,
        id: i32,
        entry: Place,
        clock: CpuClock,
        meter: Meter,
        stack: Stack,
        thread: Option<&Thread>,
        first: Duration,
    ) {
        let owner = thread.and_then(Thread::os_thread).unwrap_or(0);
        let slot = Arc::new(Slot::new(self.spare.pop().unwrap_or_default(), owner, stack));
        // SAFETY: the slot is in `held` until it was taken from the entry.
        unsafe { entry.give(Arc::as_ptr(&slot)) };
        let watch = (self.triggers.source() == Source::Wall).then(|| {
            self.wall_schedule.add(id);
            let since = thread.map_or_else(|| self.now(), |thread| self.wall(thread.started_at()));
            Watch::new(since, self.wall_schedule.tick())
        });
        let trigger = self.triggers.timer(clock, first);
        if self.triggers.is_above_tick() {
            self.fresh.push(id);
        }
        let waits = Arc::default();
        let judged = self.triggers.judged_first(trigger.as_ref());
        let threads = thread.cloned().into_iter().collect();
        self.held.insert(id, Held { slot, entry, trigger, judged, clock, meter, watch, waits, threads });
        if let Some(thread) = thread {
            self.watch_waits(id, thread);
        }
    }

    /// Ends the sampling of the thread, and closes its account. Called on the thread itself; for
    /// `main`, on the thread that ends it.
    pub(super) fn detach(&mut self, thread: &Thread) {
        let Some((id, account)) = self.known.remove(&thread.id()) else { return self.end_deferred(thread) };
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.meter.owners().eq([account]) {
            // First, so that its handler is not at work any more; what its timer sends from now on
            // finds nothing.
            held.entry.take();
            match held.trigger.take() {
                Some(timer @ Trigger::Timer { .. }) if self.dead.len() < DEAD => self.dead.push(timer),
                trigger => self.triggers.end(trigger),
            }
        }
        let ended = thread.ended_at().unwrap_or_else(Instant::now);
        let clock = thread.cpu_time().map(|time| time.as_nanos() as u64);
        self.empty(id, clock, Some(self.wall(ended)));
        self.settle_at(id, clock, self.wall(ended));
        let ended = self.time(ended);
        let Some(held) = self.held.get_mut(&id) else { return };
        // The sampler may have looked at it after its end, before this call got the lock: that time
        // is in the account.
        let looked = held.watch.as_ref().map_or(ended, |watch| watch.last() as Nanos);
        self.books.end(account, ended.max(looked));
        held.threads.retain(|known| known != thread);
        let is_left = held.meter.remove(account);
        if let Some(outer) = held.threads.last().cloned() {
            if held.watch.is_some() {
                self.wall_schedule.call_back(id);
            }
            self.watch_waits(id, &outer);
        }
        if is_left {
            self.has_left(id, clock);
            if let Some(held) = self.let_go(id)
                && self.spare.len() < SPARE
                && let Some(slot) = Arc::into_inner(held.slot)
            {
                self.spare.push(slot.into_arena());
            }
        }
    }

    /// That thread has ended without a word: what it was found to do stays in the books.
    fn forget(&mut self, id: i32) {
        if self.held.get(&id).is_some_and(Held::is_unregistered) {
            return self.end_unregistered(id);
        }
        if let Some(held) = self.held.get_mut(&id) {
            self.triggers.end(held.trigger.take());
            held.entry.take();
        }
        self.empty(id, None, None);
        if let Some(held) = self.let_go(id) {
            let ended = self.time(Instant::now());
            held.meter.owners().for_each(|account| self.books.end(account, ended));
        }
        self.known.retain(|_, (known, _)| *known != id);
    }

    /// Its clock is gone, or behind what it was: the id is another thread's, which must not be
    /// sampled with this one's slot. A clock that the system refuses to read says nothing of the
    /// kind.
    fn forget_if_gone(&mut self, id: i32) {
        if self.held.get(&id).is_some_and(|held| held.clock.is_gone() || nanos(held.clock).is_some()) {
            self.forget(id);
        }
    }

    /// Removes the thread and wakes its schedule entry; otherwise a reused id would be scheduled
    /// twice.
    fn let_go(&mut self, id: i32) -> Option<Held> {
        let held = self.held.remove(&id)?;
        if held.watch.is_some() {
            held.waits.end_times();
            held.waits.raise_flag();
        }
        Some(held)
    }

    /// Ends all sampling and closes the books of all threads.
    pub(super) fn stop(&mut self) {
        // What was loaded since the sampler came by last shall have names too.
        self.renew_modules();
        self.find_blocking();
        self.running = false;
        // The source first, of all of them; only then what has come of it.
        self.dead.clear();
        for held in self.held.values_mut() {
            self.triggers.end(held.trigger.take());
        }
        for held in self.held.values() {
            held.entry.take();
        }
        for id in self.threads() {
            self.empty(id, None, None);
            self.settle(id, None);
        }
        let mut books = std::mem::take(&mut self.books);
        self.close_deferred(&mut books);
        self.deferred.clear();
        self.close_process(&mut books);
        self.books = books;
        for held in self.held.values().filter(|held| held.watch.is_some()) {
            held.waits.end_times();
        }
        self.held.clear();
        self.known.clear();
        self.spare = Vec::new();
        // No entry leads to a slot any more, and no handler that found a slot is at work: no
        // handler reads the modules.
        drop(handler::publish(None));
        (self.retired, self.left_waits) = (Vec::new(), Vec::new());
    }

    /// The kernel ids of the sampled threads.
    fn threads(&self) -> Vec<i32> {
        self.held.keys().copied().collect()
    }

    /// That thread is the sampler.
    pub(super) fn is_sampled_by(&mut self, clock: Option<CpuClock>) {
        self.sampler = clock.map(CpuClock::thread);
    }

    /// Puts into `threads` the threads that the sampler visits in this round. By the CPU clock:
    /// threads with new samples, and some others in turn, since their timers may miss them. By the
    /// wall clock: threads that may have moved.
    pub(super) fn choose(&mut self, threads: &mut Vec<i32>) {
        threads.clear();
        self.dead.clear();
        self.attach_deferred();
        if self.triggers.source() == Source::Wall {
            let now = self.now();
            self.wall_schedule.next(now, |id| nanos(CpuClock::of_thread(id)), &mut self.visits);
            for Visit { id, still } in self.visits.drain(..) {
                threads.push(id);
                if let Some((tick, held)) = still.zip(self.held.get_mut(&id))
                    && let Some(watch) = &mut held.watch
                {
                    self.books.stayed(&held.meter, watch, tick);
                }
            }
            return;
        }
        threads.append(&mut self.fresh);
        let turns = (self.held.len() as u64).div_ceil(LOOKS).max(1);
        self.cursor += 1;
        for ((&id, held), place) in self.held.iter().zip(self.cursor..) {
            if place.is_multiple_of(turns) || !held.slot.is_empty() {
                threads.push(id);
            }
        }
    }

    /// Whether so many threads have come since the last round, `pause` ago, that the next one is to
    /// be at the next tick.
    pub(super) fn many_come(&mut self, pause: Duration) -> bool {
        let came = std::mem::take(&mut self.came);
        self.many_come = came * MANY.as_nanos() as u64 >= pause.as_nanos() as u64;
        self.many_come
    }

    /// The sampler's visit to one thread.
    pub(super) fn visit(&mut self, id: i32) {
        match self.triggers.source() {
            Source::Wall => self.tick(id),
            Source::Cpu { .. } => {
                self.empty(id, None, None);
                self.judge(id);
            }
        }
    }

    /// Gives it a perf clock instead of its timer, if it needs one.
    fn judge(&mut self, id: i32) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.trigger.as_ref().is_some_and(Trigger::is_exact) {
            return;
        }
        let Some(clock) = nanos(held.clock).filter(|&clock| clock >= held.meter.last()) else {
            return self.forget_if_gone(id);
        };
        let mut is_running = false;
        let runs = || {
            is_running = task::read(id).is_some_and(|task| task.doing == task::Doing::Runs);
            is_running
        };
        if !self.triggers.wants_exact(&mut held.judged, &held.meter, clock, runs) || self.is_blocking(id) {
            return;
        }
        let Some(held) = self.held.get_mut(&id) else { return };
        if let Some(exact) = self.triggers.exact(&mut held.judged, held.clock) {
            self.triggers.end(held.trigger.replace(exact));
            if is_running {
                // The clock's periods begin here: what the thread has used of one before has a
                // sample of its own.
                self.refused.send(id);
            }
        }
    }

    /// Moves what the thread's handler has written into the books; by the wall clock, its waits
    /// too. `clock`: its CPU clock, if that is known. `until`: it has ended by then.
    fn empty(&mut self, id: i32, clock: Option<u64>, until: Option<u64>) {
        self.count_lost(id);
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.watch.is_some() {
            self.look_by_wall(id, clock, until, false);
        } else if !held.slot.is_empty() {
            let (books, meter) = (&mut self.books, &mut held.meter);
            held.slot.read(&mut self.buffer, |record| {
                books.record(meter, record.clock, record.ending, record.addresses);
            });
        }
    }

    /// Before the records are read: their clocks cover what is lost.
    fn count_lost(&mut self, id: i32) {
        let Some(held) = self.held.get_mut(&id) else { return };
        // Relaxed: a count.
        let lost = held.slot.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.books.lost(&mut held.meter, lost);
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
        if let Some(held) = self.held.get_mut(&id) {
            let (mut meter, mut watch) = (held.meter.clone(), held.watch.clone());
            settle(&mut self.books, held, clock, &mut meter, watch.as_mut(), now);
            (held.meter, held.watch) = (meter, watch);
        }
    }

    /// The books as if the recording ended now.
    pub(super) fn closed_copy(&mut self) -> Books {
        for id in self.threads() {
            self.empty(id, None, None);
        }
        let (mut copy, now) = (self.books.clone(), (self.now(), self.wall_schedule.tick()));
        for held in self.held.values() {
            settle(&mut copy, held, None, &mut held.meter.clone(), held.watch.clone().as_mut(), now);
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
        self.retired.retain(|(_, graces)| !graces.iter().all(Grace::is_over));
        self.free_left_waits();
        let Some(modules) = self.listed.renew() else { return };
        let generation = self.listed.history().generation();
        if generation != self.books.generation() {
            // What was met so far was met among the libraries of before.
            for id in self.threads() {
                self.empty(id, None, None);
            }
            self.books.begin_generation(generation);
        }
        if let Some(old) = handler::publish(Some(Box::new(modules))) {
            let graces = self.held.values().map(|held| held.entry.grace()).collect();
            self.retired.push((old, graces));
        }
    }

    /// Which code was loaded, now and before.
    pub(super) fn history(&self) -> History {
        self.listed.history().clone()
    }

    /// What kept threads from being sampled, as a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        let all: Vec<String> = self.triggers.trouble().into_iter().chain(self.refused.trouble()).collect();
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
        warnings.append(&mut self.refused.take_warnings());
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
    books: &mut Books,
    held: &Held,
    clock: Option<u64>,
    meter: &mut Meter,
    watch: Option<&mut Watch>,
    now: (u64, Tick),
) {
    let clock = clock.or_else(|| nanos(held.clock)).unwrap_or(0);
    match watch {
        None => books.settle(meter, clock),
        Some(watch) => {
            let seen = Seen { clock, shown: held.waits.shown(), ..Seen::default() };
            books.settle_wall(meter, watch, now, &seen);
        }
    }
}

fn nanos(clock: CpuClock) -> Option<u64> {
    clock.read().map(|time| time.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
