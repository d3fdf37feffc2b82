//! A lazily made signal: it exists once it is first asked for. A thread of the tree has three such
//! signals, and mostly only one of them is ever used.
//!
//! Invariant: a signal that has been handed out goes when `go` was called, whichever of the two
//! came first. `go` stores `gone` and then looks for the signal; `get` makes the signal and then
//! looks at `gone`; a fence on both sides between the two steps, so that one of them at least sees
//! what the other did. Should both, the second `go` of the signal does nothing.
//!
//! Models: `loom_lazy_*` in `signal/loom_tests.rs`, and `model_tests` below.

use super::batch_wake::BatchWake;
use super::handle::Signal;
use crate::model::{AtomicBool, OnceLock, fence};
use crate::wait::{Ender, Stamp};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) struct LazySignal {
    /// Only ever becomes true. Of a signal that was handed out and told to go by its user it knows
    /// nothing.
    gone: AtomicBool,
    signal: OnceLock<Signal>,
    /// Of the call of `go`.
    stamp: Stamp,
}

impl LazySignal {
    pub(crate) fn new() -> LazySignal {
        LazySignal { gone: AtomicBool::new(false), signal: OnceLock::new(), stamp: Stamp::default() }
    }

    pub(crate) fn is_go(&self) -> bool {
        // Acquire, and Release in `go`: what happened before go is seen after is_go.
        self.gone.load(Ordering::Acquire) || self.signal.get().is_some_and(Signal::is_go)
    }

    /// Goes, unexplained.
    pub(crate) fn go(&self) {
        if let Some(signal) = self.set_gone() {
            signal.go_unexplained();
        }
    }

    /// The same, as one of the signals that go by one call.
    pub(crate) fn go_in(&self, batch: &mut BatchWake) {
        if let Some(signal) = self.set_gone() {
            batch.go_unexplained(signal);
        }
    }

    /// Returns the signal, if there is one: the caller lets it go.
    fn set_gone(&self) -> Option<&Signal> {
        self.stamp.set();
        self.gone.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.signal.get()
    }

    /// What made it go, while a recording counts waits.
    pub(crate) fn ender(&self) -> Ender {
        if self.gone.load(Ordering::Acquire) {
            self.stamp.get()
        } else {
            self.signal.get().map_or(Ender::UNKNOWN, Signal::ender)
        }
    }

    /// The signal itself, from now on called `<owner> <what>`.
    pub(crate) fn get(&self, owner: &Arc<str>, what: &'static str) -> &Signal {
        let signal = self.signal.get_or_init(|| Signal::of(owner, what));
        fence(Ordering::SeqCst);
        if self.gone.load(Ordering::Acquire) && !signal.is_go() {
            signal.0.fire_for(self.stamp.get());
        }
        signal
    }
}

#[cfg(all(test, not(selvedge_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_goes_before_and_after_the_first_get() {
        let owner = Arc::from("main/reader");
        let (before, after) = (LazySignal::new(), LazySignal::new());
        let signal = before.get(&owner, "stopped").clone();
        assert!(!signal.is_go() && !before.is_go());
        before.go();
        after.go();
        assert!(signal.is_go() && before.is_go() && after.is_go());
        assert!(after.get(&owner, "stopped").is_go());
        assert_eq!(signal.name(), "main/reader stopped");
    }

    #[test]
    fn a_signal_let_go_by_hand_has_gone() {
        let lazy = LazySignal::new();
        lazy.get(&Arc::from("main"), "stopped").go();
        assert!(lazy.is_go());
    }
}

#[cfg(all(test, selvedge_model, not(selvedge_loom)))]
mod model_tests {
    use super::*;
    use shuttle::thread;

    #[test]
    fn model_lazy_go_against_get() {
        let model = || {
            let lazy = Arc::new(LazySignal::new());
            let theirs = lazy.clone();
            let waiter = thread::spawn(move || theirs.get(&Arc::from("main"), "stopped").wait_for_go());
            lazy.go();
            waiter.join().unwrap();
            assert!(lazy.get(&Arc::from("main"), "stopped").is_go());
        };
        shuttle::check_random(model, 5_000);
        shuttle::check_pct(model, 5_000, 3);
    }
}
