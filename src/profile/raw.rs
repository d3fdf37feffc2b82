//! Raw samples: what an engine hands over, before names are found and sums are shown. Plain data
//! about stacks, the threads that own them, and threads' lifetimes. Below the engines, which all of
//! them fill it; uses no engine, no symbol and no handle of the tree.

use super::loader::History;
use super::options::{Clock, Engine};
use crate::os::printable::on_one_line;
use crate::wait::{Context, Label};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Nanoseconds since the recording began; negative before.
pub(super) type Nanos = i64;

/// What a recording really does, which may differ from its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effective {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    /// The clock's time between two samples.
    pub(super) period: Duration,
}

/// Everything that an engine has found.
#[derive(Debug, Default)]
pub(super) struct RawProfile {
    pub(super) samples: Vec<RawSample>,
    /// The threads that lived during the recording, in the order in which they were found.
    pub(super) lifetimes: Vec<Lifetime>,
    pub(super) stacks: StacksByNumber,
    /// Which code was loaded during the recording.
    pub(super) history: History,
    /// The values of some contexts are `[others]`.
    pub(super) are_contexts_too_many: bool,
    /// Why there is less than there should be, as a sentence.
    pub(super) trouble: Option<String>,
    /// What [`TakeOwnStack`](super::engines::TakeOwnStack) has taken.
    pub(super) own_stacks: OwnStacksTaken,
}

/// The stacks of samples, each with its generation, by the numbers that a trace has. A stack that was folded
/// is not among them.
pub(super) type StacksByNumber = HashMap<u32, (u32, Arc<[u64]>)>;

/// The stacks that threads have taken of themselves during a recording.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnStacksTaken {
    /// By number.
    pub(super) stacks: Vec<OwnStack>,
    /// Stacks for which there was no room.
    pub(super) too_many: u64,
    /// Stacks that were not the threads' own: of coroutines, for example.
    pub(super) elsewhere: u64,
}

/// A stack that a thread has taken of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnStack {
    /// As in [`Stack::Sampled`].
    pub(super) addresses: Arc<[u64]>,
    pub(super) ending: Ending,
    pub(super) generation: u32,
}

/// Samples of one thread with the same stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawSample {
    pub(super) owner: Owner,
    pub(super) stack: Stack,
    /// What the thread worked on.
    pub(super) context: Option<Context>,
    pub(super) samples: u64,
    /// Nanoseconds of the recording's clock that these samples stand for.
    pub(super) weight: u64,
}

/// The thread that samples belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// An index into [`RawProfile::lifetimes`].
    Lifetime(usize),
    /// To be found by its `pthread_t` and the time of the first of the samples. Made by the process
    /// engine alone.
    #[cfg_attr(not(feature = "pprof-engine"), allow(dead_code))]
    Handle {
        os_thread: u64,
        /// The thread's name in the system, cut to what the system keeps.
        os_name: String,
        at: Nanos,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    Sampled {
        /// The leaf first. The leaf is the interrupted instruction; the others are return
        /// addresses.
        addresses: Arc<[u64]>,
        ending: Ending,
        /// The generation of the loader's list in which the addresses are looked up.
        generation: u32,
        /// What the thread waited for in this crate: the frames above the leaf, a line each.
        waiting: Option<Arc<str>>,
    },
    /// Stands for the stacks for which there was no room.
    Others { ending: Ending, waiting: Option<Arc<str>> },
    /// No sample was taken: the time that is left when a thread's account is closed.
    Unsampled,
}

/// How a stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Ending {
    /// At the thread's first function.
    Root = 0,
    /// It is deeper than the engine keeps.
    Deep = 1,
    /// The unwinder did not find a caller.
    Broken = 2,
    /// Only the leaf is known: the stack pointer was outside the thread's own stack, or too near to
    /// its end.
    Leaf = 3,
}

/// One thread's part in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) path: Arc<str>,
    pub(super) os_thread: Option<u64>,
    pub(super) started: Nanos,
    /// `None`: it lives.
    pub(super) ended: Option<Nanos>,
    /// CPU time used during the recording.
    pub(super) cpu: Duration,
    /// Samples that the engine knows to have lost. `None`: computed later, from the CPU time.
    pub(super) lost: Option<u64>,
    /// The lost samples that were merged into the next one.
    pub(super) merged: u64,
    /// Set if this stands for several threads, which have all ended.
    pub(super) pool: Option<Pool>,
    /// The handles of such threads, and when they had them. Set by the process engine alone.
    pub(super) held: Vec<Held>,
}

impl Lifetime {
    /// Makes this lifetime a pool, with the sums of both. The threads of both have ended.
    pub(super) fn take_in(&mut self, other: Lifetime) {
        let (own, others) = (self.as_pool(), other.as_pool());
        self.pool = Some(Pool { threads: own.threads + others.threads, wall: own.wall + others.wall });
        self.os_thread = None;
        self.started = self.started.min(other.started);
        self.ended = self.ended.max(other.ended);
        self.cpu += other.cpu;
        // If it is not known of both, it is computed later, from the sum of the CPU times.
        self.lost = self.lost.zip(other.lost).map(|(own, others)| own + others);
        self.merged += other.merged;
        self.held.extend(other.held);
    }

    fn as_pool(&self) -> Pool {
        let wall = self.ended.unwrap_or(0).saturating_sub(self.started.max(0)).max(0);
        self.pool.unwrap_or(Pool { threads: 1, wall })
    }
}

/// Ended threads that share one [`Lifetime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) threads: u64,
    /// How long they lived during the recording, added up.
    pub(super) wall: Nanos,
}

/// A thread of a pool had the handle `os_thread` from `from` to `till`; or several threads had it, each
/// soon after the thread before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "pprof-engine"), allow(dead_code))]
pub(super) struct Held {
    pub(super) os_thread: u64,
    pub(super) from: Nanos,
    pub(super) till: Nanos,
    /// Threads of other pools had it meanwhile too.
    pub(super) is_mixed: bool,
}

/// A thread runs a little before it is registered and after it has reported its end. Samples of up
/// to this time are still its own, if their owner is known by a handle.
pub(super) const GRACE: Nanos = 100_000_000;

/// The reply to a stack request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The leaf first, as in [`Stack::Sampled`].
    Stack { addresses: Vec<u64>, ending: Ending },
    /// The thread has ended, or has no OS thread yet.
    Ended,
    /// No reply came in time.
    Silent,
    /// No request could be sent, and why, as a sentence.
    Unavailable(String),
}

/// The path of the engine's own thread. All that it does is the engine's work.
pub(super) const SAMPLER: &str = "main/selvedge/sampler";

/// In place of a name: the threads that no scan has found, although the process CPU clock shows
/// that they ran.
pub(super) const UNSEEN: &str = "[unseen]";

/// The frames above the code of a thread that waits in a blocking call of this crate, a line each:
/// what it waits for, and on that the holder, if there is one.
pub(super) fn wait_frames(label: &Label) -> Arc<str> {
    let name = label.name().map(|name| format!(" \"{}\"", on_one_line(name))).unwrap_or_default();
    let held = label.holder().map(|path| format!("\n[held by {path}]")).unwrap_or_default();
    format!("[waiting for {}{name}]{held}", label.kind()).into()
}
