//! Sampling without signals: the sampler reads the kernel's rings, and accounts the samples in
//! them.
//!
//! Invariants
//! 1. A thread that a sampled thread starts inherits its events. All others get events of their
//!    own: the threads that live when the recording starts at once, and each thread that uses CPU
//!    time without having a sample.
//! 2. If a thread has events of its own, samples by inherited ones do not count.
//! 3. The events of a thread that has ended live on, since other threads have inherited them.
//! 4. Samples are read before anything changes by which they are accounted: the accounts of their
//!    thread, and the list of modules.

use super::data::{State, cpu_nanos};
use super::ring::{ByRing, RingSampling};
use crate::os::monotonic_nanos;
use crate::profile::engines::timer::kernel_rings::{KernelRings, Refusal, clocks_of_samples};
use crate::profile::engines::timer::ring::Record;
use crate::wait::{self, Shown};
use std::time::Instant;

/// A thread that has used so many periods without a sample has no events, or has lost them. On its
/// way from one processor to the next, a thread may use a period on each without a sample.
const SILENT_PERIODS: u64 = 4;

/// How often a thread gets events: a thread that is in the kernel all the time, which may not be
/// sampled, has no samples all the same.
const MOST_TRIES: u8 = 3;

impl State {
    /// Samples by the kernel's rings, and not by signals. Before any thread is sampled.
    pub(in super::super) fn set_rings(&mut self, rings: KernelRings) {
        let event_clock = wait::nanos(Instant::now()) as i64 - monotonic_nanos() as i64;
        let (without_events, reason, warning, clocks) = (0, None, None, Vec::new());
        let ring = RingSampling { rings, is_listing: true, event_clock, without_events, reason, warning, clocks };
        self.ring = Some(ring);
        // The list of modules goes to the rings.
        self.module_list = Default::default();
        self.renew_modules();
    }

    /// Notes why the rings are not used, for the report.
    pub(in super::super) fn note_no_rings(&mut self, refusal: Refusal) {
        self.no_rings = Some(format!("sampled by signals, since there are no rings: {refusal}"));
    }

    /// What the thread, whose CPU clock is at `clock`, begins with.
    pub(super) fn first_events(&mut self, id: i32, clock: u64) -> ByRing {
        let Some(ring) = &mut self.ring else { return ByRing::default() };
        let events = if ring.is_listing { ring.start(id) } else { ring.rings.take_retired(id) };
        ByRing { events, checked: clock, ..ByRing::default() }
    }

    /// Gives the thread events of its own if it uses CPU time and has no samples.
    pub(super) fn check_events(&mut self, id: i32) {
        let Some((sampled, ring)) = self.sampled.get_mut(&id).zip(self.ring.as_mut()) else { return };
        let Some(clock) = cpu_nanos(sampled.clock).filter(|&clock| clock >= sampled.thread_clock.last()) else {
            return self.end_if_gone(id);
        };
        let by_ring = &mut sampled.by_ring;
        if clock.saturating_sub(by_ring.checked) < SILENT_PERIODS * ring.rings.period() {
            return;
        }
        if by_ring.samples == 0 && by_ring.tries < MOST_TRIES {
            by_ring.tries += 1;
            ring.rings.end(by_ring.events.take());
            by_ring.events = ring.start(id);
        }
        (by_ring.checked, by_ring.samples) = (clock, 0);
    }

    /// Copies longer stacks from now on, if many are cut.
    pub(super) fn lengthen_stacks(&mut self) {
        let Some(ring) = self.ring.as_mut().filter(|_| self.running) else { return };
        // Counted only when it decides: in most rounds it does not, and there may be many threads.
        let with_events = || self.sampled.values().filter(|sampled| sampled.by_ring.events.is_some()).count();
        if !ring.rings.lengthens_stacks(self.sampled.len(), with_events) {
            return;
        }
        self.end_events();
        self.read_rings(None);
        let Some(ring) = &mut self.ring else { return };
        for (&id, sampled) in &mut self.sampled {
            sampled.by_ring.events = ring.start(id);
        }
    }

    /// Ends all events. Their samples are still in the rings.
    pub(super) fn end_events(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        ring.rings.end_retired();
        for sampled in self.sampled.values_mut() {
            ring.rings.end(sampled.by_ring.events.take());
        }
    }

    /// Reads the kernel's rings, and accounts the samples of all threads in them. `ending`: a
    /// thread whose CPU clock is known, since it ends. Does nothing if threads are sampled by
    /// signals.
    pub(super) fn read_rings(&mut self, ending: Option<(i32, u64)>) {
        let Some(ring) = &mut self.ring else { return };
        let sampled = &self.sampled;
        ring.rings.read(|id, stream| {
            let sampled = sampled.get(&id)?;
            let counts = sampled.by_ring.events.as_ref().is_none_or(|events| events.has(stream));
            counts.then(|| sampled.stack.clone())
        });
        self.accounting.add_unplaced(ring.rings.take_lost());
        let mut clocks = std::mem::take(&mut ring.clocks);
        for samples in ring.rings.samples().chunk_by(|a, b| a.thread == b.thread) {
            let id = samples[0].thread;
            let Some(sampled) = self.sampled.get_mut(&id) else { continue };
            sampled.by_ring.samples += samples.len() as u64;
            let (before, period) = (sampled.thread_clock.last(), ring.rings.period());
            let known = ending.filter(|(ending, _)| *ending == id).map(|(_, clock)| clock);
            // A thread that is gone has used what its samples say.
            let clock = known.or_else(|| cpu_nanos(sampled.clock));
            let clock = clock.unwrap_or(before + samples.len() as u64 * period);
            let times = samples.iter().map(|sample| sample.at);
            clocks_of_samples(times, (before, clock), monotonic_nanos(), period, &mut clocks);
            for (sample, &clock) in samples.iter().zip(&clocks) {
                let record = Record {
                    clock,
                    at: sample.at.saturating_add_signed(ring.event_clock),
                    ending: sample.ending,
                    shown: Shown::default(),
                    context: sampled.waits.context_number_at(sample.at),
                    addresses: ring.rings.addresses(sample),
                };
                let stack = self.accounting.account_record(&mut sampled.thread_clock, record);
                if let Some(tracing) = &mut self.tracing {
                    tracing.sample(&record, stack, &mut sampled.traced_clock);
                }
            }
            if let Some(tracing) = &mut self.tracing {
                tracing.hand_over(sampled.handles.last());
            }
        }
        ring.clocks = clocks;
    }
}
