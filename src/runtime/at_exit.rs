//! What `exit` does while a runtime is up: the log gets a line that says so, and the profile is
//! written. The log itself is flushed by a handler of its own, which runs after this one.

use super::claim::RUNNING;
use super::reserve::{LAST_WORDS, run_within};
use super::{last_profile, left};
use crate::os::process;
use crate::os::tell::remark;
use std::sync::Once;
use std::sync::atomic::Ordering;

/// Called at each start of a runtime, after the log has registered its handler: `exit` calls
/// handlers from the last to the first.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| process::at_exit(at_exit));
}

/// Called by `exit`.
extern "C" fn at_exit() {
    if !RUNNING.load(Ordering::SeqCst) {
        return;
    }
    let path = crate::wait::my_path();
    // `exit` has destroyed the thread's locals, by which it was known. Its OS name is the path in
    // the tree.
    let path = path.strip_prefix("other/").filter(|name| name.starts_with("main")).unwrap_or(&path).to_owned();
    // On another thread: a logger may wait for the thread that exits, or panic, which must not
    // leave this function.
    let log = move || {
        log::info!("the process exits while the runtime is up: exit was called on {path}");
        left::report("the process exits");
    };
    let _ = run_within("last-words", LAST_WORDS, log);
    if !last_profile::finish_in_time() {
        remark("selvedge: the process exits, and the profile was not written in time");
    }
}
