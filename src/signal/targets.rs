//! The targets of signals that have gone, and the order in which they run. Knows no signals.
//!
//! A target of the program may block. It may wait for a thread that the same call asks to stop. So
//! a call that lets several signals go runs the targets of the program last: by then each of the
//! signals has gone, and each waiting thread was woken. The targets of this crate are part of the
//! waking: they disconnect a receiver, wake a thread from a system call, or forward a stop.
//!
//! Invariants
//! 1. A target of this crate neither blocks nor runs code of the program.
//! 2. What a target of this crate lets go belongs to the same call: the program's targets there are
//!    put into `LATER`, and the call runs them after its own.
//!
//! Models: `loom_batch_wake_*` in `signal/loom_tests.rs`, and `model_tests` in `batch_wake.rs`.

use crate::model::thread_local;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What is attached to signals, and acts when they go: a target of `on_go`, or the link of a
/// receiver. `on_go.rs` implements it.
pub(super) trait Attached: Send + Sync + fmt::Display {
    /// One of the signals that it is attached to has gone; `leaf` is the number that it has given
    /// to that signal.
    fn leaf_gone(&self, leaf: usize);

    /// The last handle of such a signal was dropped before it went.
    fn leaf_lost(&self, leaf: usize);

    /// Returns `true` if it runs code of the program, and `false` for a target of this crate.
    fn is_users(&self) -> bool;

    /// Detaches it from all signals.
    fn unlink(&self);
}

/// The targets of one signal by the order of their attachment, each with the number of the leaf.
#[derive(Default)]
pub(super) struct Targets(BTreeMap<u64, (Arc<dyn Attached>, usize)>);

thread_local! {
    /// While the calling thread runs targets of this crate: the targets of the program that are to
    /// run after them.
    static LATER: RefCell<Option<Vec<Targets>>> = const { RefCell::new(None) };
}

impl Targets {
    pub(super) fn new(attached: BTreeMap<u64, (Arc<dyn Attached>, usize)>) -> Targets {
        Targets(attached)
    }

    /// Runs the targets of this crate. Returns those of the program: first its own, then those of
    /// the signals that went thereby.
    pub(super) fn run_own(self) -> Vec<Targets> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let (users, own): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.0.into_iter().partition(|(_, (target, _))| target.is_users());
        let mut users = if users.is_empty() { Vec::new() } else { vec![Targets(users)] };
        if !own.is_empty() {
            users.append(&mut collect_later(|| Targets(own).run()));
        }
        users
    }

    fn run(self) {
        for (target, leaf) in self.in_order() {
            target.leaf_gone(leaf);
        }
    }

    /// In the order of their attachment, each with the number of the leaf that has gone.
    pub(super) fn in_order(self) -> impl Iterator<Item = (Arc<dyn Attached>, usize)> {
        self.0.into_values()
    }
}

/// Runs the targets of the program, in this order. Called within a target of this crate, it leaves
/// them to the call that runs that target.
pub(super) fn run_users(mut targets: Vec<Targets>) {
    if targets.is_empty() {
        return;
    }
    let _ = LATER.try_with(|later| {
        if let Some(later) = &mut *later.borrow_mut() {
            later.append(&mut targets);
        }
    });
    targets.into_iter().for_each(Targets::run);
}

/// Calls `run`, and returns the targets that it leaves to the calling thread. The result is empty if
/// a call around this one collects them.
fn collect_later(run: impl FnOnce()) -> Vec<Targets> {
    let begin = |later: &RefCell<Option<Vec<Targets>>>| {
        let mut later = later.borrow_mut();
        let is_outermost = later.is_none();
        later.get_or_insert_default();
        is_outermost
    };
    let is_outermost = LATER.try_with(begin).unwrap_or(false);
    run();
    if !is_outermost {
        return Vec::new();
    }
    LATER.try_with(RefCell::take).ok().flatten().unwrap_or_default()
}
