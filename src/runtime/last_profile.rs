//! The profile of a whole run, which is written once: by the end in order, or by an end of the
//! process that does not wait for that (`exit`, an abort). Such an end waits for the files within a
//! bound.
//!
//! Invariants
//! 1. The thread that takes the profiler out of `PROFILER` writes the files, and holds `WRITING`
//!    meanwhile. So a second thread that comes to write waits until the files are whole.
//! 2. Nothing is logged before the files are written: the log may wait for the thread that ends the
//!    process.

use super::profiler::{LogLine, Profiler};
use super::reserve;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::tell::tell;
use crate::thread::roots;
use log::Level;
use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

/// While a recording of the runtime runs.
static PROFILER: PerProcess<Mutex<Option<Profiler>>> = PerProcess::new(Mutex::new(None), Mutex::default);
static WRITING: PerProcess<Mutex<()>> = PerProcess::new(Mutex::new(()), Mutex::default);

thread_local! {
    /// The calling thread holds `WRITING`: an end of the process in the middle of that cannot wait
    /// for it.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// How long an end of the process waits for the files. On a busy machine the debug information of
/// the program takes long to read.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn keep(profiler: Option<Profiler>) {
    *PROFILER.lock() = profiler;
}

/// Ends the recording and drops what was recorded.
pub(super) fn forget() {
    // Dropped without the lock.
    let _profiler = PROFILER.lock().take();
}

/// Ends the recording, if there is one, and writes the profile. Blocks until another thread that
/// does so has written it.
pub(super) fn finish() {
    log_all(write_whole());
}

/// The same on another thread. Returns `false` if the files are not written in time.
pub(super) fn finish_in_time() -> bool {
    in_time(write_whole)
}

/// Writes what was recorded up to now; the recording goes on. Returns `false` if the files are not
/// written in time.
pub(super) fn snapshot_in_time() -> bool {
    in_time(|| {
        let _turn = Turn::take();
        PROFILER.lock().as_ref().map(Profiler::snapshot).unwrap_or_default()
    })
}

fn write_whole() -> Vec<LogLine> {
    let _turn = Turn::take();
    let profiler = PROFILER.lock().take();
    profiler.map(|profiler| profiler.finish(roots::root().please_stop.reason())).unwrap_or_default()
}

fn log_all(lines: Vec<LogLine>) {
    for LogLine { level, target, text } in lines {
        match level {
            Level::Info => log::info!(target: target, "{text}"),
            _ => tell(level, target, &text),
        }
    }
}

fn in_time(write: impl FnOnce() -> Vec<LogLine> + Send + 'static) -> bool {
    if WRITES.try_with(Cell::get).unwrap_or(false) || !is_wanted() {
        return true;
    }
    let (done, wait) = mpsc::channel();
    let body = move || {
        let lines = write();
        let _ = done.send(());
        log_all(lines);
        let _ = done.send(());
    };
    if reserve::run("main/last-profile", body).is_err() || wait.recv_timeout(PATIENCE).is_err() {
        return false;
    }
    // For what the log is told of it.
    let _ = wait.recv_timeout(reserve::LAST_WORDS);
    true
}

/// Returns `true` if there is a profile to write, or another thread writes it.
fn is_wanted() -> bool {
    WRITING.try_lock().is_none() || PROFILER.lock().is_some()
}

/// The right to write the files.
struct Turn {
    _writing: crate::model::locks::MutexGuard<'static, ()>,
}

impl Turn {
    fn take() -> Turn {
        let turn = Turn { _writing: WRITING.lock() };
        let _ = WRITES.try_with(|writes| writes.set(true));
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = WRITES.try_with(|writes| writes.set(false));
    }
}
