//! What the panic hook asks of the calling thread: whether it is in the logger, past its body, or
//! in code whose panics are answers. The hook is in `panic.rs`.

use crate::error::drop_payload;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    pub(super) static IN_LOGGER: Cell<bool> = const { Cell::new(false) };
    /// What is left of this thread of ours are the destructors of its thread-locals.
    pub(super) static PAST: Cell<bool> = const { Cell::new(false) };
    /// How many registrations of this thread count.
    static REGISTRATIONS: Cell<usize> = const { Cell::new(0) };
    /// A panic is not told.
    pub(super) static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread's body has ended, and its outcome was told.
pub(super) fn past_body() {
    PAST.set(true);
}

pub(super) fn is_past_body() -> bool {
    PAST.get()
}

/// A registration of the calling thread begins, or ends.
pub(super) fn count_registration(begins: bool) {
    let count = REGISTRATIONS.get();
    REGISTRATIONS.set(if begins { count + 1 } else { count.saturating_sub(1) });
}

/// Returns `true` if the calling thread is a registered one: another library runs it, and catches
/// its panics or does not.
pub(super) fn is_registered() -> bool {
    REGISTRATIONS.get() > 0
}

/// Calls `f`, in which a panic is an answer: no hook is told of it. `None` if it panicked.
pub(crate) fn silenced<R>(f: impl FnOnce() -> R) -> Option<R> {
    let outer = SILENT.replace(true);
    // AssertUnwindSafe: what `f` leaves half-done is dropped with it.
    let result = catch_unwind(AssertUnwindSafe(f));
    SILENT.set(outer);
    result.map_err(drop_payload).ok()
}

/// Marks the calling thread as being within the logger, until the guard drops. A panic there (in a
/// `Debug` of the user's) must not log: the appender's lock is held.
#[cfg(feature = "log4rs")]
pub(crate) fn enter_logger() -> InLogger {
    InLogger(IN_LOGGER.try_with(|inside| inside.replace(true)).unwrap_or(true))
}

/// Holds what the mark was before.
#[cfg(feature = "log4rs")]
pub(crate) struct InLogger(bool);

#[cfg(feature = "log4rs")]
impl Drop for InLogger {
    fn drop(&mut self) {
        let _ = IN_LOGGER.try_with(|inside| inside.set(self.0));
    }
}
