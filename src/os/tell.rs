//! What a person must get to know although the log may not take it: reports that go to stderr, and
//! whether a record has reached a log that keeps it.
//!
//! Another logger of the program may filter a record out, and so may the levels of ours. So a
//! record counts as logged only if an appender of this crate has taken it; all else that is
//! important goes to stderr as well.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::Level;

use super::console::{self, Stream};

thread_local! {
    /// An appender of this crate has taken a record of this thread since it was last cleared.
    static LOGGED: Cell<bool> = const { Cell::new(false) };
    /// This thread is in a call to the log that this crate has made.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// `true` once the logger of the process is this crate's, which it then stays. Relaxed: it guards no data.
static HAS_OWN_LOGGER: AtomicBool = AtomicBool::new(false);

/// Notes that the logger of the process is this crate's.
#[cfg(feature = "log4rs")]
pub(crate) fn note_own_logger() {
    HAS_OWN_LOGGER.store(true, Ordering::Relaxed);
}

/// Returns `true` if the logger of the process is this crate's, and `false` if it is the program's
/// own, or if there is none.
pub(crate) fn has_own_logger() -> bool {
    HAS_OWN_LOGGER.load(Ordering::Relaxed)
}

/// How long a reader of stderr may stand still before a remark to it is given up.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Notes that the log has taken a record of the calling thread. Called by this crate's appenders.
/// Without log4rs no record counts as heard.
#[cfg(feature = "log4rs")]
pub(crate) fn note_logged() {
    let _ = LOGGED.try_with(|logged| logged.set(true));
}

/// Returns `true` if the log has taken what `log` logs on the calling thread.
pub(crate) fn was_logged(log: impl FnOnce()) -> bool {
    let before = LOGGED.try_with(|logged| logged.replace(false));
    logging(log);
    let logged = LOGGED.try_with(Cell::get).unwrap_or(false);
    if let Ok(before) = before {
        let _ = LOGGED.try_with(|logged| logged.set(before));
    }
    logged
}

/// Calls `log`, which logs. A logger of the program's may panic. Then the panic hook does not log
/// that panic: a second panic of the logger, within the hook, would abort the process.
pub(crate) fn logging(log: impl FnOnce()) {
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            let _ = LOGGING.try_with(|logging| logging.set(self.0));
        }
    }
    let _outer = Outer(LOGGING.try_with(|logging| logging.replace(true)).unwrap_or(true));
    log();
}

/// Returns `true` if the calling thread is in [`logging`].
pub(crate) fn is_logging() -> bool {
    LOGGING.try_with(Cell::get).unwrap_or(false)
}

/// Logs `text`, and writes it to stderr if the log does not take it. May block as the log does.
pub(crate) fn tell(level: Level, target: &str, text: &str) {
    if !was_logged(|| log::log!(target: target, level, "{text}")) {
        remark(&format!("selvedge: {text}"));
    }
}

/// Writes a text for the person at the terminal. Blocks while the reader of stderr does not read.
///
/// An error of stderr is dropped: there is no further place to report it.
pub(crate) fn say(text: &str) {
    let _ = console::write(Stream::Stderr, format!("{text}\n").as_bytes(), None);
}

/// The same for a thread that must go on: gives up once the reader has not read for a second.
pub(crate) fn remark(text: &str) {
    let _ = console::write(Stream::Stderr, format!("{text}\n").as_bytes(), Some(STANDSTILL));
}
