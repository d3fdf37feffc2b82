//! Which threads have a slot, and everything that is done to them from outside of the handler. All of it under one lock.
//!
//! Invariants
//! 1. A slot that the table names is in `held`, so it lives. It leaves `held` after its timer is deleted, its entry null,
//!    and a grace over.
//! 2. A thread in `held` has not got past its `ended` call: its id, clock and stack are its own.
//! 3. After `stop`, `held` is empty and stays so.

use super::books::{Books, Meter, Watch};
use super::handler;
use super::modules::Listed;
use super::slot::{Arena, Slot};
use super::table::{self, Entry, Grace};
use super::unwind::Modules;
use crate::os::perf::PerfClock;
use crate::os::thread_timer::ThreadTimer;
use crate::os::{CpuClock, sigprof, stack};
use crate::profile::engines::Nanos;
use crate::profile::loader::History;
use crate::thread::Thread;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Slots kept for the next threads: those of a pool that comes and goes.
const SPARE: usize = 32;

/// What sends a thread its signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A timer: at the kernel's tick, no more often.
    Timer { tick: Duration },
    /// A perf event, where the kernel permits it.
    Perf,
    /// The sampler, by the wall clock.
    Wall,
}

/// One at work; dropping it ends it.
enum Trigger {
    Timer { _timer: ThreadTimer },
    Perf { _event: PerfClock },
}

pub(super) struct State {
    pub(super) books: Books,
    period: Duration,
    source: Source,
    began: Instant,
    running: bool,
    /// By kernel thread id.
    held: HashMap<i32, Held>,
    /// The kernel thread id and the account of each thread of the tree that is in `held`, by its id there.
    known: HashMap<u64, (i32, usize)>,
    spare: Vec<Arena>,
    listed: Listed,
    /// Module lists that a handler may still be using.
    retired: Vec<(Box<Modules>, Vec<Grace>)>,
    /// For a thread's first expiry.
    random: RandomState,
    /// Threads that got no timer.
    untimed: u64,
    /// Of the first of them; the outer `Some` stays.
    warning: Option<Option<String>>,
    /// Kernel thread ids of those whose trigger is still to be started.
    waiting: Vec<i32>,
    buffer: Vec<u64>,
}

struct Held {
    slot: Arc<Slot>,
    entry: &'static Entry,
    trigger: Option<Trigger>,
    clock: CpuClock,
    meter: Meter,
    /// By the wall clock only.
    watch: Option<Watch>,
    /// In whose name it runs now, the last of those in charge.
    threads: Vec<Thread>,
}

impl State {
    /// With the modules listed and published, and no thread yet.
    pub(super) fn new(period: Duration, source: Source, began: Instant) -> State {
        let mut state = State {
            books: Books::default(),
            period,
            source,
            began,
            running: true,
            held: HashMap::new(),
            known: HashMap::new(),
            spare: Vec::new(),
            listed: Listed::default(),
            retired: Vec::new(),
            random: RandomState::new(),
            untimed: 0,
            warning: None,
            waiting: Vec::new(),
            buffer: Vec::new(),
        };
        state.renew_modules();
        state
    }

    /// The thread is sampled from now on. On the thread itself, or from outside while it lives.
    pub(super) fn attach(&mut self, thread: &Thread) {
        // One that has ended is about to call `detach`, or has called it, or found no observer.
        if !self.running || self.known.contains_key(&thread.id()) || thread.ended_at().is_some() {
            return;
        }
        let Some((clock, os_thread)) = thread.cpu_clock().zip(thread.os_thread()) else { return };
        let id = clock.thread();
        let Some((now, entry)) = nanos(clock).zip(table::make_entry(id)) else { return };
        // SAFETY: it has not ended, and cannot without this lock: see `detach`.
        let stack = unsafe { stack::bounds(os_thread) }.unwrap_or(0..0);
        if self.held.get(&id).is_some_and(|held| now < held.meter.last() || stack.end != held.slot.stack_end()) {
            // A guard was leaked, its thread has ended, and the kernel has given its id to this one.
            self.forget(id);
        }
        let account = self.books.open(thread.path().into(), Some(os_thread), self.time(thread.started_at()));
        self.known.insert(thread.id(), (id, account));
        if self.held.contains_key(&id) {
            // The thread is known by another name so far.
            self.empty(id);
            self.settle(id);
            if let Some(held) = self.held.get_mut(&id) {
                held.meter.put_in_charge(account);
                held.threads.push(thread.clone());
            }
            return;
        }
        let slot = Arc::new(Slot::new(self.spare.pop().unwrap_or_default(), stack));
        // SAFETY: the slot is in `held` until it was taken from the entry.
        unsafe { entry.give(Arc::as_ptr(&slot)) };
        let meter = Meter::new(account, now);
        let watch = (self.source == Source::Wall).then(|| Watch::new(self.now()));
        let threads = vec![thread.clone()];
        self.held.insert(id, Held { slot, entry, trigger: None, clock, meter, watch, threads });
        match self.source {
            Source::Timer { .. } => self.start_trigger(id),
            // It costs as much as half a spawn: the sampler does it, in a moment.
            Source::Perf => self.waiting.push(id),
            Source::Wall => {}
        }
    }

    /// The thread is sampled no more, and its books are closed. On itself; for `main`, on whoever ends it.
    pub(super) fn detach(&mut self, thread: &Thread) {
        let Some((id, account)) = self.known.remove(&thread.id()) else { return };
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.meter.owners() == [account] {
            held.trigger = None;
            held.entry.take();
        }
        self.empty(id);
        let ended = self.time(thread.ended_at().unwrap_or_else(Instant::now));
        self.settle(id);
        self.books.end(account, ended);
        let Some(held) = self.held.get_mut(&id) else { return };
        held.threads.retain(|known| known != thread);
        if held.meter.remove(account)
            && let Some(held) = self.held.remove(&id)
            && self.spare.len() < SPARE
            && let Some(slot) = Arc::into_inner(held.slot)
        {
            self.spare.push(slot.into_arena());
        }
    }

    /// That thread has ended without a word: what it was found to do stays in the books.
    fn forget(&mut self, id: i32) {
        if let Some(held) = self.held.get_mut(&id) {
            held.trigger = None;
            held.entry.take();
        }
        self.empty(id);
        self.held.remove(&id);
        self.known.retain(|_, (known, _)| *known != id);
    }

    /// Ends all sampling and closes the books of all threads.
    pub(super) fn stop(&mut self) {
        // What was loaded since the sampler came by last shall have names too.
        self.renew_modules();
        self.running = false;
        // The source first, of all of them; only then what has come of it.
        for held in self.held.values_mut() {
            held.trigger = None;
        }
        for held in self.held.values() {
            held.entry.take();
        }
        for id in self.threads() {
            self.empty(id);
        }
        for id in self.threads() {
            self.settle(id);
        }
        self.held.clear();
        self.known.clear();
        self.spare = Vec::new();
        // No entry leads to a slot any more, and no handler that came by one is at work: nobody looks at the modules.
        drop(handler::publish(None));
        self.retired = Vec::new();
    }

    /// The kernel's ids of those that are sampled.
    pub(super) fn threads(&self) -> Vec<i32> {
        self.held.keys().copied().collect()
    }

    /// Moves what the thread's handler has written into the books.
    pub(super) fn empty(&mut self, id: i32) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let (books, meter) = (&mut self.books, &mut held.meter);
        match &mut held.watch {
            None => {
                held.slot.read(&mut self.buffer, |clock, ending, stack| books.record(meter, clock, ending, stack));
            }
            Some(watch) => {
                let waiting = waiting(&held.threads);
                held.slot.read(&mut self.buffer, |clock, ending, stack| {
                    books.met(meter, watch, (clock, ending, stack), waiting.clone());
                });
            }
        }
        // Relaxed: a count.
        let lost = held.slot.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            books.lost(meter, lost);
        }
    }

    /// A tick of the wall clock for that thread.
    pub(super) fn tick(&mut self, id: i32) {
        self.empty(id);
        let now = self.now();
        let Some(held) = self.held.get_mut(&id) else { return };
        let (Some(watch), Some(clock)) = (&mut held.watch, nanos(held.clock)) else { return };
        if clock < held.meter.last() {
            // The id is another thread's, which must not be asked with this one's slot.
            return self.forget(id);
        }
        if self.books.tick(&held.meter, watch, now, clock, waiting(&held.threads)) {
            sigprof::send(id);
        }
    }

    /// Closes the books of the account in charge of that thread, for now.
    fn settle(&mut self, id: i32) {
        let now = self.now();
        if let Some(held) = self.held.get_mut(&id) {
            let (mut meter, mut watch) = (held.meter.clone(), held.watch.clone());
            settle(&mut self.books, held.clock, &mut meter, watch.as_mut(), now);
            (held.meter, held.watch) = (meter, watch);
        }
    }

    /// Starts what sends the threads their signals, for those that wait for it.
    pub(super) fn start_triggers(&mut self) {
        for id in std::mem::take(&mut self.waiting) {
            self.start_trigger(id);
        }
    }

    fn start_trigger(&mut self, id: i32) {
        let first = self.first_expiry(id);
        let Some(held) = self.held.get_mut(&id).filter(|held| held.trigger.is_none()) else { return };
        let timer = |period| ThreadTimer::start(held.clock, first, period).map(|_timer| Trigger::Timer { _timer });
        let trigger = match self.source {
            Source::Wall => return,
            Source::Timer { .. } => timer(self.period),
            // No more files, perhaps: a timer then, which fires at the tick. The books close at any rate.
            Source::Perf => PerfClock::start(held.clock, self.period)
                .map(|_event| Trigger::Perf { _event })
                .or_else(|_| timer(self.period)),
        };
        match trigger {
            Ok(trigger) => held.trigger = Some(trigger),
            Err(cause) => self.has_no_timer(&cause),
        }
    }

    /// The books as if the recording ended now.
    pub(super) fn closed_copy(&mut self) -> Books {
        for id in self.threads() {
            self.empty(id);
        }
        let (mut copy, now) = (self.books.clone(), self.now());
        for held in self.held.values() {
            settle(&mut copy, held.clock, &mut held.meter.clone(), held.watch.clone().as_mut(), now);
        }
        copy
    }

    /// Lists the modules again if something was loaded or unloaded, and frees lists that nobody uses any more.
    pub(super) fn renew_modules(&mut self) {
        if !self.running {
            return;
        }
        self.retired.retain(|(_, graces)| !graces.iter().all(Grace::is_over));
        let Some(modules) = self.listed.renew() else { return };
        let generation = self.listed.history().generation();
        if generation != self.books.generation() {
            // What was met so far was met among the libraries of before.
            for id in self.threads() {
                self.empty(id);
            }
            self.books.begin_generation(generation);
        }
        if let Some(old) = handler::publish(Some(Box::new(modules))) {
            let graces = self.held.values().map(|held| held.entry.grace()).collect();
            self.retired.push((old, graces));
        }
    }

    fn first_expiry(&self, id: i32) -> Duration {
        let tick = if let Source::Timer { tick } = self.source { tick } else { Duration::ZERO };
        let random = self.random.hash_one((id, self.began.elapsed().as_nanos()));
        first_expiry(self.period, tick, (random >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Which code was loaded, now and before.
    pub(super) fn history(&self) -> History {
        self.listed.history().clone()
    }

    /// What kept threads from being sampled, as a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        (self.untimed > 0).then(|| format!("{} threads got no timer", self.untimed))
    }

    fn has_no_timer(&mut self, cause: &io::Error) {
        self.untimed += 1;
        self.warning.get_or_insert_with(|| {
            Some(format!("the system gives no timer for a thread: {cause}. Its time will be [unsampled]."))
        });
    }

    /// What is to be logged, once, by someone who does not hold the lock: appenders are the user's.
    pub(super) fn take_warning(&mut self) -> Option<String> {
        self.warning.as_mut()?.take()
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

/// Uniform in one period: so a thread that lives for a tenth of it is sampled in one case of ten.
///
/// The kernel looks at the clock at its ticks only, and finds what has expired by then. So what is drawn is the tick: the
/// first one of a thread's life, however early it comes, has its share of tick / period as all others do. `random` is from 0 up to
/// 1.
fn first_expiry(period: Duration, tick: Duration, random: f64) -> Duration {
    let drawn = period.mul_f64(random).as_nanos();
    let tick = tick.as_nanos().max(1);
    Duration::from_nanos((drawn / tick * tick) as u64).max(Duration::from_nanos(1))
}

fn settle(books: &mut Books, clock: CpuClock, meter: &mut Meter, watch: Option<&mut Watch>, now: u64) {
    let clock = nanos(clock).unwrap_or(0);
    match watch {
        None => books.settle(meter, clock),
        Some(watch) => books.settle_wall(meter, clock, watch, now),
    }
}

/// What the thread waits for in this crate, as a frame.
fn waiting(threads: &[Thread]) -> Option<Arc<str>> {
    let wait = threads.last()?.waiting_for()?;
    let held = wait.holder().map(|path| format!(" held by {path}")).unwrap_or_default();
    Some(format!("[waiting for {} \"{}\"{held}]", wait.kind(), wait.name()).into())
}

fn nanos(clock: CpuClock) -> Option<u64> {
    clock.read().map(|time| time.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tick_of_the_first_period_is_as_likely() {
        let ms = Duration::from_millis;
        let first = |random| first_expiry(ms(10), ms(4), random);
        assert_eq!([first(0.0), first(0.39)], [Duration::from_nanos(1); 2]);
        assert_eq!([first(0.41), first(0.79), first(0.81), first(0.99)], [ms(4), ms(4), ms(8), ms(8)]);
        assert_eq!(first_expiry(ms(4), ms(4), 0.99), Duration::from_nanos(1));
        // Where the tick is not known, any instant is.
        assert_eq!(first_expiry(ms(10), Duration::ZERO, 0.5), ms(5));
    }
}
