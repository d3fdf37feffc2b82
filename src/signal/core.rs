//! The node behind a Signal: its state, its waiters, what is attached to it. Knows no timer and no
//! handles; composites are asked in `walk.rs`.
//!
//! Invariants
//! 1. `state` only ever moves to GONE.
//! 2. `fired` is set once, under the lock, by the thread that takes the sender and the targets out;
//!    it uses them after unlocking, in the order of `targets.rs`. So nothing of the user's runs under
//!    a lock. No thread holds two locks, so there is no order of locks.
//! 3. A sender or a target that is put in under the lock while `fired` is unset will be taken out
//!    by it.
//! 4. A part never owns its composite, and a target owns no leaf but a Till (which lets go of it
//!    when it expires): so there is no cycle that outlives its users. Targets unlink themselves
//!    from all leaves when they have run or are cancelled.
//!
//! Models: `loom_signal_*` in `signal/loom_tests.rs`, and `sync/model_tests.rs`.

use super::reason::{Decision, KeptReason, Reason};
use super::stops::{PLEASE_STOP, tell_of_stop};
use super::targets::{Attached, Targets, run_users};
use crate::model::{AtomicU8, Condvar, Mutex, OnceLock, Receiver, Sender, bounded, never};
use crate::os::tell::tell;
use crate::wait::{self, Ender};
use log::Level;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Not gone, and nothing but `go` can change that. Plain signals, and `never`.
const OPEN: u8 = 0;
/// Gone, forever.
const GONE: u8 = 1;
/// Not known to have gone: the clock (Till) or the parts (Any, All) decide. The thread that finds
/// it gone stores GONE.
const DERIVED: u8 = 2;

pub(super) enum Kind {
    Plain(Name),
    Never,
    Till(Instant),
    Any(Box<[Arc<Core>]>),
    All(Box<[Arc<Core>]>),
}

/// What a plain signal is called.
pub(super) enum Name {
    Own(Arc<str>),
    /// `main/reader please_stop`: put together on the first request, since most such names are
    /// never requested.
    Of(Arc<str>, &'static str),
    /// `pages at 12`: the same, with a number that runs.
    At(Arc<str>, u64),
}

pub(super) struct Core {
    /// | value   | means                                | leaves it                                          |
    /// |---------|--------------------------------------|----------------------------------------------------|
    /// | OPEN    | not gone                             | `go`, to GONE                                      |
    /// | DERIVED | ask the clock or the parts           | a thread that finds the condition true, or `go` on a Till, to GONE |
    /// | GONE    | gone                                 | never                                              |
    state: AtomicU8,
    pub(super) kind: Kind,
    pub(super) slow: Mutex<Slow>,
    /// A thread that waits for this signal alone sleeps here. It is notified after unlocking. A
    /// channel wakes under its lock, and a thread woken on the waker's own core then runs into that
    /// lock.
    fired: Condvar,
    receiver: OnceLock<Receiver<Infallible>>,
    /// What disconnects the receiver of a composite or a Till; made when the receiver was first
    /// asked for.
    pub(super) link: OnceLock<Arc<dyn Attached>>,
}

/// What is left to do for a signal that has gone: to wake the sleepers, and then to run the targets.
pub(super) struct Fired {
    /// It had not gone before.
    first: bool,
    pub(super) sleepers: Sleepers,
    pub(super) targets: Targets,
}

/// The threads that slept on a signal when it went.
pub(super) struct Sleepers {
    /// There are threads that wait for this signal alone.
    is_any: bool,
    /// Its drop wakes the threads that wait for several.
    sender: Option<Sender<Infallible>>,
}

/// What changes only under the lock.
#[derive(Default)]
pub(super) struct Slow {
    pub(super) fired: bool,
    /// In place before the signal is seen to have gone.
    reason: KeptReason,
    /// The number of threads that sleep on `Core::fired`. Without any, a notification would still be a
    /// system call. On one core, a thread that is woken often answers before the other one waits.
    sleepers: usize,
    /// What made it go, while a recording counts waits.
    ender: Ender,
    sender: Option<Sender<Infallible>>,
    /// By order of attachment, each with the number that this leaf has in the target's condition.
    pub(super) targets: BTreeMap<u64, (Arc<dyn Attached>, usize)>,
    pub(super) next_target: u64,
    /// A Till that the timer has been told of, perhaps not for the last time.
    pub(super) timed: bool,
}

impl Core {
    pub(super) fn new(kind: Kind) -> Arc<Core> {
        let state = match kind {
            Kind::Plain(_) | Kind::Never => OPEN,
            Kind::Till(_) | Kind::Any(_) | Kind::All(_) => DERIVED,
        };
        Arc::new(Core {
            state: AtomicU8::new(state),
            kind,
            slow: Mutex::default(),
            fired: Condvar::new(),
            receiver: OnceLock::new(),
            link: OnceLock::new(),
        })
    }

    #[inline]
    pub(super) fn is_go(&self) -> bool {
        // Acquire pairs with the Release in `go`: what happened before go is seen after is_go.
        match self.state.load(Ordering::Acquire) {
            OPEN => false,
            GONE => true,
            _ => self.evaluate(),
        }
    }

    /// Known to have gone, without asking the clock or the parts.
    pub(super) fn is_known_gone(&self) -> bool {
        self.state.load(Ordering::Acquire) == GONE
    }

    /// Whether it has gone; `None` if that is for its parts to say.
    pub(super) fn has_gone_by_itself(&self) -> Option<bool> {
        match &self.kind {
            _ if self.is_known_gone() => Some(true),
            Kind::Plain(_) | Kind::Never => Some(false),
            Kind::Till(at) => {
                let gone = Instant::now() >= *at;
                if gone {
                    self.mark_gone();
                }
                Some(gone)
            }
            Kind::Any(_) | Kind::All(_) => None,
        }
    }

    /// The clock or the parts have said that it has gone.
    pub(super) fn mark_gone(&self) {
        // Release hands on what was acquired from the parts. A swap and not a store: it keeps what
        // a `go` that came between has released.
        self.state.swap(GONE, Ordering::AcqRel);
    }

    /// Goes because of `reason`, if there is one to tell.
    pub(super) fn go(&self, reason: impl FnOnce() -> KeptReason) -> bool {
        match self.kind {
            Kind::Plain(_) => self.fire_because(reason),
            Kind::Till(_) => {
                // A Till whose time has come has gone by itself, even if no thread has looked.
                let expired = self.is_go();
                self.fire_because(|| if expired { KeptReason::None } else { reason() }) && !expired
            }
            Kind::Never | Kind::Any(_) | Kind::All(_) => {
                let text = format!("go() on {} has no effect: it goes when its parts do", self.name());
                tell(Level::Warn, module_path!(), &text);
                false
            }
        }
    }

    /// Goes with nothing to say: by the clock, by its parts.
    pub(super) fn fire(&self) -> bool {
        self.fire_because(|| KeptReason::None)
    }

    /// The same, for what `ender` has ended before.
    pub(super) fn fire_for(&self, ender: Ender) {
        if let Some(fired) = self.set_gone_for(|| KeptReason::None, || ender) {
            self.finish_go(fired);
        }
    }

    /// Goes, wakes, runs targets. True if it had not gone before.
    fn fire_because(&self, reason: impl FnOnce() -> KeptReason) -> bool {
        self.set_gone(reason).is_some_and(|fired| self.finish_go(fired))
    }

    /// Wakes the waiting threads, then runs the targets. Returns `true` if it had not gone before.
    fn finish_go(&self, fired: Fired) -> bool {
        self.wake(fired.sleepers);
        run_users(fired.targets.run_own());
        fired.first
    }

    /// Goes, and returns what is to be done then. `None` if another thread does that.
    pub(super) fn set_gone(&self, reason: impl FnOnce() -> KeptReason) -> Option<Fired> {
        self.set_gone_for(reason, Ender::me)
    }

    /// [`set_gone`](Self::set_gone), where `ender` says what ends the waits: the calling thread, or the
    /// clock.
    fn set_gone_for(&self, reason: impl FnOnce() -> KeptReason, ender: impl FnOnce() -> Ender) -> Option<Fired> {
        if self.is_known_gone() && self.slow.lock().fired {
            return None;
        }
        // Made before the lock is taken, and in vain if another is faster.
        let reason = match reason() {
            KeptReason::None => KeptReason::unexplained(),
            reason => reason,
        };
        let fired = {
            let mut slow = self.slow.lock();
            if slow.fired {
                return None;
            }
            slow.fired = true;
            slow.reason = reason;
            slow.ender = ender();
            // Release: see is_go. Under the lock, so that `attach` and `receiver` either put
            // something in that is taken out here, or see GONE.
            let first = self.state.swap(GONE, Ordering::AcqRel) != GONE;
            let sleepers = Sleepers { is_any: slow.sleepers > 0, sender: slow.sender.take() };
            Fired { first, sleepers, targets: Targets::new(std::mem::take(&mut slow.targets)) }
        };
        // With no lock held, and after the signal is seen to have gone.
        if matches!(self.kind, Kind::Plain(Name::Of(_, PLEASE_STOP))) {
            tell_of_stop();
        }
        Some(fired)
    }

    /// Wakes the threads that wait for it, after it has gone.
    pub(super) fn wake(&self, sleepers: Sleepers) {
        // A thread that comes later finds `fired` set, and does not sleep.
        if sleepers.is_any {
            self.fired.notify_all();
        }
        drop(sleepers.sender);
    }

    /// The call that made it go, as a recording counts it. Of a Till: `None` if no call did.
    pub(super) fn given_ender(&self) -> Option<Ender> {
        let slow = self.slow.lock();
        slow.fired.then_some(slow.ender)
    }

    /// When and why it went, by a call or by the clock. `None` for a composite, and if it has not gone.
    pub(super) fn own_decision(&self) -> Option<Decision> {
        match &self.kind {
            Kind::Plain(_) | Kind::Never => self.is_known_gone().then(|| self.given_decision()),
            Kind::Till(at) => self.is_go().then(|| {
                let Decision { when, reason } = self.given_decision();
                // A thread may have let it go before its time.
                let when = when.map_or(*at, |when| when.min(*at));
                Decision { when: Some(when), reason: reason.or_else(|| Some(Reason::of_clock(*at))) }
            }),
            Kind::Any(_) | Kind::All(_) => None,
        }
    }

    fn given_decision(&self) -> Decision {
        let mut slow = self.slow.lock();
        Decision { when: slow.reason.when(), reason: slow.reason.get() }
    }

    /// Goes, and counts as gone before all other signals.
    pub(super) fn be_gone_since_ever(&self) {
        self.fire();
        self.slow.lock().reason = KeptReason::None;
    }

    /// The channel that disconnects when `fire` runs: for a plain signal when it goes, for a Till
    /// when a thread lets it go early, for a composite when it is linked.
    pub(super) fn own_receiver(&self) -> &Receiver<Infallible> {
        self.receiver.get_or_init(|| {
            let (sender, receiver) = bounded(0);
            let mut slow = self.slow.lock();
            if !slow.fired {
                slow.sender = Some(sender);
            }
            receiver
        })
    }

    /// Blocks until the signal has gone or the deadline has passed. False, and at once, for a
    /// composite: its parts have to be waited for.
    pub(super) fn sleep(&self, deadline: Option<Instant>) -> bool {
        let until = match &self.kind {
            Kind::Plain(_) | Kind::Never => deadline,
            Kind::Till(at) => Some(deadline.map_or(*at, |deadline| deadline.min(*at))),
            Kind::Any(_) | Kind::All(_) => return false,
        };
        let mut slow = self.slow.lock();
        if !slow.fired {
            wait::begin_sleep();
        }
        slow.sleepers += 1;
        while !slow.fired {
            match until {
                None => self.fired.wait(&mut slow),
                Some(at) => {
                    if self.fired.wait_until(&mut slow, at).timed_out() {
                        break;
                    }
                }
            }
        }
        slow.sleepers -= 1;
        wait::ended_by(|| if slow.fired { slow.ender } else { Ender::clock(until) });
        true
    }

    /// One handle, no targets. Only its owner can make another handle, so for that one the answer
    /// stays true.
    pub(super) fn is_unused(self: &Arc<Core>) -> bool {
        Arc::strong_count(self) == 1 && self.slow.lock().targets.is_empty()
    }
}

#[cfg(test)]
impl Core {
    /// How many threads sleep in a wait for this signal alone.
    #[cfg(not(selvedge_model))]
    pub(super) fn sleepers(&self) -> usize {
        self.slow.lock().sleepers
    }

    pub(super) fn target_count(&self) -> usize {
        self.slow.lock().targets.len()
    }
}

/// Blocks until `deadline`, or forever without one.
pub(super) fn now_or_never(deadline: Option<Instant>) {
    let never = never::<Infallible>();
    match deadline {
        None => drop(never.recv()),
        Some(at) => drop(never.recv_deadline(at)),
    }
}
