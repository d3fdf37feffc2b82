//! The public face of the dump: making one, and writing it. Names the other files of the room; none
//! of them names this one.

use super::contents::Dump;
use super::{collect, json, text};
use crate::thread::Thread;
use std::fmt;
use std::time::Duration;

/// What all threads of the tree do right now.
///
/// For each: its path, its ids here and in the system, its age and CPU time, whether it runs,
/// waits or has ended; what it waits for in this crate, since when and which thread holds that;
/// whether it was asked to stop, when, by which thread and why; failures that no thread has
/// joined; at the end, waits that no thread can end. Threads of the process that are not in the
/// tree follow (on Linux), as `other/<name>`: their name in the kernel,
/// state, CPU time and age. And with the feature `profiling`, on Linux on x86_64 and aarch64,
/// its stack, also if it is blocked or spins. Where a thread does not answer
/// (it blocks SIGPROF, or gets no processor) the stack is missing, with the reason.
///
/// Takes milliseconds without stacks, and with them as long as the program's debug information
/// takes to read, tenths of a second in a large one; no thread is interrupted for longer than
/// some microseconds of that, and a recording that runs is not disturbed. Works while others
/// hold locks of this crate, or hang. Dumps that are made at once wait for each other for a
/// quarter of a second; then one goes without stacks.
///
/// To find the stacks, each thread of the tree gets SIGPROF once, and each other thread twice,
/// unless it blocks SIGPROF. System calls that it interrupts are restarted, except the calls
/// that Linux never restarts (see signal(7)): `poll`, `select`, `epoll_wait`, `nanosleep` and
/// `clock_nanosleep`, `sigtimedwait`, `semop`, `msgrcv`, `io_getevents`, and socket calls and
/// `futex` waits with a time limit. These return EINTR, which the standard library hides where
/// it can: `std::thread::sleep` and `std::io::Read::read_exact` go on, while `TcpStream::read`
/// with a timeout returns [`ErrorKind::Interrupted`](std::io::ErrorKind::Interrupted).
///
/// After Java's thread dump, with the tree instead of a list.
///
/// ```
/// use selvedge::{Queue, spawn};
///
/// let jobs: Queue<u32> = Queue::bounded("jobs", 8);
/// let from = jobs.clone();
/// let worker = spawn("worker", move |please_stop| while from.pop_till(please_stop).is_ok() {});
/// while worker.thread().waiting_for().is_none() {
///     std::thread::yield_now();
/// }
/// let dump = selvedge::dump();
/// assert!(dump.to_string().contains("main/worker, waiting"), "{dump}");
/// assert!(dump.to_json().contains(r#""name":"jobs""#));
/// worker.stop();
/// worker.join().unwrap();
/// ```
#[must_use = "a dump that is dropped was made in vain"]
pub fn dump() -> Dump {
    collect::now(true)
}

/// The name that [`dump`] had first. Programs that were written against it still compile.
impl Thread {
    /// The same as [`dump`](crate::dump()).
    #[doc(hidden)]
    #[deprecated(note = "call `selvedge::dump()`")]
    pub fn dump() -> Dump {
        dump()
    }
}

impl Dump {
    /// One JSON object on one line, ending without a newline: `process`, `at` (RFC 3339), `took_s`,
    /// `no_stacks` (why there are none, or null), `unread` (sentences: which files could not be
    /// read to name functions, and why), `threads`, in the order of the tree, `others`, the threads
    /// that are not in the tree, and `deadlocks`, by the ids of their threads. Of a thread, what is
    /// not known or does not apply is null; times are seconds; the `stack` is whole, its leaf first,
    /// and `stack_lines` is what the text shows of it.
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// The lines of a thread's stack that are worth showing.
    #[cfg(feature = "profiling")]
    pub(crate) fn stack_of(&self, thread: &Thread) -> Vec<String> {
        text::stack_of(self, thread.id())
    }

    /// How long ago it was taken; zero if the system's clock was set back since.
    pub(crate) fn age(&self) -> Duration {
        self.at.elapsed().unwrap_or_default()
    }

    /// A dump that asks no thread for its stack. Takes ten milliseconds, also while threads hang.
    pub(crate) fn without_stacks() -> Dump {
        collect::now(false)
    }

    /// One thread with its stack, and the threads that it waits for, one after the other. Empty if
    /// it was not met.
    pub(crate) fn explain(&self, thread: &Thread) -> String {
        text::explain(self, thread.id())
    }

    /// The threads of the user's that have not ended, with their stacks.
    pub(crate) fn living(&self) -> String {
        text::living(self)
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
