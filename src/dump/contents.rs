//! What a dump consists of. Data only: `collect` makes it, `text` and `json` write it.

use crate::os::task;
use crate::signal::Reason;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What all threads of the tree did at one moment. See [`dump`](crate::dump()).
///
/// `Display` writes it for people: the threads one below the other, each with what it waits for,
/// which thread holds that, whether it was asked to stop, what it has failed with, and its stack;
/// siblings that do the same are one entry; the runtime's own threads come last.
/// [`to_json`](Self::to_json) has all of it for programs.
#[derive(Clone)]
pub struct Dump {
    pub(super) process: u32,
    pub(super) at: SystemTime,
    /// From the first look to the last.
    pub(super) took: Duration,
    /// In the order of the tree: a parent, then its children, the oldest first.
    pub(super) threads: Vec<Entry>,
    /// The threads that are not in the tree, by their kernel ids.
    pub(super) unregistered: Vec<Unregistered>,
    /// Why there are no stacks.
    pub(super) no_stacks: Option<String>,
    /// Files that could not be read to name functions, and why, as sentences.
    pub(super) unread: Vec<String>,
    /// The waits that no thread can end.
    pub(super) deadlocks: Vec<Deadlock>,
}

/// Waiting threads whose waits no thread can end.
#[derive(Clone, serde::Serialize)]
pub(crate) struct Deadlock {
    pub(super) kind: &'static str,
    /// Under which condition it is not so.
    pub(super) unless: Option<String>,
    /// By their ids.
    pub(super) threads: Vec<u64>,
    pub(super) behind: Vec<u64>,
    pub(crate) text: String,
}

/// One thread.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) path: Arc<str>,
    /// One of the runtime's own.
    pub(super) is_own: bool,
    /// It is the thread that made the dump.
    pub(super) is_maker: bool,
    pub(super) has_children: bool,
    /// Its own code has ended, and it waits for its children.
    pub(super) is_ending: bool,
    /// The kernel's id.
    pub(super) os_thread: Option<i32>,
    /// When this entry was read. Its times refer to this moment, not to the moment at which the
    /// dump is written.
    pub(super) seen: Instant,
    pub(super) age: Duration,
    pub(super) doing: Doing,
    pub(super) cpu: Option<Duration>,
    /// Of one processor, while the dump was made.
    pub(super) share: Option<f64>,
    pub(super) spawned_at: Option<&'static Location<'static>>,
    pub(super) stop: Option<Reason>,
    /// How often it was run again after a failure.
    pub(super) restarts: u64,
    /// What it works on: keys and values.
    pub(super) context: Vec<(Arc<str>, Arc<str>)>,
    pub(super) failures: Vec<String>,
    /// What could not be read in time.
    pub(super) busy: Option<&'static str>,
    pub(super) stack: Stack,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Doing {
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
    pub(super) fn of(doing: task::Doing) -> Doing {
        match doing {
            task::Doing::Runs => Doing::Running,
            task::Doing::Sleeps => Doing::Asleep,
            task::Doing::SleepsDeeply => Doing::AsleepDeeply,
            task::Doing::Halted => Doing::Halted,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Stack {
    /// Leaf first.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    Of { frames: Vec<Frame>, cut: Option<&'static str> },
    /// Why there is none; empty if that is no wonder.
    None(Cow<'static, str>),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) function: Arc<str>,
    pub(super) file: Arc<str>,
    pub(super) line: u32,
}

/// A thread that is not in the tree.
#[derive(Clone)]
pub(super) struct Unregistered {
    /// The kernel's id.
    pub(super) id: i32,
    /// `other/<name in the kernel>`, as in profiles.
    pub(super) path: String,
    pub(super) doing: Doing,
    /// `None` where the system does not tell.
    pub(super) age: Option<Duration>,
    pub(super) cpu: Option<Duration>,
    /// Of one processor, while the dump was made.
    pub(super) share: Option<f64>,
    pub(super) stack: Stack,
}
