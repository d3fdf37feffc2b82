//! The start and the end of sampling for each thread of the tree, reported by the thread itself or
//! found out later.

use super::data::{BySignal, SampledThread, State, cpu_nanos};
use crate::os::CpuClock;
use crate::profile::engines::timer::accounting::{ThreadClock, WallState};
use crate::profile::engines::timer::slot::{Mapping, Slot, StackBounds};
use crate::profile::engines::timer::table::{self, Claim};
use crate::profile::engines::timer::triggers::{Source, Trigger};
use crate::profile::raw::Nanos;
use crate::thread::Thread;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum number of slots' memory kept for later threads.
const MAX_SPARE_ARENAS: usize = 32;

/// The maximum number of unneeded timers that the sampler has not deleted yet: each takes a signal
/// from the user's limit.
const MAX_UNNEEDED_TIMERS: usize = 64;

/// An OS thread that is to be sampled.
pub(super) struct NewThread {
    /// The kernel's id.
    pub(super) id: i32,
    /// `None`: no handler samples it.
    pub(super) entry: Option<Claim>,
    pub(super) clock: CpuClock,
    pub(super) thread_clock: ThreadClock,
    /// Where its stack lies, if that is known.
    pub(super) stack: Option<Range<u64>>,
    /// The CPU time after which its first sample is due.
    pub(super) first: Duration,
}

impl State {
    /// Starts to sample the thread. Called by the thread itself, or from outside while it lives.
    /// `is_new`: its OS thread is new as well, so its CPU clock began with it.
    pub(in super::super) fn attach(&mut self, thread: &Thread, is_new: bool) {
        // A thread that has ended is about to call `detach`, or has called it, or found no
        // observer.
        if !self.running || self.is_known(thread) || thread.ended_at().is_some() {
            return;
        }
        let Some(clock) = thread.cpu_clock() else { return };
        if is_new {
            self.cpu.new_threads += 1;
        }
        let first = self.cpu.draw_first_expiry(&self.triggers);
        if !(is_new && self.defer(thread, clock.thread(), first)) {
            self.register(thread, is_new, first);
        }
    }

    /// Opens an account for the thread and, unless its OS thread is sampled under another name,
    /// starts to sample it. Its first sample is due after `first`, from now on or, if it is new,
    /// from its start.
    pub(super) fn register(&mut self, thread: &Thread, is_new: bool, first: Duration) {
        let Some((clock, os_thread)) = thread.cpu_clock().zip(thread.os_thread()) else { return };
        let id = clock.thread();
        self.attach_deferred_as(id);
        if self.sampled.get(&id).is_some_and(SampledThread::is_unregistered) {
            self.end_unregistered(id);
        }
        // Reading a clock costs a short thread a fiftieth of its life.
        let now = if is_new { Some(0) } else { cpu_nanos(clock) };
        let Some(now) = now else { return };
        let entry = if self.ring.is_none() { table::claim(id) } else { None };
        if entry.is_none() && self.ring.is_none() {
            return;
        }
        let stack = thread.stack().unwrap_or(0..0);
        let is_reused = |sampled: &SampledThread| is_new || is_id_reused(sampled, now, &stack);
        if self.sampled.get(&id).is_some_and(is_reused) {
            self.end_unreported(id);
        }
        let started = self.nanos_since_start(thread.started_at());
        let account = self.accounting.open(thread.path().into(), Some(os_thread), started);
        self.accounting.set_spawn_site(account, thread.spawned_at());
        self.registered.insert(thread.id(), (id, account));
        if self.sampled.contains_key(&id) {
            return self.put_in_charge(id, thread, account);
        }
        let thread_clock = ThreadClock::new(account, now);
        let new = NewThread { id, entry, clock, thread_clock, stack: Some(stack), first };
        self.add_sampled(new, Some(thread));
    }

    /// The sampled OS thread is registered as `thread` as well, which is in charge from now on.
    fn put_in_charge(&mut self, id: i32, thread: &Thread, account: usize) {
        self.account_records(id, None, None);
        self.close_account(id, None);
        if let Some(sampled) = self.sampled.get_mut(&id) {
            sampled.thread_clock.put_in_charge(account);
            sampled.handles.push(thread.clone());
            if sampled.wall_state.is_some() {
                self.wall.schedule.reschedule(id);
            }
        }
        self.show_waits(id, thread);
    }

    /// Gives the OS thread a slot and, by the CPU clock, a trigger that sends its signals.
    /// `thread`: its handle; `None` for an unregistered thread.
    pub(super) fn add_sampled(&mut self, new: NewThread, thread: Option<&Thread>) {
        let NewThread { id, entry, clock, thread_clock, stack, first } = new;
        let owner = thread.and_then(Thread::os_thread).unwrap_or(0);
        let is_timed = self.tracing.is_some() && thread.is_some();
        let number = self.flags.add(id);
        let by_signal = entry.map(|entry| {
            let bounds = stack.clone().map_or_else(|| StackBounds::Found(Mapping::unknown()), StackBounds::Known);
            let arena = self.spare_arenas.pop().unwrap_or_default();
            let slot = Arc::new(Slot::new(arena, owner, bounds, is_timed, self.flags.flag(number)));
            // SAFETY: the slot lives in `sampled` until `clear_slot` was called on the entry
            // (invariant 1 of this room).
            unsafe { entry.set_slot(Arc::as_ptr(&slot)) };
            BySignal { slot, entry }
        });
        let by_ring = self.first_events(id, thread_clock.last());
        let wall_state = (self.triggers.source() == Source::Wall).then(|| {
            self.wall.schedule.add(id);
            let since = thread.map_or_else(|| self.now(), |thread| self.wall_nanos(thread.started_at()));
            WallState::new(since, self.wall.schedule.tick())
        });
        let trigger = self.triggers.timer(clock, first);
        if self.triggers.is_above_tick() {
            self.cpu.unchecked.push(id);
        }
        let waits = Arc::default();
        let timer_check = self.triggers.first_timer_check(trigger.as_ref());
        let handles = thread.cloned().into_iter().collect();
        let traced_clock = thread_clock.last();
        let sampled = SampledThread {
            number,
            by_signal,
            by_ring,
            stack,
            trigger,
            timer_check,
            blocked_looks: Default::default(),
            clock,
            thread_clock,
            traced_clock,
            wall_state,
            waits,
            handles,
        };
        self.sampled.insert(id, sampled);
        if let Some(thread) = thread {
            self.show_waits(id, thread);
        }
    }

    /// Ends the sampling of the thread, and closes its account. Called by the thread itself; for
    /// `main`, by the thread that ends it.
    pub(in super::super) fn detach(&mut self, thread: &Thread) {
        self.attach_all_deferred();
        let Some((id, account)) = self.registered.remove(&thread.id()) else { return self.end_deferred(thread) };
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if sampled.thread_clock.owners().eq([account]) {
            // First, so that its handler does nothing any more: later signals of its timer find no
            // slot.
            if let Some(by_signal) = &sampled.by_signal {
                by_signal.entry.clear_slot();
            }
            match sampled.trigger.take() {
                Some(timer @ Trigger::Timer { .. }) if self.cpu.unneeded_timers.len() < MAX_UNNEEDED_TIMERS => {
                    self.cpu.unneeded_timers.push(timer)
                }
                trigger => self.triggers.end(trigger),
            }
        }
        let ended = thread.ended_at().unwrap_or_else(Instant::now);
        let clock = thread.cpu_time().map(|time| time.as_nanos() as u64);
        self.account_records(id, clock, Some(self.wall_nanos(ended)));
        self.close_account_at(id, clock, self.wall_nanos(ended));
        let ended = self.nanos_since_start(ended);
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        // The sampler may have visited it after its end, before this call got the lock: that time
        // is in the account.
        let visited = sampled.wall_state.as_ref().map_or(ended, |wall_state| wall_state.last() as Nanos);
        self.accounting.end(account, ended.max(visited));
        sampled.handles.retain(|known| known != thread);
        let was_last = sampled.thread_clock.remove(account);
        if let Some(outer) = sampled.handles.last().cloned() {
            if sampled.wall_state.is_some() {
                self.wall.schedule.reschedule(id);
            }
            self.show_waits(id, &outer);
        }
        if was_last {
            self.expect_unregistered(id, clock);
            self.remove_and_keep_arena(id);
        }
    }

    /// A thread that did not report its end has ended: its account keeps what was found of it.
    fn end_unreported(&mut self, id: i32) {
        if self.sampled.get(&id).is_some_and(SampledThread::is_unregistered) {
            return self.end_unregistered(id);
        }
        if let Some(sampled) = self.sampled.get_mut(&id) {
            self.triggers.end(sampled.trigger.take());
            if let Some(by_signal) = &sampled.by_signal {
                by_signal.entry.clear_slot();
            }
        }
        self.account_records(id, None, None);
        if let Some(sampled) = self.remove_sampled(id) {
            let ended = self.nanos_since_start(Instant::now());
            sampled.thread_clock.owners().for_each(|account| self.accounting.end(account, ended));
        }
        self.registered.retain(|_, (known, _)| *known != id);
    }

    /// Called when the thread's clock cannot be read, or is behind its last value. Unless the
    /// system merely refuses to read it, the id is another thread's by now, which must not be
    /// sampled with this one's slot.
    pub(super) fn end_if_gone(&mut self, id: i32) {
        let is_gone = |sampled: &SampledThread| sampled.clock.is_gone() || cpu_nanos(sampled.clock).is_some();
        if self.sampled.get(&id).is_some_and(is_gone) {
            self.end_unreported(id);
        }
    }

    /// Removes the thread and wakes its schedule entry; otherwise a reused id would be scheduled
    /// twice.
    pub(super) fn remove_sampled(&mut self, id: i32) -> Option<SampledThread> {
        let mut sampled = self.sampled.remove(&id)?;
        self.flags.remove(sampled.number);
        if let Some(ring) = &mut self.ring {
            ring.rings.retire(id, sampled.by_ring.events.take());
            sampled.waits.end_contexts();
        }
        if sampled.wall_state.is_some() {
            sampled.waits.end_times(self.began);
            sampled.waits.raise_flag();
        }
        Some(sampled)
    }

    /// Removes the thread, and keeps its slot's memory for another thread.
    fn remove_and_keep_arena(&mut self, id: i32) {
        if let Some(sampled) = self.remove_sampled(id)
            && self.spare_arenas.len() < MAX_SPARE_ARENAS
            && let Some(BySignal { slot, .. }) = sampled.by_signal
            && let Some(slot) = Arc::into_inner(slot)
        {
            self.spare_arenas.push(slot.into_arena());
        }
    }
}

/// Returns `true` if the kernel has given the sampled thread's id to another thread, whose CPU
/// clock is at `now`, and whose stack is `stack`. The sampled thread has ended then, and its guard
/// was leaked.
fn is_id_reused(sampled: &SampledThread, now: u64, stack: &Range<u64>) -> bool {
    let is_same_stack = sampled.stack.as_ref().is_some_and(|known| known.end == stack.end);
    now < sampled.thread_clock.last() || !is_same_stack
}
