//! Samples with their times, for the trace of a recording that counts waits. Without one, nothing here
//! is called.

use crate::profile::engines::timer::accounting::Still;
use crate::profile::engines::timer::ring::Record;
use crate::profile::trace::Collector;
use crate::record::Event;
use crate::thread::Thread;
use crate::wait;
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Tracing {
    collector: Arc<Collector>,
    /// When the recording began, on the clock of all events.
    began: u64,
    /// Events of one thread, which go to the collector together.
    events: Vec<Event>,
}

impl Tracing {
    pub(super) fn new(collector: Arc<Collector>, began: Instant) -> Tracing {
        Tracing { collector, began: wait::nanos(began), events: Vec::new() }
    }

    /// A record that a handler has written. `stack`: the number of its stack; `clock`: the thread's CPU
    /// clock at the sample before.
    pub(super) fn sample(&mut self, record: &Record<'_>, stack: u32, clock: &mut u64) {
        let cpu = step(clock, record.clock);
        self.events.push(Event::Sample { at: record.at, cpu, stack, ending: record.ending as u8 });
    }

    /// The thread had not moved since its last sample up to that time.
    pub(super) fn still(&mut self, still: Still) {
        let Still { stack, ending, until } = still;
        self.events.push(Event::Sample { at: self.began + until, cpu: 0, stack, ending: ending as u8 });
    }

    /// The thread's CPU clock is at `now` at a time of the recording, where its time is closed.
    pub(super) fn close(&mut self, at: u64, clock: &mut u64, now: u64) {
        let cpu = step(clock, now);
        self.events.push(Event::Sample { at: self.began + at, cpu, stack: 0, ending: Event::NO_STACK });
    }

    /// Events that were added since the last call are of that thread. `None`: it is not registered, and
    /// not traced.
    pub(super) fn hand_over(&mut self, thread: Option<&Thread>) {
        match thread {
            Some(thread) => self.collector.add(thread.id(), self.events.drain(..)),
            None => self.events.clear(),
        }
    }
}

/// Moves the clock on to `now`, and returns by how much.
fn step(clock: &mut u64, now: u64) -> u64 {
    let step = now.saturating_sub(*clock);
    *clock += step;
    step
}
