//! The sampler's round by the CPU clock: empties rings, and replaces timers that miss samples by
//! perf clocks.

use super::data::{State, cpu_nanos};
use crate::os::task;
use crate::profile::engines::timer::triggers::{Source, Trigger};
use std::time::Duration;

/// The number of threads visited in one round although nothing says that they need it, at two
/// microseconds each.
const CLOCKS_PER_ROUND: usize = 32;

impl State {
    /// Puts into `threads` the threads that the sampler visits in this round. By the CPU clock:
    /// threads with new samples, and some others in turn, since their timers may miss them. By the
    /// wall clock: threads that may have moved.
    pub(in super::super) fn select(&mut self, threads: &mut Vec<i32>) {
        threads.clear();
        self.cpu.unneeded_timers.clear();
        self.attach_deferred();
        if self.triggers.source() == Source::Wall {
            return self.select_by_wall(threads);
        }
        self.read_rings(None);
        threads.append(&mut self.cpu.unchecked);
        self.flags.drain(|id| threads.push(id));
        self.flags.in_turn(CLOCKS_PER_ROUND, |id| threads.push(id));
        threads.sort_unstable();
        threads.dedup();
    }

    /// The sampler's visit to one thread.
    pub(in super::super) fn visit(&mut self, id: i32) {
        match self.triggers.source() {
            Source::Wall => self.tick(id),
            Source::Rings => self.check_events(id),
            Source::Cpu { .. } => {
                self.account_records(id, None, None);
                self.check_timer(id);
            }
        }
    }

    /// Ends a round, which came `pause` after the one before. Returns `true` if so many threads are
    /// new that the next round must be at the next tick.
    pub(in super::super) fn end_round(&mut self, pause: Duration) -> bool {
        self.lengthen_stacks();
        self.make_room_for_stacks();
        self.cpu.end_round(pause)
    }

    /// Gives the thread a perf clock in place of its timer, if the timer misses samples.
    fn check_timer(&mut self, id: i32) {
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if sampled.trigger.as_ref().is_some_and(Trigger::is_exact) {
            return;
        }
        let Some(clock) = cpu_nanos(sampled.clock).filter(|&clock| clock >= sampled.thread_clock.last()) else {
            return self.end_if_gone(id);
        };
        let mut is_running = false;
        let runs = || {
            is_running = task::read(id).is_some_and(|task| task.doing == task::Doing::Runs);
            is_running
        };
        if !self.triggers.needs_perf_clock(&mut sampled.timer_check, &sampled.thread_clock, clock, runs)
            || self.is_blocking(id)
        {
            return;
        }
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if let Some(perf_clock) = self.triggers.perf_clock(&mut sampled.timer_check, sampled.clock) {
            self.triggers.end(sampled.trigger.replace(perf_clock));
            if is_running {
                // The perf clock's first period begins now. The part of a period that the thread
                // has used before gets a sample by this signal.
                self.obstacles.send(id);
            }
        }
    }
}
