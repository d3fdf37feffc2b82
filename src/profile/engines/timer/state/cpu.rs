//! What sampling by the CPU clock needs besides: when a new thread's first sample is due, how often
//! new threads come, and which timers to check.

use crate::profile::engines::timer::ids::random;
use crate::profile::engines::timer::triggers::{Trigger, Triggers};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// With a new thread this often, attachment is deferred.
const FAST_SPAWNING: Duration = Duration::from_micros(500);

pub(super) struct CpuSampling {
    /// For the threads' first expiries, and how many were drawn.
    seed: u64,
    drawn: u64,
    /// New threads since the last round.
    pub(super) new_threads: u64,
    /// The last round found many new threads.
    pub(super) is_spawning_fast: bool,
    /// With a period shorter than the kernel's tick: the threads that have come since the last
    /// round. The sooner their timers are checked, the less they lose.
    pub(super) unchecked: Vec<i32>,
    /// Timers of ended threads, to be deleted by the sampler. Deleting is half of what a timer
    /// costs a thread that ends at once.
    pub(super) unneeded_timers: Vec<Trigger>,
}

impl CpuSampling {
    pub(super) fn new(began: Instant) -> CpuSampling {
        CpuSampling {
            seed: RandomState::new().hash_one(began),
            drawn: 0,
            new_threads: 0,
            is_spawning_fast: false,
            unchecked: Vec::new(),
            unneeded_timers: Vec::new(),
        }
    }

    /// Draws the CPU time after which a thread's first sample is due.
    pub(super) fn draw_first_expiry(&mut self, triggers: &Triggers) -> Duration {
        self.drawn += 1;
        triggers.first_expiry(random(self.seed, self.drawn))
    }

    /// Ends a round, which came `pause` after the one before. Returns `true` if so many threads are
    /// new that the next round must be at the next tick.
    pub(super) fn end_round(&mut self, pause: Duration) -> bool {
        let new_threads = std::mem::take(&mut self.new_threads);
        self.is_spawning_fast = new_threads * FAST_SPAWNING.as_nanos() as u64 >= pause.as_nanos() as u64;
        self.is_spawning_fast
    }
}
