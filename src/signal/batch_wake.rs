//! Many signals that go in one order, and whose waiters are woken in the other.
//!
//! The kernel keeps sleeping threads in a few lists (sixteen for a process, on two processors), the
//! first sleeper in front, and searches a list for the thread to wake. Threads are asked to stop
//! the youngest first. Woken in that order, each of ten thousand is found at the end of a list of
//! hundreds. Woken the oldest first, each is in front.
//!
//! Models: `loom_batch_wake_*` in `signal/loom_tests.rs`, and `model_tests` below.

use super::core::Sleepers;
use super::handle::Signal;
use super::reason::{KeptReason, Reason};

/// Signals that have gone. Their waiting threads are woken when this drops, or before any target
/// runs, since the target might wait for one of those threads.
#[derive(Default)]
pub(crate) struct BatchWake {
    asleep: Vec<(Signal, Sleepers)>,
}

impl BatchWake {
    /// `signal`, a plain one, goes because of `reason`.
    pub(crate) fn go_for(&mut self, signal: &Signal, reason: &Reason) {
        let Some(fired) = signal.0.set_gone(|| KeptReason::Made(reason.clone())) else { return };
        self.asleep.push((signal.clone(), fired.sleepers));
        if !fired.targets.is_empty() {
            self.wake();
            fired.targets.run();
        }
    }

    fn wake(&mut self) {
        let mut asleep = self.asleep.drain(..);
        // The first is the thread above the others, as a rule, and has work to do that does not
        // wait for them.
        let first = asleep.next();
        for (signal, sleepers) in first.into_iter().chain(asleep.rev()) {
            signal.0.wake(sleepers);
        }
    }
}

impl Drop for BatchWake {
    fn drop(&mut self) {
        self.wake();
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::wait::{Slot, become_thread};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn a_target_can_wait_for_earlier_waiters() {
        let (told, woken, with_target) = (Signal::new("told"), Signal::new("woken"), Signal::new("with target"));
        let (waits, wakes, seen) = (told.clone(), woken.clone(), Signal::new("seen"));
        let slot = Arc::<Slot>::default();
        let its_slot = slot.clone();
        let waiter = std::thread::spawn(move || {
            let _me = become_thread("main/waiter".into(), its_slot);
            waits.wait_for_go();
            wakes.go();
        });
        let deadline = Instant::now() + Duration::from_secs(100);
        while slot.get().is_none() {
            assert!(Instant::now() < deadline, "the waiter does not wait");
            std::thread::yield_now();
        }
        let sees = seen.clone();
        with_target.on_go(move || {
            if woken.wait_for_go_timeout(Duration::from_secs(100)) {
                sees.go();
            }
        });
        let reason = Reason::of("a test", None, None);
        let mut batch = BatchWake::default();
        batch.go_for(&told, &reason);
        assert!(told.is_go(), "it has gone, although its waiters sleep");
        batch.go_for(&with_target, &reason);
        assert!(seen.is_go(), "the target ran before the waiter was woken");
        drop(batch);
        waiter.join().unwrap();
        assert_eq!(told.reason().unwrap().text(), "a test");
    }
}

#[cfg(all(test, selvedge_model, not(selvedge_loom)))]
mod model_tests {
    use super::*;
    use shuttle::thread;

    #[test]
    fn model_batch_wake_against_waits_and_go() {
        let model = || {
            let signals = [Signal::new("a"), Signal::new("b"), Signal::new("c")];
            let mut threads: Vec<_> = signals.clone().map(|signal| thread::spawn(move || signal.wait_for_go())).into();
            let (other, chosen) = (signals[1].clone(), signals[2].clone());
            threads.push(thread::spawn(move || drop(other.go())));
            threads.push(thread::spawn(move || (&chosen | &Signal::never()).wait_for_go()));
            let reason = Reason::of("a model", None, None);
            let mut batch = BatchWake::default();
            signals.iter().for_each(|signal| batch.go_for(signal, &reason));
            drop(batch);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        };
        shuttle::check_random(model, 2_000);
        shuttle::check_pct(model, 2_000, 3);
    }
}
