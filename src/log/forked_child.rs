//! Counts the records that the log of a forked child loses, by what keeps them from being written.

use crate::model::locks::Mutex;
use crate::os::counted::counted;
use crate::os::fork::PerProcess;
use crate::os::tell::remark;

/// Why a record of a forked child is lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// At the fork, a thread of the parent process was within an appender, and that thread is not
    /// in the child.
    ForkedWhileLocked,
    /// An appender has logged it. A child writes each record at once, and an appender cannot wait
    /// for itself.
    WithinAppender,
    /// The process aborts, and another thread writes the last records.
    Aborting,
}

type Lost = Mutex<[u64; 3]>;

/// By `Loss`. The child of a child begins at 0: its parent reports its own.
static LOST: PerProcess<Lost> = PerProcess::new(Mutex::new([0; 3]), Lost::default);

/// Counts a lost record. Returns `false`, as `put` does for it.
pub(super) fn count_lost(loss: Loss) -> bool {
    LOST.lock()[loss as usize] += 1;
    false
}

/// Reports the counts on stderr, at the exit of the child.
pub(super) fn report_lost() {
    let lost = *LOST.lock();
    for loss in [Loss::ForkedWhileLocked, Loss::WithinAppender, Loss::Aborting] {
        let count = lost[loss as usize];
        if count > 0 {
            let why = match loss {
                Loss::ForkedWhileLocked => "a thread of the parent process was within an appender at the fork",
                Loss::WithinAppender => "they were logged within an appender, which writes no record meanwhile",
                Loss::Aborting => "the child aborts",
            };
            // Without the standard library's lock: a thread of the parent may have had it at the fork.
            let lost = counted(count, "record");
            remark(&format!("selvedge: the log of this forked child has lost {lost}: {why}"));
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
pub(super) fn lost(loss: Loss) -> u64 {
    LOST.lock()[loss as usize]
}
