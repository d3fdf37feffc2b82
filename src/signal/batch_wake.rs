//! Many signals that go by one call. First each of them goes, then their waiting threads are woken,
//! then their targets run, in the order in which the signals went.
//!
//! The kernel keeps sleeping threads in a few lists (sixteen for a process, on two processors), the
//! first sleeper in front, and searches a list for the thread to wake. Threads are asked to stop
//! the youngest first. Woken in that order, each of ten thousand is found at the end of a list of
//! hundreds. Woken the oldest first, each is in front.
//!
//! Models: `loom_batch_wake_*` in `signal/loom_tests.rs`, and `model_tests` below.

use super::core::{Fired, Sleepers};
use super::handle::Signal;
use super::reason::{KeptReason, Reason};
use super::targets::{Targets, run_users};

/// Signals that have gone. When this drops, it wakes their waiting threads and then runs their
/// targets.
#[derive(Default)]
pub(crate) struct BatchWake {
    asleep: Vec<(Signal, Sleepers)>,
    targets: Vec<Targets>,
}

impl BatchWake {
    /// `signal`, a plain one, goes because of `reason`.
    pub(crate) fn go_for(&mut self, signal: &Signal, reason: &Reason) {
        self.add(signal, signal.0.set_gone(|| KeptReason::Made(reason.clone())));
    }

    /// `signal`, a plain one whose meaning is its reason, goes.
    pub(crate) fn go_unexplained(&mut self, signal: &Signal) {
        self.add(signal, signal.0.set_gone(|| KeptReason::None));
    }

    fn add(&mut self, signal: &Signal, fired: Option<Fired>) {
        let Some(fired) = fired else { return };
        self.asleep.push((signal.clone(), fired.sleepers));
        self.targets.extend(fired.targets.run_own());
    }

    /// Wakes the waiting threads now. The targets run later.
    pub(crate) fn wake(&mut self) {
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
        run_users(std::mem::take(&mut self.targets));
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::wait::{Slot, become_thread};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Longer than anything here may take.
    const DEADLINE: Duration = Duration::from_secs(100);

    #[test]
    fn a_target_can_wait_for_all_waiters() {
        let [first, second] = ["first", "second"].map(|name| (Signal::new(name), Signal::new("woken")));
        let waiters = [&first, &second].map(|(told, woken)| {
            let (told, woken, slot) = (told.clone(), woken.clone(), Arc::<Slot>::default());
            let its_slot = slot.clone();
            let waiter = std::thread::spawn(move || {
                let _me = become_thread("main/waiter".into(), its_slot);
                told.wait_for_go();
                woken.go();
            });
            let deadline = Instant::now() + DEADLINE;
            while slot.get().is_none() {
                assert!(Instant::now() < deadline, "the waiter does not wait");
                std::thread::sleep(Duration::from_millis(1));
            }
            waiter
        });
        let (with_target, seen) = (Signal::new("with target"), Signal::new("seen"));
        let (sees, woken) = (seen.clone(), &first.1 & &second.1);
        with_target.on_go(move || {
            if woken.wait_for_go_timeout(DEADLINE) {
                sees.go();
            }
        });
        let reason = Reason::of("a test", None, None);
        let mut batch = BatchWake::default();
        batch.go_for(&first.0, &reason);
        assert!(first.0.is_go(), "it has gone, although its waiters sleep");
        batch.go_for(&with_target, &reason);
        batch.go_for(&second.0, &reason);
        drop(batch);
        assert!(seen.is_go(), "the target ran before the waiters were woken");
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(first.0.reason().unwrap().text(), "a test");
    }

    #[test]
    fn targets_run_in_the_order_of_the_signals() {
        let (send, ran) = std::sync::mpsc::channel();
        let signals = ["a", "b"].map(Signal::new);
        let note = |text: &'static str| {
            let send = send.clone();
            move || send.send(text).unwrap()
        };
        // A target of this crate lets another signal go: that belongs to the same call.
        let forwarded = Signal::new("forwarded");
        forwarded.on_go(note("forwarded"));
        signals[1].on_go(note("b"));
        signals[0].on_go(note("a1"));
        signals[0].on_go_first(move || {
            forwarded.go();
        });
        signals[0].on_go(note("a2"));
        let mut batch = BatchWake::default();
        signals.iter().for_each(|signal| batch.go_unexplained(signal));
        batch.wake();
        assert_eq!(ran.try_iter().count(), 0);
        drop(batch);
        assert_eq!(ran.try_iter().collect::<Vec<_>>(), ["a1", "a2", "forwarded", "b"]);
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

    #[test]
    fn model_batch_wake_a_target_waits_for_a_later_waiter() {
        let model = || {
            let [a, b, woken] = ["a", "b", "woken"].map(Signal::new);
            let (waits, wakes, awaits) = (b.clone(), woken.clone(), woken.clone());
            let waiter = thread::spawn(move || {
                waits.wait_for_go();
                wakes.go();
            });
            a.on_go(move || awaits.wait_for_go());
            let reason = Reason::of("a model", None, None);
            let mut batch = BatchWake::default();
            [&a, &b].into_iter().for_each(|signal| batch.go_for(signal, &reason));
            drop(batch);
            assert!(woken.is_go());
            waiter.join().unwrap();
        };
        shuttle::check_random(model, 2_000);
        shuttle::check_pct(model, 2_000, 3);
    }
}
