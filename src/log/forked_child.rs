//! Counts the records that the log of a forked child loses: at the fork, a thread of the parent
//! process was within an appender, and that thread is not in the child.

use crate::os::tell::remark;
use std::sync::atomic::{AtomicU64, Ordering};

/// Relaxed: a count for people.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Counts a lost record. Returns `false`, as `put` does for it.
pub(super) fn count_lost() -> bool {
    LOST.fetch_add(1, Ordering::Relaxed);
    false
}

/// Reports the count on stderr, at the exit of the child.
pub(super) fn report_lost() {
    let lost = LOST.load(Ordering::Relaxed);
    if lost > 0 {
        let why = "a thread of the parent process was within an appender at the fork";
        // Without the standard library's lock: a thread of the parent may have had it at the fork.
        remark(&format!("selvedge: the log of this forked child has lost {lost} records: {why}"));
    }
}
