//! The stacks of waits that go on when a profile is made: their threads cannot take them, so they are
//! asked as for a dump.

use crate::profile::engines::{self, TakeOwnStack};
use crate::profile::raw::Reply;
use crate::thread::{Thread, roots, tree};
use crate::wait::StackNumber;
use std::time::Duration;

/// Threads that have waited for less will say themselves.
const LONG: Duration = Duration::from_millis(5);

/// A thread whose lock another thread holds for longer is left out.
const PATIENCE: Duration = Duration::from_millis(20);

/// Asks each thread of the program's that has waited for long for its stack, and leaves the stack's
/// number with the wait. Interrupts these threads for some microseconds.
pub(super) fn take(own: &dyn TakeOwnStack) {
    let (threads, serials) = waiting();
    if threads.is_empty() {
        return;
    }
    // Refused: the waits have no stacks, as the picture says.
    let Ok(replies) = engines::request_stacks(&threads, &[]) else { return };
    for ((thread, serial), reply) in threads.iter().zip(serials).zip(replies) {
        if let Reply::Stack { addresses, ending } = reply
            && let Some(number) = own.keep(&addresses, ending)
        {
            thread.waits().set_present_stack(serial, StackNumber(number));
        }
    }
}

/// The program's threads that have waited for long, and the serial numbers of their waits.
fn waiting() -> (Vec<Thread>, Vec<u64>) {
    let (mut threads, mut serials) = (Vec::new(), Vec::new());
    tree::walk(roots::roots(), |node| {
        let thread = Thread::from_node(node.clone());
        let wait = node.waits.try_get(PATIENCE).flatten().filter(|wait| wait.elapsed() >= LONG);
        if let Some(wait) = wait.filter(|_| !thread.is_runtimes_own()) {
            threads.push(thread);
            serials.push(wait.serial());
        }
        node.try_snapshot(PATIENCE).map_or_else(Vec::new, |seen| seen.children)
    });
    (threads, serials)
}
