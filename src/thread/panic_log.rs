//! How the panic hook logs. A second panic within the hook aborts the process, so the hook calls no
//! logger that may panic there.
//!
//! The logger of this crate catches the panics of its appenders. A logger of the program's own may
//! have just panicked on this thread, in a call of the program: the hook cannot know. So another
//! thread calls that logger, with the name and the diagnostic context of the panicking thread.

use super::bodies::count_body;
use super::mdc;
use super::panic_flags::silenced;
use crate::os::task;
use crate::os::tell::{has_own_logger, was_logged};
use log::LevelFilter;
use std::sync::mpsc;
use std::time::Duration;

/// How long the hook waits for the other thread, so that the record comes before later ones. A logger
/// that has panicked may hold a lock until the panic has left it; then the record comes later.
const PATIENCE: Duration = Duration::from_millis(100);

/// Logs the panic of the calling thread, which is at `path`. Returns `true` if an appender of this
/// crate has taken it.
pub(super) fn log_panic(path: &str, text: String) -> bool {
    let log = move || log::error!(target: "selvedge::panic", "{text}");
    if has_own_logger() {
        return was_logged(log);
    }
    if log::max_level() == LevelFilter::Off {
        return false;
    }
    let (done, wait) = mpsc::channel();
    let context = mdc::inherit();
    let body = move || {
        let (_counted, _hidden) = (count_body(), task::hide());
        mdc::adopt(context);
        // A panic of the logger is told by the panic that it has come from.
        let was_logged = silenced(|| was_logged(log)).unwrap_or(false);
        // The hook may have given up.
        let _ = done.send(was_logged);
    };
    let spawned = std::thread::Builder::new().name(path.to_owned()).spawn(body);
    // Without a thread the hook before ours tells it, on stderr.
    spawned.is_ok() && wait.recv_timeout(PATIENCE).unwrap_or(false)
}
