//! Stack requests: threads reply with their present stacks, while they run, wait, or are sampled by
//! a recording. The recording is not disturbed. The protocol stands in `profile/README.md`.
//!
//! `request.rs` is one request, which the handler replies to; `batch.rs` sends many and collects
//! the replies, for which it sleeps in `replies.rs`; this file is the call that does all of it.

mod batch;
mod replies;
mod request;
#[cfg(test)]
mod tests;

pub(super) use request::StackRequest;

use super::handler;
use super::modules::{ModuleList, learn_start_of_threads};
use super::table::Grace;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::profile::describe_handler::describe_handler;
use crate::profile::raw::Reply;
use crate::thread::{Thread, observe};
use batch::{Batch, PATIENCE};
use std::sync::Arc;

/// Held while a batch is sent: one at a time. In it: requests whose handlers were still at work
/// when their batch ended. That happens to a thread that is given no processor in the middle of its
/// handler.
static BATCH: PerProcess<Mutex<Retired>> = PerProcess::new(Mutex::new(Vec::new()), Mutex::default);

type Retired = Vec<(Arc<StackRequest>, Grace)>;

/// Requests the stack of each of the threads, and then of the threads with the kernel ids
/// `unregistered`. Waits for the replies: a fraction of a millisecond for a sleeping thread, longer
/// for a thread that waits for a processor, `PATIENCE` for a thread that does not reply.
/// Interrupted system calls are restarted where the kernel can do that.
///
/// # Errors
/// Why no request can be sent now, as a part of a sentence.
pub(in crate::profile::engines) fn request_stacks(
    threads: &[Thread],
    unregistered: &[i32],
) -> Result<Vec<Reply>, String> {
    learn_start_of_threads();
    let Some(mut retired) = BATCH.try_lock_for(PATIENCE) else {
        return Err("another dump is being made".into());
    };
    retired.retain(|(_, grace)| !grace.is_over());
    install_handler()?;
    let modules = Arc::new(ModuleList::default().renew().unwrap_or_default());
    let (batch, places) = Batch::new(threads, unregistered, modules);
    let batch = Arc::new(batch);
    let Some(observer) = observe::listen(Arc::downgrade(&batch) as _, PATIENCE) else {
        return Err("the list of observers of threads is in use".into());
    };
    batch.run();
    if !unregistered.is_empty() && batch.find_stacks() {
        batch.run();
    }
    observe::unlisten(observer, PATIENCE);
    let (replies, mut in_grace) = batch.end();
    retired.append(&mut in_grace);
    let reply = |place: usize| replies[place].clone();
    let without_place = |thread: &Thread| match thread.ended_at().is_some() || !thread.has_started() {
        true => Reply::Ended,
        false => Reply::Unavailable(UNKNOWN_END.into()),
    };
    let of_tree = places.iter().zip(threads).map(|(place, thread)| place.map_or_else(|| without_place(thread), reply));
    let of_unregistered = places[threads.len()..].iter().map(|place| place.map_or(Reply::Ended, reply));
    Ok(of_tree.chain(of_unregistered).collect())
}

/// Why a thread without ids is sent no request, as a sentence.
const UNKNOWN_END: &str = "it has joined the tree while its thread-locals were destroyed, where its end is not seen";

/// Makes the engine's handler the process's handler of SIGPROF, unless other code has one.
fn install_handler() -> Result<(), String> {
    match handler::anothers() {
        Ok(None) => {}
        Ok(Some(other)) => {
            let other = describe_handler(other);
            return Err(format!("SIGPROF, by which threads are sent stack requests, has a handler already: {other}"));
        }
        Err(cause) => return Err(format!("the system does not say what handles SIGPROF: {cause}")),
    }
    handler::install().map_err(|cause| format!("the system refuses a handler for SIGPROF: {cause}"))
}
