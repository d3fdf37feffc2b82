//! The tree in a forked child. The child has one thread, the thread that forked, and that is the
//! root of its tree, under the path that it had. The other threads of the parent process are not
//! there: they count as ended, and no call waits for them.

use super::failure::Failure;
use super::roots::root;
use super::stop;
use crate::os::tell::say;
use std::panic::Location;

/// Ends the threads that the child has spawned, at the end of the function in which its main thread
/// forked. Returns what is to be told of the whole child.
pub(crate) fn end(own: Option<Failure>) -> Option<Failure> {
    let root = root();
    let survivors = stop::stop_children(&root, own.as_ref());
    let own = own.map(|own| own.with_survivors(survivors));
    Failure::merge(&root, own, root.take_failures())
}

/// The same for a child that was forked on a spawned thread. That thread is the child's main
/// thread, so the process ends with it. Called by the body of the thread, in `spawn.rs`.
pub(super) fn end_process(own: Option<Failure>) -> ! {
    let failure = end(own);
    if let Some(failure) = &failure {
        log::error!("{failure}");
        // Without the standard library's lock: a thread of the parent may have had it at the fork.
        say(&format!("selvedge: a forked child failed\n{}", failure.report(false)));
    }
    std::process::exit(i32::from(failure.is_some()))
}

/// std waits for the threads of a scope, and the threads of the parent process do not end here.
pub(super) fn cannot_leave_scope(at: &Location<'_>) -> ! {
    let text = format!(
        "a forked child cannot leave the scope at {at}, whose threads are the parent process's: it ends here; \
         end it within the scope"
    );
    log::error!("{text}");
    say(&format!("selvedge: {text}"));
    std::process::exit(1)
}
