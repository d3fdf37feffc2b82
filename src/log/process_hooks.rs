//! What the log does when the process exits, aborts or forks: the handlers, which are installed
//! once, and the list of the queues that they go through. What a queue does then is in
//! `drain_lock`, `process_state` and `abort`.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use crate::model::locks::{Mutex, MutexGuard};

use super::channel::Channel;
use super::{abort, draining_threads};
use crate::os::fork::{self, PerProcess};
use crate::os::{abort as os_abort, process};

/// A forked child has a copy, under a lock of its own: to unlock the parent's would hand it to a thread that
/// waits for it in the parent, and is not in the child.
static QUEUES: PerProcess<Queues> = PerProcess::new(Mutex::new(Vec::new()), Queues::default);

type Queues = Mutex<Vec<Weak<Channel>>>;

/// How long an end or a fork waits for a sink that hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// A healthy queue gets this long for the batch it is writing, when another queue has used up the
/// patience.
const ONE_BATCH: Duration = Duration::from_millis(50);

struct Held {
    /// Each queue, and whether the thread holds its right to drain. It does not hold it where a
    /// sink hangs.
    queues: Vec<(Arc<Channel>, bool)>,
    /// The list, locked, so that no other thread changes it. `None` if a thread has it for long.
    list: Option<MutexGuard<'static, Vec<Weak<Channel>>>>,
}

thread_local! {
    /// While the calling thread forks. No destructor, so that an exit handler may fork too.
    static HELD: RefCell<ManuallyDrop<Option<Held>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// From now on `exit` waits until what was logged is written.
pub(crate) fn install_exit_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| process::at_exit(at_exit));
}

pub(super) fn register(channel: Arc<Channel>) -> Arc<Channel> {
    static ONCE: Once = Once::new();
    install_exit_hook();
    ONCE.call_once(|| {
        // The child's number goes up before `in_child` runs.
        fork::watch();
        process::at_fork(before_fork, in_parent, in_child);
        os_abort::at_abort(at_abort);
    });
    let mut queues = QUEUES.lock();
    queues.retain(|channel| channel.strong_count() > 0);
    queues.push(Arc::downgrade(&channel));
    channel
}

/// All queues of the process, also of appenders that no installed logger has.
pub(super) fn all() -> Vec<Arc<Channel>> {
    // With a limit: at an exit, a thread that is gone may hold the lock.
    let queues = QUEUES.try_lock_for(PATIENCE);
    queues.map(|queues| queues.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
}

/// Before an abort: writes all records that were logged, and tells on stderr what is lost. Gives up
/// on a sink that hangs.
pub(crate) fn flush_in_time() {
    let deadline = Instant::now() + PATIENCE;
    let flush = |channel: Arc<Channel>| {
        let is_flushed = channel.flush(Some(deadline));
        (channel, is_flushed)
    };
    let queues: Vec<_> = all().into_iter().map(flush).collect();
    for (channel, is_flushed) in queues {
        channel.finish_exit(is_flushed, with_one_batch(deadline), Some(deadline));
    }
}

/// For an end that comes at once, and must not cut a line: from now on only the calling thread
/// writes. Tells on stderr what is lost. Flush before it.
pub(crate) fn begin_exit() {
    let deadline = Instant::now() + PATIENCE;
    let queues = all();
    for channel in &queues {
        channel.begin_exit(with_one_batch(deadline));
    }
    for channel in &queues {
        channel.finish_exit(false, with_one_batch(deadline), Some(deadline));
    }
}

/// At `exit`: from now on only the calling thread writes. Waits for a sink that fails and still
/// makes progress, as the end of the program does, and tells on stderr what is lost. Other threads
/// may go on logging. The process must not end in the middle of one of their lines.
pub(crate) fn finish_exit() {
    let deadline = Instant::now() + PATIENCE;
    let begin = |channel: Arc<Channel>| {
        let is_flushed = channel.flush(Some(deadline));
        channel.begin_exit(with_one_batch(deadline));
        (channel, is_flushed)
    };
    let queues: Vec<_> = all().into_iter().map(begin).collect();
    for (channel, is_flushed) in queues {
        channel.finish_exit(is_flushed, with_one_batch(deadline), None);
    }
}

/// The deadline of a queue, when another queue may have used up the time before it.
fn with_one_batch(deadline: Instant) -> Instant {
    deadline.max(Instant::now() + ONE_BATCH)
}

/// Called by `exit`.
extern "C" fn at_exit() {
    finish_exit();
    super::forked_child::report_lost();
}

/// Called by the handler of SIGABRT in `os/abort.rs`.
///
/// # Signal safety
/// Safe. Calls [`draining_threads::is_calling_thread_draining`] and [`abort::quiesce`].
extern "C" fn at_abort(survives: bool) {
    // A thread that is within the sinks is not in the middle of a write, and cannot wait for
    // itself.
    if !draining_threads::is_calling_thread_draining() {
        abort::quiesce(PATIENCE, survives);
    }
}

/// Called by `fork`, as the two functions below are.
extern "C" fn before_fork() {
    let deadline = Instant::now() + PATIENCE;
    let hold = |channel: Arc<Channel>| {
        let held = channel.drain_lock().hold_for_fork(deadline);
        (channel, held)
    };
    let queues = all().into_iter().map(hold).collect();
    let held = Held { queues, list: QUEUES.try_lock_for(PATIENCE) };
    HELD.with(|slot| *slot.borrow_mut() = ManuallyDrop::new(Some(held)));
}

extern "C" fn in_parent() {
    let Some(held) = take_held() else { return };
    drop(held.list);
    for (channel, held) in held.queues {
        if held {
            channel.drain_lock().release_after_fork();
        }
    }
}

extern "C" fn in_child() {
    abort::reset_in_child();
    draining_threads::keep_calling_thread_only();
    let Some(held) = take_held() else { return };
    if let Some(mut list) = held.list {
        *QUEUES.lock() = std::mem::take(&mut *list);
        std::mem::forget(list);
    }
    for (channel, held) in held.queues {
        channel.drain_lock().forked(held);
        if held {
            channel.drain_lock().release_after_fork();
        }
    }
}

fn take_held() -> Option<Held> {
    ManuallyDrop::into_inner(HELD.replace(ManuallyDrop::new(None)))
}

#[cfg(all(test, unix, not(selvedge_model)))]
mod tests {
    use super::super::channel_tests::{Paper, channel};
    use super::super::wiring::Overflow;
    use super::*;
    use crate::os::for_tests::in_forked_child;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_forked_child_has_the_list_of_queues() {
        // The handlers of the fork are there once a queue was made.
        let _queue = register(channel(4, Overflow::Block, Paper::default()));
        let (is_over, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (ends, tells) = (is_over.clone(), busy.clone());
        let looks = std::thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                let queues = QUEUES.lock();
                tells.store(true, Ordering::SeqCst);
                // For a good part of the time the lock is held.
                (0..10_000).for_each(|_| std::hint::spin_loop());
                drop(queues);
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        while !busy.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let is_free = (0..20).all(|_| in_forked_child(|| QUEUES.try_lock().is_some_and(|queues| !queues.is_empty())));
        is_over.store(true, Ordering::SeqCst);
        looks.join().unwrap();
        assert!(is_free, "a thread that is not there has the list");
    }
}
