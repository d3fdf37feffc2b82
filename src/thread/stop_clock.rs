//! The clock of a stop. It starts when a thread is asked to stop, and does not depend on what the
//! thread's parent does. A thread of the runtime waits for it here. Nothing polls. With no thread
//! asked, that wait has a deadline only for looks that are planned: those of the runtime, which
//! become rarer and rarer (`check_by`), for failures that no thread joins (`look_for_held`), and for
//! a timer without a thread (`look_by`).
//!
//! Invariants
//! 1. A thread that was asked is seen by the look that follows: the asking thread first makes
//!    `please_stop` go and then takes the lock of `state`; the watch takes that lock to clear
//!    `next`, and looks at the threads afterwards. So either the watch sees the signal gone, or the
//!    asking thread finds `next` cleared and sets it.
//! 2. `next` is never later than the earliest end of a patience, apart from [`SLACK`]. A thread
//!    that was asked may have a patience of its own, so a request plans for the shortest patience
//!    of all threads.
//!
//! While a patience runs, the watch wakes [`SLICES`] times until its end. If it wakes much later
//! than planned, the process stood still, and each patience is longer by that time
//! (`standstill.rs`).

use super::standstill::Standstills;
use crate::model::locks::{Condvar, Mutex};
use crate::os::fork::PerProcess;
use crate::signal::observe_stops;
use crate::wait::{self, WaitDescription};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a parent allows its children where no runtime says otherwise.
pub(super) const DEFAULT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a failure waits for a join before the log is told of it: see `held.rs`.
const HELD: Duration = Duration::from_secs(5);

/// The watch wakes so many times in a patience. It does not notice a standstill that begins and ends
/// between two of these wake-ups.
const SLICES: u32 = 8;
const SHORTEST_SLICE: Duration = Duration::from_millis(10);

/// A look comes this much after the end of a patience, so that threads that were asked by one call
/// are in one look.
const SLACK: Duration = Duration::from_millis(10);

struct State {
    /// What a thread without a patience of its own is allowed.
    patience: Duration,
    /// A runtime reports the threads that do not stop.
    is_watched: bool,
    /// When the next look is due.
    next: Option<Instant>,
    /// While a patience runs: the watch wakes after at most this time, though no look is due.
    slice: Option<Duration>,
    /// When the watch was last woken by a request.
    woken: Option<Instant>,
    standstills: Standstills,
    /// When a look for failures that no thread joins is due. `None` while no look is planned.
    held: Option<Instant>,
    /// The watch is asked to end.
    is_over: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A forked child has no watch.
static SHARED: PerProcess<Shared> = PerProcess::new(Shared::new(), Shared::new);

impl Shared {
    const fn new() -> Shared {
        Shared { state: Mutex::new(State::new()), changed: Condvar::new() }
    }
}

impl State {
    const fn new() -> State {
        State {
            patience: DEFAULT_PATIENCE,
            is_watched: false,
            next: None,
            slice: None,
            woken: None,
            standstills: Standstills::new(),
            held: None,
            is_over: false,
        }
    }
}

/// While this lives, a runtime reports the threads that do not stop, and their parents do not.
pub(crate) struct StopClock(());

impl StopClock {
    /// One at a time, as runtimes are.
    pub(crate) fn start(patience: Duration) -> StopClock {
        // Threads that were asked before are seen by the first look.
        let next = Some(Instant::now());
        *SHARED.state.lock() = State { patience, is_watched: true, next, ..State::new() };
        observe_stops(stop_requested);
        StopClock(())
    }

    /// Blocks until a look is due. Returns `false` if the watch is over.
    pub(crate) fn wait(&self) -> bool {
        let _published = WaitDescription::new("a stop of", Arc::from("any thread")).publish();
        let mut state = SHARED.state.lock();
        wait::begin_sleep();
        // A request that came before this was no wake-up.
        state.woken = None;
        while !state.is_over {
            let now = Instant::now();
            let planned = match (state.next, state.slice) {
                (Some(at), _) if at <= now => {
                    (state.next, state.slice) = (None, None);
                    return true;
                }
                (Some(at), Some(slice)) => Some(at.min(now + slice)),
                (at, _) => at,
            };
            match planned {
                Some(at) => drop(SHARED.changed.wait_until(&mut state, at)),
                None => SHARED.changed.wait(&mut state),
            }
            if let Some(planned) = planned.into_iter().chain(state.woken.take()).min() {
                state.standstills.woke(planned, Instant::now());
            }
        }
        false
    }

    /// The next look is due then, if not before.
    pub(crate) fn check_by(&self, at: Instant) {
        SHARED.state.lock().check_by(at);
    }

    /// The next look is due when this patience is over, if not before.
    pub(crate) fn check_patience_by(&self, ends: Instant) {
        let mut state = SHARED.state.lock();
        state.run_patience(ends.saturating_duration_since(Instant::now()));
        state.check_by(ends);
    }
}

impl Drop for StopClock {
    fn drop(&mut self) {
        SHARED.state.lock().is_watched = false;
    }
}

/// Ends the wait of the watch, and no other. Called when the stop watch of the runtime is asked to
/// stop: it is a target of that thread's `please_stop`.
pub(crate) fn end_watch() {
    SHARED.state.lock().is_over = true;
    SHARED.changed.notify_all();
}

/// Returns `true` if a runtime reports the threads that do not stop.
pub(super) fn is_watched() -> bool {
    SHARED.state.lock().is_watched
}

/// In nanoseconds, the shortest patience that any thread of the process was given for itself. The
/// signal of a stop does not know its thread, so each stop starts the clock of this patience too. A
/// look that comes too early finds nothing, and plans the next one. Relaxed: the thread that sets
/// it goes on to spawn, and a request to the new thread comes after that.
static SHORTEST_OWN: AtomicU64 = AtomicU64::new(u64::MAX);

/// A thread is about to be spawned with this patience of its own. From now on each stop is looked
/// at by the end of it, if not before.
pub(super) fn note_own_patience(patience: Duration) {
    let nanoseconds = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
    SHORTEST_OWN.fetch_min(nanoseconds, Ordering::Relaxed);
}

/// What a thread without a patience of its own is allowed.
pub(super) fn patience() -> Duration {
    SHARED.state.lock().patience
}

/// Some thread was asked to stop, by whichever call.
fn stop_requested() {
    let mut state = SHARED.state.lock();
    if !state.is_watched {
        return;
    }
    let shortest = state.patience.min(Duration::from_nanos(SHORTEST_OWN.load(Ordering::Relaxed)));
    // A time that the clock cannot express never comes.
    let now = Instant::now();
    let Some(ends) = now.checked_add(shortest) else { return };
    // Both: an earlier look may be planned, and come without a wake-up in between.
    if state.run_patience(shortest) | state.check_by(ends) {
        state.woken.get_or_insert(now);
        drop(state);
        SHARED.changed.notify_all();
    }
}

/// A thread has failed, and its handle is held. Plans a look for it. Does nothing while no runtime is
/// up.
pub(super) fn failure_is_held() {
    if let Some(at) = end_of_holding(Instant::now()) {
        look_for_held(at);
    }
}

/// When the failure of a thread that has ended then is logged, if no thread joins it.
pub(super) fn end_of_holding(ended: Instant) -> Option<Instant> {
    ended.checked_add(HELD)
}

/// A look for such failures is due then, if not before.
pub(super) fn look_for_held(at: Instant) {
    let mut state = SHARED.state.lock();
    if !state.is_watched {
        return;
    }
    state.held = Some(state.held.map_or(at, |held| held.min(at)));
    if state.check_by(at) {
        drop(state);
        SHARED.changed.notify_all();
    }
}

/// A look is due then, if not before. Does nothing while no runtime is up.
pub(super) fn look_by(at: Instant) {
    let mut state = SHARED.state.lock();
    if state.is_watched && state.check_by(at) {
        drop(state);
        SHARED.changed.notify_all();
    }
}

/// When a look for such failures is due, `None` while no look is planned. If it is due by `now`, it
/// counts as made.
pub(super) fn take_held(now: Instant) -> Option<Instant> {
    let mut state = SHARED.state.lock();
    let held = state.held?;
    state.held = Some(held).filter(|held| *held > now);
    Some(held)
}

/// How long the process has stood still since `when`. That time is no part of a patience.
pub(crate) fn stood_still_since(when: Instant) -> Duration {
    SHARED.state.lock().standstills.since(when)
}

impl State {
    /// A patience ends after `rest`. Returns `true` if the watch is to wake more often for it.
    fn run_patience(&mut self, rest: Duration) -> bool {
        let slice = (rest / SLICES).max(SHORTEST_SLICE);
        let is_shorter = self.slice.is_none_or(|known| slice < known);
        if is_shorter {
            self.slice = Some(slice);
        }
        is_shorter
    }

    /// Returns `true` if that is earlier than what was planned.
    fn check_by(&mut self, patience_ends: Instant) -> bool {
        let Some(at) = patience_ends.checked_add(SLACK) else { return false };
        let is_earlier = self.next.is_none_or(|next| at < next);
        if is_earlier {
            self.next = Some(at);
        }
        is_earlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::Builder;

    #[test]
    fn a_request_plans_for_the_shortest_own_patience() {
        // Stops of other tests would end the wait as well.
        if crate::own_process::passes(module_path!(), "a_request_plans_for_the_shortest_own_patience", &[]) {
            return;
        }
        let clock = StopClock::start(Duration::from_secs(3600));
        assert!(clock.wait(), "the look at the start");
        let quick = Builder::new("quick").patience(Duration::from_millis(1));
        let quick = quick.spawn(|please_stop| please_stop.wait_for_go()).unwrap();
        // Not by `Thread::stop`, which knows the thread.
        quick.thread().please_stop().go();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(clock.wait()));
        assert_eq!(told.recv_timeout(Duration::from_secs(100)), Ok(true), "no look came");
        quick.join().unwrap();
    }
}
