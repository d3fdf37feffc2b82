//! The queues that are alive, for what concerns the whole process: its end and its forks.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::channel::Channel;
use super::{ending, inside};
use crate::os::process;

static LIVE: Mutex<Vec<Weak<Channel>>> = Mutex::new(Vec::new());

/// How long an end or a fork waits for a sink that hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long may the writer of a queue that is well be within a batch, when another one has used up the patience.
const ONE_BATCH: Duration = Duration::from_millis(50);

type Held = Vec<(Arc<Channel>, bool)>;

thread_local! {
    /// While the calling thread forks: all, and whether it keeps each still. One whose sink hangs, it cannot.
    /// Without a destructor, so that an exit handler may fork too.
    static HELD: RefCell<ManuallyDrop<Held>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// From now on an `exit` waits until what was logged is written.
pub(crate) fn prepare_end() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| process::at_exit(at_exit));
}

pub(super) fn register(channel: Arc<Channel>) -> Arc<Channel> {
    static ONCE: Once = Once::new();
    prepare_end();
    ONCE.call_once(|| {
        process::at_fork(before_fork, in_parent, in_child);
        process::at_abort(at_abort);
    });
    let mut live = LIVE.lock();
    live.retain(|channel| channel.strong_count() > 0);
    live.push(Arc::downgrade(&channel));
    channel
}

fn all() -> Vec<Arc<Channel>> {
    // A fork or an exit may come while this is locked by a thread that is no more.
    let live = LIVE.try_lock_for(PATIENCE);
    live.map(|live| live.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
}

/// All that was logged is written when this returns, unless a sink hangs. Safe where the process is about to end.
pub(crate) fn flush_in_time() {
    let deadline = Instant::now() + PATIENCE;
    for channel in all() {
        channel.flush(Some(deadline));
    }
}

/// Nobody writes any more: for an end that comes at once, and must not cut through a line. What was to be flushed was.
pub(crate) fn hold_for_end() {
    let deadline = Instant::now() + PATIENCE;
    for channel in all() {
        channel.leave(deadline.max(Instant::now() + ONE_BATCH));
    }
}

/// Other threads may log on: the process must not end in the middle of a line of theirs.
extern "C" fn at_exit() {
    let deadline = Instant::now() + PATIENCE;
    for channel in all() {
        channel.flush(Some(deadline));
        channel.leave(deadline.max(Instant::now() + ONE_BATCH));
    }
    super::in_child::tell_lost();
}

/// # Signal safety
/// Safe. Calls [`inside::has_calling_thread`] and [`ending::quiesce`].
extern "C" fn at_abort(survives: bool) {
    // A thread that is within the sinks has come out of its write, and cannot wait for itself.
    if !inside::has_calling_thread() {
        ending::quiesce(PATIENCE, survives);
    }
}

extern "C" fn before_fork() {
    let deadline = Instant::now() + PATIENCE;
    let hold = |channel: Arc<Channel>| {
        let held = channel.hold_for_fork(deadline);
        (channel, held)
    };
    let held = ManuallyDrop::new(all().into_iter().map(hold).collect());
    HELD.with(|slot| *slot.borrow_mut() = held);
}

extern "C" fn in_parent() {
    release(|_, _| ());
}

extern "C" fn in_child() {
    ending::nobody_is_left();
    inside::only_calling_thread_is_left();
    release(Channel::orphan);
}

fn release(first: impl Fn(&Channel, bool)) {
    for (channel, held) in ManuallyDrop::into_inner(HELD.take()) {
        first(&channel, held);
        if held {
            channel.release_after_fork();
        }
    }
}
