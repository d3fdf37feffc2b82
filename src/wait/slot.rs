//! Where one thread publishes its waits, and what others read there.

#[cfg(feature = "profiling")]
use super::change_flags::{ChangeFlag, ChangeFlags};
use super::context::Context;
#[cfg(feature = "profiling")]
use super::context::number;
#[cfg(feature = "profiling")]
use super::context_history::ContextHistory;
use super::description::Wait;
#[cfg(feature = "profiling")]
use super::slept::Sleep;
use super::slot_lock::SlotLock;
#[cfg(feature = "profiling")]
use super::stack_sums::TakenStack;
#[cfg(feature = "profiling")]
use super::times::{Label, Times, Waited};
#[cfg(feature = "profiling")]
use super::totals::WaitTotals;
use crate::os::fork::PerProcess;
#[cfg(feature = "profiling")]
use crate::os::monotonic_nanos;
#[cfg(feature = "profiling")]
use crate::record::{Event, Rings, SleepEvent};
use std::sync::Arc;
#[cfg(feature = "profiling")]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where one thread publishes its waits. Only that thread writes it, any thread reads it. The lock
/// is held for the copy of a few words, so a reader that cannot get it at once may simply ask
/// again.
#[derive(Default)]
pub(crate) struct Slot {
    /// A forked child has its own: the sampler may have held the lock.
    pub(super) waits: PerProcess<SlotLock<Waits>>,
    /// Its thread is not that thread of the tree any more, and does not know it yet. Set once, by
    /// another thread. Relaxed: it guards nothing; a call that comes just before sees the old path.
    retired: AtomicBool,
    /// What the thread waits for now, for its own signal handler: a [`Shown`]. Stored by the thread
    /// under the lock of `waits`, and by a recording when it begins and ends. Relaxed: a handler
    /// that runs on the thread sees what the thread has stored. While a recording begins, a handler
    /// may see no wait.
    #[cfg(feature = "profiling")]
    shown: AtomicU64,
    /// The number of the thread's context, for its own signal handler; 0: it has none, or no
    /// recording runs. Stored under the lock of `waits`. Relaxed, as `shown`.
    #[cfg(feature = "profiling")]
    context_number: AtomicU64,
    /// The sleep that is not counted yet.
    #[cfg(feature = "profiling")]
    pub(super) sleep: Sleep,
    /// The number of its thread, as in stamps; 0: not given yet. Stored by the thread. Relaxed: it
    /// guards nothing.
    #[cfg(feature = "profiling")]
    pub(super) number: AtomicU64,
}

/// What a thread waits for at some moment, in one word: 0 while no recording asks.
///
/// Two that are equal mean that the thread has neither begun nor ended a wait between them.
#[cfg(feature = "profiling")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown(u64);

#[cfg(feature = "profiling")]
impl Shown {
    /// So many bits of the word are in use.
    pub(crate) const BITS: u32 = 48;
    const INDEX_BITS: u32 = 12;

    fn new(changes: u64, index: Option<usize>) -> Shown {
        let index = index.map_or(0, |index| index as u64 + 1);
        Shown((changes << Shown::INDEX_BITS | index) & ((1 << Shown::BITS) - 1))
    }

    pub(crate) fn from_word(word: u64) -> Shown {
        Shown(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The index of what it waits for, as in [`Waited::index`]; `None`: it does not wait.
    pub(crate) fn index(self) -> Option<usize> {
        ((self.0 & ((1 << Shown::INDEX_BITS) - 1)) as usize).checked_sub(1)
    }
}

/// What one look at a thread's waits has found.
#[cfg(feature = "profiling")]
pub(crate) struct Reading {
    /// When it was.
    pub(crate) at: Instant,
    /// Another number after each change.
    pub(crate) changes: u64,
    pub(crate) shown: Shown,
}

#[derive(Default)]
pub(super) struct Waits {
    /// The innermost last.
    pub(super) now: Vec<Wait>,
    pub(super) last: u64,
    /// What the thread works on.
    context: Option<Context>,
    /// While a recording reads samples later than they are taken.
    #[cfg(feature = "profiling")]
    contexts: Option<Box<ContextHistory>>,
    /// How often `now` has changed.
    #[cfg(feature = "profiling")]
    changes: u64,
    /// The flag to raise at the next change.
    #[cfg(feature = "profiling")]
    flag: Option<ChangeFlag>,
    /// While a recording asks.
    #[cfg(feature = "profiling")]
    times: Option<Box<Times>>,
    /// While a recording counts waits.
    #[cfg(feature = "profiling")]
    pub(super) counted: Option<Box<Counted>>,
}

/// What a recording that counts waits has of the thread.
#[cfg(feature = "profiling")]
pub(super) struct Counted {
    pub(super) totals: WaitTotals,
    /// The thread writes into them while it holds the lock.
    pub(super) rings: Arc<Rings>,
    /// The names of its spans, by the numbers that its events have.
    pub(super) span_names: Vec<&'static str>,
}

impl Slot {
    pub(crate) fn get(&self) -> Option<Wait> {
        self.waits.lock().now.last().cloned()
    }

    /// By the thread itself: from now on it works on that.
    pub(super) fn set_context(&self, context: Option<Context>) {
        let before = {
            let mut waits = self.waits.lock();
            #[cfg(feature = "profiling")]
            {
                let number = number(context.as_ref());
                self.context_number.store(number, Ordering::Relaxed);
                if let Some(contexts) = &mut waits.contexts {
                    contexts.push(monotonic_nanos(), number);
                }
            }
            std::mem::replace(&mut waits.context, context)
        };
        drop(before);
    }

    /// What the thread works on: keys and values. `None`: that could not be read in that time.
    pub(crate) fn try_context(&self, patience: Duration) -> Option<Vec<(Arc<str>, Arc<str>)>> {
        let context = self.waits.try_lock_for(patience)?.context.clone();
        Some(context.map_or_else(Vec::new, |context| context.pairs.to_vec()))
    }

    /// The thread that publishes here loses its place in the tree.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// By the thread itself. `at`: when the change comes to be, asked only while a recording
    /// counts.
    pub(super) fn change<R>(&self, at: impl FnOnce() -> Instant, change: impl FnOnce(&mut Waits) -> R) -> R {
        #[cfg(feature = "profiling")]
        let taken = self.take_stack();
        let mut waits = self.waits.lock();
        #[cfg(not(feature = "profiling"))]
        let _ = at;
        #[cfg(feature = "profiling")]
        {
            waits.announce();
            if waits.counted.is_some() {
                waits.count_sleep(&self.sleep, taken);
            }
            if let Some(times) = &mut waits.times {
                times.count(at());
            }
        }
        let result = change(&mut waits);
        #[cfg(feature = "profiling")]
        waits.show(&self.shown);
        result
    }

    /// [`get`](Self::get) for a caller that waits at most for `patience`. The outer `None`: the
    /// lock could not be had in that time.
    pub(crate) fn try_get(&self, patience: Duration) -> Option<Option<Wait>> {
        self.waits.try_lock_for(patience).map(|waits| waits.now.last().cloned())
    }
}

#[cfg(feature = "profiling")]
impl Slot {
    /// The thread counts from now on how long it waits for what: its present wait from `since` on,
    /// if it began before. `recording`: when the recording that asks began. A count that this
    /// recording has asked for before goes on. Any other is over.
    pub(crate) fn begin_times(&self, since: Instant, recording: Instant) {
        let mut waits = self.waits.lock();
        if waits.times.as_ref().is_some_and(|times| times.are_of(recording)) {
            return;
        }
        // The time before its present wait was outside of all waits.
        let since = waits.now.first().map_or(since, |wait| wait.since.max(since));
        waits.times = Some(Box::new(Times::new(since, recording)));
        waits.show(&self.shown);
    }

    /// The thread counts no more for the recording that began then.
    pub(crate) fn end_times(&self, recording: Instant) {
        let mut waits = self.waits.lock();
        if waits.times.take_if(|times| times.are_of(recording)).is_some() {
            self.shown.store(0, Ordering::Relaxed);
        }
    }

    /// What the thread waits for now, and, into `waited`, how long it has waited for what since the
    /// last call.
    pub(crate) fn read_times(&self, waited: &mut Vec<Waited>) -> Reading {
        let mut waits = self.waits.lock();
        let (at, changes) = (Instant::now(), waits.changes);
        if let Some(times) = &mut waits.times {
            times.count(at);
            times.read(waited);
        }
        Reading { at, changes, shown: Shown(self.shown.load(Ordering::Relaxed)) }
    }

    /// The label of an index that the thread has shown since the last
    /// [`read_times`](Self::read_times).
    pub(crate) fn label(&self, index: usize) -> Option<Label> {
        self.waits.lock().times.as_ref().and_then(|times| times.label(index)).cloned()
    }

    /// What the thread waits for now.
    ///
    /// # Signal safety
    /// Safe: a load. For the handler of the thread that publishes here.
    pub(crate) fn shown(&self) -> Shown {
        Shown(self.shown.load(Ordering::Relaxed))
    }

    /// The context that the thread has already is given its number in the recording.
    pub(crate) fn number_context(&self) {
        let waits = self.waits.lock();
        self.context_number.store(number(waits.context.as_ref()), Ordering::Relaxed);
    }

    /// From now on, and up to [`end_contexts`](Self::end_contexts), the thread notes the times at
    /// which its context changes.
    pub(crate) fn begin_contexts(&self) {
        self.waits.lock().contexts = Some(Box::new(ContextHistory::new(self.context_number())));
    }

    /// The thread notes no more.
    pub(crate) fn end_contexts(&self) {
        let contexts = self.waits.lock().contexts.take();
        drop(contexts);
    }

    /// The number of the context that the thread had at that time of the monotonic clock, in
    /// nanoseconds; 0: none. Earlier times cannot be asked for any more.
    pub(crate) fn context_number_at(&self, at: u64) -> u64 {
        let mut waits = self.waits.lock();
        waits.contexts.as_mut().map_or_else(|| self.context_number(), |contexts| contexts.number_at(at))
    }

    /// The number of the thread's context; 0: it has none.
    ///
    /// # Signal safety
    /// Safe: a load. For the handler of the thread that publishes here.
    pub(crate) fn context_number(&self) -> u64 {
        self.context_number.load(Ordering::Relaxed)
    }

    /// The next change raises the flag of this number, before it is made. Returns `false`, and arms
    /// nothing, if there was a change since `changes`. A flag that was armed before is dropped.
    pub(crate) fn arm(&self, changes: u64, flags: &mut ChangeFlags, number: usize) -> bool {
        let flag = flags.flag(number);
        let mut waits = self.waits.lock();
        let is_same = waits.changes == changes;
        if is_same {
            waits.flag = Some(flag);
        }
        is_same
    }

    /// Raises the armed flag without a change. Another thread calls it, so that the sampler does
    /// not wait for one.
    pub(crate) fn raise_flag(&self) {
        self.waits.lock().announce();
    }
}

#[cfg(feature = "profiling")]
impl Waits {
    /// The last sleep belongs to the innermost wait. Without a wait it is not counted.
    pub(super) fn count_sleep(&mut self, sleep: &Sleep, taken: Option<TakenStack>) {
        let Some(slept) = sleep.take() else { return };
        if let Some((wait, counted)) = self.now.last_mut().zip(self.counted.as_mut()) {
            wait.slept.add(&slept, taken);
            counted.totals.add_woken(slept.runs_again - slept.ended.min(slept.runs_again));
            let name = wait.entry_in(&mut counted.totals);
            wait.entry = Some(name);
            let stack = taken.and_then(|taken| taken.stack).map_or(0, |stack| stack.0 + 1);
            counted.rings.write(Event::Sleep(SleepEvent { name, serial: wait.serial as u16, stack, ..slept }));
        }
    }

    /// A wait is over. Returns `true` if no such wait has a stack yet.
    pub(super) fn count_total(&mut self, wait: &Wait, name_of: fn(u64) -> Arc<str>) -> bool {
        self.counted.as_mut().is_some_and(|counted| wait.count_into(wait.slept, &mut counted.totals, name_of))
    }

    /// Announces a change that is about to be made. Mostly no flag is armed; then this touches
    /// nothing that the change does not.
    fn announce(&mut self) {
        self.changes += 1;
        if let Some(flag) = self.flag.take() {
            flag.raise();
        }
    }

    /// After a change, while a recording counts.
    fn show(&mut self, shown: &AtomicU64) {
        if let Some(times) = &mut self.times {
            let index = times.enter(self.now.last().map(Wait::label));
            shown.store(Shown::new(self.changes, index).0, Ordering::Relaxed);
        }
    }
}
