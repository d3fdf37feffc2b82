//! Everything that happened in a recording, on one clock: what the analysis of it reads. Plain data.
//! All times are nanoseconds of the clock of the stamps, `wait::ender::nanos`.

use std::sync::Arc;

/// What the threads of the tree did from `begin` to `end`.
#[derive(Clone, Debug, Default)]
pub(in crate::profile) struct Trace {
    pub(in crate::profile) begin: u64,
    pub(in crate::profile) end: u64,
    /// In tree order: parents before their children, children by their starts.
    pub(in crate::profile) threads: Vec<TracedThread>,
    pub(in crate::profile) queues: Vec<TracedQueue>,
    /// Samples were taken by the wall clock, so also while a thread was blocked in foreign code.
    /// Otherwise a sample says nothing about such time.
    pub(in crate::profile) is_by_wall: bool,
    /// Events that were lost, of all threads.
    pub(in crate::profile) lost: u64,
}

/// What one thread did.
#[derive(Clone, Debug)]
pub(in crate::profile) struct TracedThread {
    pub(in crate::profile) path: Arc<str>,
    /// Its start, or that of the recording.
    pub(in crate::profile) begin: u64,
    /// Its end, or that of the recording.
    pub(in crate::profile) end: u64,
    /// It lived when the recording ended.
    pub(in crate::profile) is_alive: bool,
    /// The thread that spawned it during the recording: an index into [`Trace::threads`]. Its parent,
    /// unless another thread was its spawner.
    pub(in crate::profile) born_by: Option<usize>,
    /// Its sleeps, the oldest first. No two overlap.
    pub(in crate::profile) waits: Vec<TracedWait>,
    /// The oldest first.
    pub(in crate::profile) samples: Vec<TracedSample>,
    pub(in crate::profile) spans: Vec<TracedSpan>,
    pub(in crate::profile) logs: Vec<TracedLog>,
    /// Events of this thread that were lost.
    pub(in crate::profile) lost: u64,
}

/// A sleep in a blocking call of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::profile) struct TracedWait {
    pub(in crate::profile) begin: u64,
    /// The stamp of the thread that ended it.
    pub(in crate::profile) ended: u64,
    /// When `ender` ended the wait. Later than `ended` if this sleep ended in vain: the thread slept
    /// again in the same wait.
    pub(in crate::profile) over: u64,
    /// The thread was runnable from `ended` to here.
    pub(in crate::profile) runs_again: u64,
    pub(in crate::profile) what: WaitName,
    pub(in crate::profile) ender: TracedEnder,
    /// The stack of the blocking call, if it was taken.
    pub(in crate::profile) stack: Option<StackNumber>,
}

/// What a thread waited for: `queue`, `jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::profile) struct WaitName {
    pub(in crate::profile) kind: &'static str,
    pub(in crate::profile) name: Arc<str>,
}

/// What ended a wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::profile) enum TracedEnder {
    /// An index into [`Trace::threads`].
    Thread(usize),
    /// A thread that is not in [`Trace::threads`], by its path.
    Named(Arc<str>),
    /// A deadline, or a timer.
    Clock,
    /// The system, or another process.
    Outside,
    /// Not known, or the wait goes on.
    Unknown,
}

/// Where a thread was.
///
/// Its CPU time is of the thread's own time (not in a wait, not runnable after one) since the sample
/// before, also across waits. A thread that is not sampled again because it has not moved needs another
/// sample, with the same stack, at the last time at which that was so: otherwise the time would go to
/// the stack of the next sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::profile) struct TracedSample {
    pub(in crate::profile) at: u64,
    /// By how much the CPU clock went on since the sample before, or since the thread's `begin`.
    pub(in crate::profile) cpu: u64,
    /// `None`: the CPU clock alone was read, as at the thread's end.
    pub(in crate::profile) stack: Option<StackNumber>,
}

/// The number of a stack of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::profile) struct StackNumber(pub(in crate::profile) u32);

/// A stretch of the program's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::profile) struct TracedSpan {
    pub(in crate::profile) begin: u64,
    pub(in crate::profile) end: u64,
    pub(in crate::profile) name: Arc<str>,
}

/// How many values a queue had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::profile) struct TracedQueue {
    pub(in crate::profile) name: Arc<str>,
    /// A time, and the number of values from then on. The oldest first.
    pub(in crate::profile) depths: Vec<(u64, u64)>,
}

/// A log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::profile) struct TracedLog {
    pub(in crate::profile) at: u64,
    pub(in crate::profile) level: log::Level,
    /// `src/indexer.rs:120`
    pub(in crate::profile) place: Arc<str>,
    /// `None`: it is not kept any more.
    pub(in crate::profile) text: Option<Arc<str>>,
}
