//! The timer thread: fires Tills on which somebody has a target or a receiver. It is started by the first and ends when
//! there has been none for a while; plain waits on Tills do not need it.

use super::Signal;
use super::core::Core;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// How long the thread stays without work: long enough that a loop of short time-outs does not start one each.
const LINGER: Duration = Duration::from_secs(1);

static TIMER: Timer =
    Timer { state: Mutex::new(State { due: BTreeMap::new(), running: false }), changed: Condvar::new() };
static SPAWNER: OnceLock<Spawner> = OnceLock::new();

/// Starts a thread with this body. The room above, where threads are, puts itself in here.
pub(crate) type Spawner = fn(Box<dyn FnOnce(&Signal) + Send>) -> std::io::Result<()>;

struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// By time, then by the address of the node, which is unique while the node lives; its drop removes it.
    due: BTreeMap<(Instant, usize), Weak<Core>>,
    running: bool,
}

pub(crate) fn set_spawner(spawner: Spawner) {
    // The first one stays; there is only one room of threads.
    let _ = SPAWNER.set(spawner);
}

pub(super) fn add(at: Instant, core: &Arc<Core>) {
    let mut state = TIMER.state.lock();
    let earliest = state.due.first_key_value().is_none_or(|((first, _), _)| at < *first);
    state.due.insert((at, Arc::as_ptr(core) as usize), Arc::downgrade(core));
    if !state.running {
        state.running = true;
        drop(state);
        start();
    } else if earliest {
        TIMER.changed.notify_all();
    }
}

pub(super) fn remove(at: Instant, core: *const Core) {
    TIMER.state.lock().due.remove(&(at, core as usize));
}

#[cfg(test)]
pub(super) fn knows(at: Instant, core: *const Core) -> bool {
    TIMER.state.lock().due.contains_key(&(at, core as usize))
}

fn start() {
    let started = match SPAWNER.get() {
        Some(spawn) => spawn(Box::new(run)),
        None => std::thread::Builder::new().name("timer".into()).spawn(|| run(&Signal::never())).map(drop),
    };
    if let Err(error) = started {
        TIMER.state.lock().running = false;
        log::error!(
            "no thread for the timer: {error}; what waits for the clock through on_go is late until the next attempt"
        );
    }
}

fn run(please_stop: &Signal) {
    let wake = please_stop.on_go(|| {
        // Under the lock, so that the thread is either before its look at please_stop or in the wait.
        let _state = TIMER.state.lock();
        TIMER.changed.notify_all();
    });
    let mut state = TIMER.state.lock();
    while !please_stop.is_go() {
        let now = Instant::now();
        match state.due.first_key_value() {
            Some((&(at, node), _)) if at <= now => {
                let core = state.due.remove(&(at, node)).and_then(|core| core.upgrade());
                drop(state);
                // Runs targets, and may drop the node: with no lock held.
                if let Some(core) = core {
                    core.fire();
                }
                state = TIMER.state.lock();
            }
            Some((&(at, _), _)) => {
                TIMER.changed.wait_until(&mut state, at);
            }
            None => {
                let timed_out = TIMER.changed.wait_for(&mut state, LINGER).timed_out();
                if timed_out && state.due.is_empty() {
                    break;
                }
            }
        }
    }
    state.running = false;
    let pending = state.due.len();
    let next = state.due.first_key_value().map(|((at, _), _)| at.saturating_duration_since(Instant::now()));
    drop(state);
    if let Some(next) = next {
        // They stay what they are, not gone; a timer that is started later takes them over.
        log::debug!("the timer was stopped with {pending} tills pending, the next one due in {next:.1?}");
    }
    wake.cancel();
}
