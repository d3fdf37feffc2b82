//! The profile of a whole run, which is written once: by the end in order, or by an end of the
//! process that does not wait for that (`exit`, an abort). Such an end waits for the files within a
//! bound.
//!
//! Invariants
//! 1. The thread that takes the profiler out of `PROFILER` writes the files, and holds `WRITING`
//!    meanwhile. So a second thread that comes to write waits until the files are whole.
//! 2. Nothing is logged before the files are written: the log may wait for the thread that ends the
//!    process.

use super::log_at_end::log_at_end;
use super::profiler::{LogLine, Profiler};
use super::reserve;
use crate::error::Error;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::tell::tell;
use crate::thread::roots;
use log::Level;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// The program has come to its end: a signal starts no recording any more.
static IS_OVER: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);

pub(super) fn keep(profiler: Option<Profiler>) {
    // SeqCst: a few times in a program.
    IS_OVER.store(false, Ordering::SeqCst);
    *PROFILER.lock() = profiler;
}

/// What [`toggle`] has done.
pub(super) enum Toggled {
    Started,
    /// What is to be told of the files.
    Written(Vec<LogLine>),
    Failed(Error),
    /// The program ends.
    Over,
}

/// Ends the recording that runs, and writes its files; or starts one.
pub(super) fn toggle(start: impl FnOnce() -> Result<Option<Profiler>, Error>) -> Toggled {
    let _turn = Turn::take();
    if IS_OVER.load(Ordering::SeqCst) {
        return Toggled::Over;
    }
    let running = PROFILER.lock().take();
    match running {
        Some(profiler) => Toggled::Written(profiler.finish(None)),
        None => match start() {
            Ok(Some(profiler)) => {
                *PROFILER.lock() = Some(profiler);
                Toggled::Started
            }
            // Built without the profiler.
            Ok(None) => Toggled::Over,
            Err(error) => Toggled::Failed(error),
        },
    }
}

/// Ends the recording and drops what was recorded. Called when the start of the runtime fails
/// half-way, and at its end (`claim.rs`).
pub(super) fn forget() {
    // Dropped without the lock.
    let _profiler = PROFILER.lock().take();
}

/// Ends the recording, if there is one, and writes the profile. Blocks until another thread that
/// does so has written it.
pub(super) fn finish() {
    log_all(write_whole());
}

/// The same on another thread. Returns `false` if the files are not written in time. Called when the
/// process ends without a return from `main`: by `at_exit.rs` and `exit.rs`.
pub(super) fn finish_in_time() -> bool {
    in_time(write_whole)
}

/// Writes what was recorded up to now; the recording goes on. Returns `false` if the files are not
/// written in time. Called before a panic aborts the process, by `exit.rs`.
pub(super) fn snapshot_in_time() -> bool {
    in_time(|| {
        let _turn = Turn::take();
        PROFILER.lock().as_ref().map(Profiler::snapshot).unwrap_or_default()
    })
}

fn write_whole() -> Vec<LogLine> {
    let _turn = Turn::take();
    IS_OVER.store(true, Ordering::SeqCst);
    let profiler = PROFILER.lock().take();
    profiler.map(|profiler| profiler.finish(roots::root().please_stop.reason())).unwrap_or_default()
}

fn log_all(lines: Vec<LogLine>) {
    for LogLine { level, target, text } in lines {
        log_at_end(|| match level {
            Level::Info => log::info!(target: target, "{text}"),
            _ => tell(level, target, &text),
        });
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
