//! Logs at the end of a program. A logger of the program's may panic: `println!` does so when the
//! reader of its pipe is gone. That costs the record, and neither the end in order nor the report
//! of a failure.

use crate::error::ignore_panic;
use crate::os::tell::logging;

/// Calls `log`, which logs. A panic is told by the panic hook, and ignored.
pub(super) fn log_at_end(log: impl FnOnce()) {
    ignore_panic(|| logging(log));
}
