//! Moves records from the threads' rings to their accounts, closes accounts, and ends the
//! recording.

use super::data::{SampledThread, State, cpu_nanos};
use crate::os::task;
use crate::profile::engines::timer::accounting::{Accounting, Still, ThreadClock, ThreadSnapshot, WallState};
use crate::profile::engines::timer::handler;
use crate::profile::engines::timer::wall_schedule::Tick;
use std::sync::atomic::Ordering;

impl State {
    /// Accounts what the thread's handler has written into its ring; by the wall clock, its waits
    /// too. `clock`: its CPU clock, if known. `until`: the wall clock at its end, if it has ended.
    pub(super) fn account_records(&mut self, id: i32, clock: Option<u64>, until: Option<u64>) {
        if self.ring.is_some() {
            return self.read_rings(clock.map(|clock| (id, clock)));
        }
        self.account_lost(id);
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if sampled.wall_state.is_some() {
            self.snapshot_by_wall(id, clock, until, false);
        } else if let Some(by_signal) = sampled.by_signal.as_ref().filter(|by_signal| !by_signal.slot.is_empty()) {
            let (accounting, tracing) = (&mut self.accounting, &mut self.tracing);
            let SampledThread { thread_clock, traced_clock, .. } = sampled;
            by_signal.slot.read(&mut self.address_buffer, |record| {
                let stack = accounting.account_record(thread_clock, record);
                if let Some(tracing) = tracing {
                    tracing.sample(&record, stack, traced_clock);
                }
            });
            if let Some(tracing) = tracing {
                tracing.hand_over(sampled.handles.last());
            }
        }
    }

    /// Accounts the samples for which the ring had no room. Before the records are read: their
    /// clocks cover the time of the lost samples.
    pub(super) fn account_lost(&mut self, id: i32) {
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        let Some(by_signal) = &sampled.by_signal else { return };
        // Relaxed: a count.
        let lost = by_signal.slot.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.accounting.add_lost(&mut sampled.thread_clock, lost);
        }
    }

    /// Closes the thread's account in charge, which may go on after that. `clock`: its CPU clock,
    /// if known.
    pub(super) fn close_account(&mut self, id: i32, clock: Option<u64>) {
        let now = self.now();
        self.close_account_at(id, clock, now);
    }

    /// The same, at the wall clock `now`.
    pub(super) fn close_account_at(&mut self, id: i32, clock: Option<u64>, now: u64) {
        let until = (now, self.wall.schedule.tick());
        if let Some(sampled) = self.sampled.get_mut(&id) {
            let (mut thread_clock, mut wall_state) = (sampled.thread_clock.clone(), sampled.wall_state.clone());
            let still = close(&mut self.accounting, sampled, clock, &mut thread_clock, wall_state.as_mut(), until);
            (sampled.thread_clock, sampled.wall_state) = (thread_clock, wall_state);
            if let Some(tracing) = &mut self.tracing {
                still.into_iter().for_each(|still| tracing.still(still));
                tracing.close(now, &mut sampled.traced_clock, sampled.thread_clock.last());
                tracing.hand_over(sampled.handles.last());
            }
        }
    }

    /// A copy of the accounting as if the recording ended now.
    pub(in super::super) fn closed_copy(&mut self) -> Accounting {
        self.attach_all_deferred();
        for id in self.sampled_ids() {
            self.account_records(id, None, None);
        }
        let (mut copy, now) = (self.accounting.copy_to_close(), (self.now(), self.wall.schedule.tick()));
        for sampled in self.sampled.values() {
            let (mut thread_clock, mut wall_state) = (sampled.thread_clock.clone(), sampled.wall_state.clone());
            close(&mut copy, sampled, None, &mut thread_clock, wall_state.as_mut(), now);
        }
        self.close_deferred(&mut copy);
        self.close_process(&mut copy);
        copy
    }

    /// Ends all sampling and closes the accounts of all threads.
    pub(in super::super) fn stop(&mut self) {
        // So that code that was loaded since the sampler's last round has names.
        self.renew_modules();
        self.admit_last_newcomers();
        self.running = false;
        // All sources of signals first, then what they have sent.
        self.cpu.unneeded_timers.clear();
        for sampled in self.sampled.values_mut() {
            self.triggers.end(sampled.trigger.take());
        }
        for by_signal in self.sampled.values().filter_map(|sampled| sampled.by_signal.as_ref()) {
            by_signal.entry.clear_slot();
        }
        self.end_events();
        for id in self.sampled_ids() {
            self.account_records(id, None, None);
            self.close_account(id, None);
        }
        let mut accounting = std::mem::take(&mut self.accounting);
        self.close_deferred(&mut accounting);
        self.deferred.clear();
        self.close_process(&mut accounting);
        self.accounting = accounting;
        for sampled in self.sampled.values().filter(|sampled| sampled.wall_state.is_some()) {
            sampled.waits.end_times(self.began);
        }
        for sampled in self.sampled.values().filter(|_| self.ring.is_some()) {
            sampled.waits.end_contexts();
        }
        self.sampled.clear();
        self.flags = Default::default();
        self.registered.clear();
        self.spare_arenas = Vec::new();
        // No entry leads to a slot any more, and each handler that found a slot has ended: no
        // handler reads the modules.
        if self.ring.is_none() {
            drop(handler::publish(None));
        }
        (self.retired_modules, self.wall.retired_waits) = (Vec::new(), Vec::new());
    }
}

/// Closes the thread's account in charge in `accounting`. Returns where the thread has not moved from,
/// by the wall clock. `clock`: its CPU clock, if known; `now`:
/// the wall clock and the last tick.
fn close(
    accounting: &mut Accounting,
    sampled: &SampledThread,
    clock: Option<u64>,
    thread_clock: &mut ThreadClock,
    wall_state: Option<&mut WallState>,
    now: (u64, Tick),
) -> Option<Still> {
    let clock = clock.or_else(|| cpu_nanos(sampled.clock)).unwrap_or(0);
    match wall_state {
        None => {
            accounting.close(thread_clock, clock);
            None
        }
        Some(wall_state) => {
            let snapshot = ThreadSnapshot { clock, shown: sampled.waits.shown(), ..ThreadSnapshot::default() };
            let run_delay = || Some(task::run_delay(sampled.clock.thread())?.as_nanos() as u64);
            accounting.close_by_wall(thread_clock, wall_state, now, &snapshot, &run_delay)
        }
    }
}
