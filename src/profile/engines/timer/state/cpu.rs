//! The CPU clock: decides which threads need a perf clock in place of their timer. Knows no stacks.

use super::{State, nanos};
use crate::os::task;
use crate::profile::engines::timer::triggers::Trigger;

impl State {
    /// Gives it a perf clock instead of its timer, if it needs one.
    pub(super) fn check_timer(&mut self, id: i32) {
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        if sampled.trigger.as_ref().is_some_and(Trigger::is_exact) {
            return;
        }
        let Some(clock) = nanos(sampled.clock).filter(|&clock| clock >= sampled.thread_clock.last()) else {
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
        if let Some(exact) = self.triggers.perf_clock(&mut sampled.timer_check, sampled.clock) {
            self.triggers.end(sampled.trigger.replace(exact));
            if is_running {
                // The clock's periods begin here: what the thread has used of one before has a
                // sample of its own.
                self.obstacles.send(id);
            }
        }
    }
}
