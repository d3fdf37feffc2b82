//! SIGINT, SIGTERM and the signal that asks for a dump, on a thread of the tree.

use super::config::DumpSettings;
use super::dumps::{self, aside};
use super::exit;
use crate::error::{Error, Kind};
use crate::os::process;
use crate::signal::{Reason, Signal};
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// While no runtime is up the signals do what they did before: end the process.
static IDLE: OnceLock<Arc<AtomicBool>> = OnceLock::new();

pub(super) struct OsSignals {
    /// The first that came; 0 for none.
    first: Arc<AtomicI32>,
}

struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl OsSignals {
    pub(super) fn start(main: &Arc<Node>, dump: DumpSettings) -> Result<OsSignals, Error> {
        let refused = |error| Error::new(Kind::Io, "no handler for SIGINT and SIGTERM").because(error);
        let idle = default_while_idle().map_err(refused)?;
        let dump = dumps::signal(dump);
        let mut signals = Signals::new(SIGNALS.into_iter().chain(dump)).map_err(refused)?;
        // Only now: until there is somebody to take them they end the process.
        idle.store(false, Ordering::SeqCst);
        let busy = Busy(idle);
        let closer = signals.handle();
        let first = Arc::new(AtomicI32::new(0));
        let (seen, main_stop) = (first.clone(), main.please_stop.clone());
        Builder::new("os-signals")
            .parent(&Thread::from_node(main.clone()))
            .runtime()
            .spawn(move |please_stop| {
                please_stop.on_go(move || closer.close());
                let answer = |signal| {
                    if Some(signal) == dump {
                        dumps::write();
                    } else if seen.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                        stop(signal, main_stop.clone());
                    } else {
                        let why = format!("a second signal, {}, while stopping: ending at once", name(signal));
                        exit::at_once(&why, None, 128 + signal as u8);
                    }
                };
                signals.forever().for_each(answer);
                // While it listens, and no longer: a log that hangs at the very end can still be interrupted. What came
                // between its last look and this is answered here.
                drop(busy);
                signals.pending().for_each(answer);
            })
            .map(drop)
            .map_err(|error| Error::new(Kind::Io, "no thread for SIGINT and SIGTERM").because(error))?;
        Ok(OsSignals { first })
    }

    pub(super) fn interrupted(&self) -> Option<i32> {
        match self.first.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }
}

/// The first signal. Logging and the targets of `please_stop` may hang, so they run aside: a second signal must be heard.
fn stop(signal: i32, main_stop: Signal) {
    let told = aside("notice", move || {
        log::warn!("interrupted by {}: stopping; a second one ends the process at once", name(signal));
    });
    told.wait_for_go_timeout(exit::LAST_WORDS);
    aside("asker", move || {
        main_stop.go_for(&Reason::of(format!("{} came", name(signal)), None, None));
    });
}

fn default_while_idle() -> std::io::Result<Arc<AtomicBool>> {
    if let Some(idle) = IDLE.get() {
        return Ok(idle.clone());
    }
    // In a forked child nothing listens: there they end the process too, until it starts a runtime of its own.
    extern "C" fn nothing() {}
    extern "C" fn in_child() {
        if let Some(idle) = IDLE.get() {
            idle.store(true, Ordering::SeqCst);
        }
    }
    process::at_fork(nothing, nothing, in_child);
    let idle = Arc::new(AtomicBool::new(true));
    for signal in SIGNALS {
        signal_hook::flag::register_conditional_default(signal, idle.clone())?;
    }
    Ok(IDLE.get_or_init(|| idle).clone())
}

/// The exit code after everything has stopped in order: a command that was interrupted must not look finished to a shell, a
/// service that was told to end has done what it should.
pub(super) fn exit_code(signal: i32) -> u8 {
    if signal == SIGTERM { 0 } else { 128 + signal as u8 }
}

pub(super) fn name(signal: i32) -> &'static str {
    if signal == SIGTERM { "SIGTERM" } else { "SIGINT" }
}
