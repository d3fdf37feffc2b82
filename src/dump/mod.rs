//! The thread dump: what each thread of the tree does, waits for and was asked, right now, for
//! people and as JSON. Above `thread` and `profile`, which tell it; knows no runtime, no log and no
//! OS signal.
//!
//! Invariants
//! 1. It never waits for a lock without a limit: what cannot be read in time is shown as `[busy]`,
//!    since the holder may be the thread that the reader of the dump is looking for.
//! 2. Nothing of the user's runs while it is made.

mod collect;
mod frames;
mod json;
mod text;
mod unregistered;

use self::unregistered::Unregistered;
use crate::os::task;
use crate::signal::Reason;
use crate::thread::Thread;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What all threads of the tree did at one moment. See [`Thread::dump`].
///
/// `Display` writes it for people: the threads one below the other, each with what it waits for,
/// which thread holds that, whether it was asked to stop, what it has failed with, and its stack;
/// siblings that do the same are one entry; the runtime's own threads come last.
/// [`to_json`](Self::to_json) has all of it for programs.
#[derive(Clone)]
pub struct Dump {
    process: u32,
    at: SystemTime,
    /// From the first look to the last.
    took: Duration,
    /// In the order of the tree: a parent, then its children, the oldest first.
    threads: Vec<Entry>,
    /// The threads that are not in the tree, by their kernel ids.
    unregistered: Vec<Unregistered>,
    /// Why there are no stacks.
    no_stacks: Option<String>,
    /// Files that could not be read to name functions, and why, as sentences.
    unread: Vec<String>,
    /// The waits that no thread can end.
    deadlocks: Vec<Deadlock>,
}

/// Waiting threads whose waits no thread can end.
#[derive(Clone, serde::Serialize)]
struct Deadlock {
    kind: &'static str,
    /// Under which condition it is not so.
    unless: Option<String>,
    /// By their ids.
    threads: Vec<u64>,
    behind: Vec<u64>,
    text: String,
}

/// One thread.
#[derive(Clone)]
struct Entry {
    id: u64,
    parent: Option<u64>,
    path: Arc<str>,
    /// One of the runtime's own.
    is_own: bool,
    /// It is the thread that made the dump.
    is_maker: bool,
    has_children: bool,
    /// Its own code has ended, and it waits for its children.
    is_ending: bool,
    /// The kernel's id.
    os_thread: Option<i32>,
    /// When all of this was read. Its times are those of this moment, not of when the dump is
    /// written out.
    seen: Instant,
    age: Duration,
    doing: Doing,
    cpu: Option<Duration>,
    /// Of one processor, while the dump was made.
    share: Option<f64>,
    spawned_at: Option<&'static Location<'static>>,
    stop: Option<Reason>,
    /// How often it was run again after a failure.
    restarts: u64,
    failures: Vec<String>,
    /// What could not be read in time.
    busy: Option<&'static str>,
    stack: Stack,
}

#[derive(Clone, PartialEq, Eq)]
enum Doing {
    NotBegun,
    /// In a blocking call of this crate.
    Waiting {
        kind: &'static str,
        name: Arc<str>,
        elapsed: Duration,
        holder: Option<Arc<str>>,
        /// Where the holder took it.
        acquired_at: Option<&'static Location<'static>>,
    },
    Running,
    Asleep,
    AsleepDeeply,
    Halted,
    /// Not known more precisely.
    Alive,
    Ended {
        ago: Duration,
    },
}

impl Doing {
    /// What the kernel says.
    fn of(doing: task::Doing) -> Doing {
        match doing {
            task::Doing::Runs => Doing::Running,
            task::Doing::Sleeps => Doing::Asleep,
            task::Doing::SleepsDeeply => Doing::AsleepDeeply,
            task::Doing::Halted => Doing::Halted,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Stack {
    /// Leaf first.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    Of { frames: Vec<Frame>, cut: Option<&'static str> },
    /// Why there is none; empty if that is no wonder.
    None(Cow<'static, str>),
}

#[derive(Clone, PartialEq, Eq)]
struct Frame {
    function: Arc<str>,
    file: Arc<str>,
    line: u32,
}

impl Thread {
    /// What all threads of the tree do right now.
    ///
    /// For each: its path, its ids here and in the system, its age and CPU time, whether it runs,
    /// waits or has ended; what it waits for in this crate, since when and which thread holds that;
    /// whether it was asked to stop, when, by which thread and why; failures that no thread has
    /// joined; at the end, waits that no thread can end. Threads of the process that are not in the
    /// tree follow those of the tree (on Linux), as `other/<name>`: their name in the kernel,
    /// state, CPU time and age. And with the feature `profiling`, on Linux on x86_64 and aarch64,
    /// its stack, also if it is blocked or spins. Those of threads that do not answer (they block
    /// SIGPROF, or get no processor) are missing, with the reason.
    ///
    /// Takes milliseconds without stacks, and with them as long as the program's debug information
    /// takes to read, tenths of a second in a large one; no thread is interrupted for longer than
    /// some microseconds of that, and a recording that runs is not disturbed. Works while others
    /// hold locks of this crate, or hang. Dumps that are made at once wait for each other for a
    /// quarter of a second; then one goes without stacks.
    ///
    /// To find the stacks, each thread of the tree gets SIGPROF once, and each other thread twice,
    /// unless it blocks SIGPROF. System calls that it interrupts are restarted, but for those that
    /// Linux never restarts (see signal(7)): `poll`, `select`, `epoll_wait`, `nanosleep` and
    /// `clock_nanosleep`, `sigtimedwait`, `semop`, `msgrcv`, `io_getevents`, and socket calls and
    /// `futex` waits with a time limit. These return EINTR, which the standard library hides where
    /// it can: `std::thread::sleep` and `std::io::Read::read_exact` go on, while `TcpStream::read`
    /// with a timeout returns [`ErrorKind::Interrupted`](std::io::ErrorKind::Interrupted).
    ///
    /// After Java's thread dump, with the tree instead of a list.
    ///
    /// ```
    /// use selvedge::{Queue, Thread, spawn};
    ///
    /// let jobs: Queue<u32> = Queue::bounded("jobs", 8);
    /// let from = jobs.clone();
    /// let worker = spawn("worker", move |please_stop| while from.pop_till(please_stop).is_ok() {});
    /// while worker.thread().waiting_for().is_none() {
    ///     std::thread::yield_now();
    /// }
    /// let dump = Thread::dump();
    /// assert!(dump.to_string().contains("main/worker, waiting"), "{dump}");
    /// assert!(dump.to_json().contains(r#""name":"jobs""#));
    /// worker.stop();
    /// worker.join().unwrap();
    /// ```
    pub fn dump() -> Dump {
        Dump::now(true)
    }
}

impl Dump {
    /// One JSON object on one line, ending without a newline: `process`, `at` (RFC 3339), `took_s`,
    /// `no_stacks` (why there are none, or null), `unread` (sentences: which files could not be
    /// read to name functions, and why), `threads`, in the order of the tree, `others`, the threads
    /// that are not in the tree, and `deadlocks`, by the ids of their threads. Of a thread, what is
    /// not known or does not apply is null; times are seconds; the stack is whole, its leaf first.
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

    /// Without asking anybody for a stack: ten milliseconds, whatever hangs.
    pub(crate) fn without_stacks() -> Dump {
        Dump::now(false)
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
