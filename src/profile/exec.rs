//! Replaces this program by another one, safely while a recording may run. Knows SIGPROF, no
//! engine.

use crate::os::sigprof;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Replaces this program by `command`, as [`CommandExt::exec`] does, so that no signal of a
/// recording or a dump ends the new program. Returns if that has failed, and then everything goes
/// on.
///
/// The kernel resets the handler of SIGPROF when it replaces a program, but keeps a signal that has
/// come while it was about it; the new program then ends by `SIGPROF`. Neither a library nor the C
/// library is told of `exec`, so `CommandExt::exec` and `execve` are not safe while a recording
/// runs. This function lets the process ignore SIGPROF first, which drops the signals that have
/// come. The new program inherits that it is ignored, until it installs a handler. The samples of
/// the recording are lost: [`finish`](super::Recording::finish) it before if they are wanted.
///
/// What was logged is flushed first, which blocks for as long as the log's flush does. Child
/// processes that are started with [`Command::spawn`](Command::spawn) need nothing of this: they
/// are not sent the signals of their parent.
///
/// # Errors
/// The error is the result: the program was not found, for example, or the system refuses to ignore
/// SIGPROF.
///
/// ```no_run
/// use std::process::Command;
///
/// // After an upgrade of its file: the program begins anew, with the same process id.
/// let error = selvedge::profile::exec(Command::new("/proc/self/exe").args(std::env::args_os().skip(1)));
/// log::error!("the new program cannot be started: {error}");
/// ```
pub fn exec(command: &mut Command) -> io::Error {
    log::logger().flush();
    match sigprof::ignore() {
        // Until the error is there, if there is one.
        Ok(_ignored) => command.exec(),
        Err(cause) => cause,
    }
}
