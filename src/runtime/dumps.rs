//! The dump that an OS signal asks for. A thread of its own makes and writes it, so that the signal
//! thread is free while main, the log or stderr hangs.

use super::config::{DumpSettings, OsSignal};
use super::{exit, reserve};
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::inherit;
use crate::os::only_one::OnlyOne;
use crate::signal::Signal;
use crate::thread::Builder;
use signal_hook::consts::{SIGQUIT, SIGUSR1, SIGUSR2};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Signals that runtimes have taken so far. What a process does with a signal is not given back:
/// after the runtime it is ignored.
static TAKEN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Taken while a dump is made. A request meanwhile gets that dump.
static MAKING: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);
/// Taken while the log takes one. If it hangs, the next dump does not wait for it as well.
static LOGGING: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);

/// Which signal to listen to.
pub(super) fn signal(settings: DumpSettings) -> Option<i32> {
    let signal = number_of(settings.signal)?;
    let mut taken = TAKEN.lock();
    if !taken.contains(&signal) {
        if inherit::is_handled(signal) && !settings.is_asked {
            log::info!("SIGUSR1 is the program's own: no dump comes for it; `dump.signal` can name it, or another");
            return None;
        }
        taken.push(signal);
    }
    Some(signal)
}

/// The number of a signal. `None`: no signal.
pub(super) fn number_of(signal: OsSignal) -> Option<i32> {
    match signal {
        OsSignal::None => None,
        OsSignal::Usr1 => Some(SIGUSR1),
        OsSignal::Usr2 => Some(SIGUSR2),
        OsSignal::Quit => Some(SIGQUIT),
    }
}

/// A runtime takes this signal from now on.
pub(super) fn take_over(signal: i32) {
    let mut taken = TAKEN.lock();
    if !taken.contains(&signal) {
        taken.push(signal);
    }
}

/// Makes a dump and writes it; returns at once. On the thread that takes signals.
pub(super) fn write() {
    let Some(making) = OnlyOne::try_take(&MAKING) else { return };
    let making = Mutex::new(Some(making));
    aside("dump", move || {
        let _making = making.lock().take();
        let text: Arc<str> = crate::dump::dump().to_string().into();
        let is_logged = log(&text);
        // The person that asked looks at the terminal, or at what collects stderr. Where another
        // logger writes is not known.
        if !is_logged || !crate::log::is_console() {
            exit::say(&text);
        }
    });
}

/// Returns `false` if the log hangs, or filters it out.
fn log(text: &Arc<str>) -> bool {
    const TARGET: &str = "selvedge::dump";
    if !log::log_enabled!(target: TARGET, log::Level::Warn) {
        return false;
    }
    let Some(logging) = OnlyOne::try_take(&LOGGING) else { return false };
    let (text, logging) = (text.clone(), Mutex::new(Some(logging)));
    let logged = aside("dump-log", move || {
        let _logging = logging.lock().take();
        log::warn!(target: TARGET, "{}", text.trim_end());
        log::logger().flush();
    });
    logged.wait_for_go_timeout(reserve::LAST_WORDS)
}

/// Runs `run` on a thread of the runtime's own. If the system gives none, on a thread of the
/// reserve; if these are busy, here. The returned signal goes when `run` has returned.
pub(super) fn aside(name: &str, run: impl Fn() + Send + Sync + 'static) -> Signal {
    let run = Arc::new(run);
    let aside = run.clone();
    if let Ok(handle) = Builder::new(name).runtime().spawn(move |_| aside()) {
        return handle.thread().stopped().clone();
    }
    let done = Signal::new("done");
    let signal = done.clone();
    let job = Box::new(move || {
        run();
        signal.go_unexplained();
    });
    if let Err(job) = reserve::give(job) {
        job();
    }
    done
}
