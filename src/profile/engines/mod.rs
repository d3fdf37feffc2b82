//! What takes samples. An engine finds addresses and the times they were found at; names, threads
//! and pictures are made of them later, by rooms that do not know which engine it was.

#[cfg(all(unix, feature = "pprof-engine"))]
mod process;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[path = "no_timer.rs"]
mod timer;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod timer;

use super::lifetimes::Lifetime;
use super::loader::History;
use super::{Clock, Engine, Options};
use crate::error::{Error, Kind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// An engine at work. Dropping it stops it.
pub(super) trait Sampler: Send + Sync {
    /// Everything found since the start.
    fn snapshot(&self) -> Found;

    /// The same, and the end.
    fn finish(self: Box<Self>) -> Found;
}

/// What an engine has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) samples: Vec<RawSample>,
    /// The threads of the tree that lived during the recording, in the order in which they were
    /// met.
    pub(super) lifetimes: Vec<Lifetime>,
    /// Which code was loaded meanwhile.
    pub(super) history: History,
    /// Why there is less than there should be, as a sentence.
    pub(super) trouble: Option<String>,
}

/// Samples of one thread that found the same stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawSample {
    pub(super) owner: Owner,
    pub(super) stack: Stack,
    pub(super) samples: u64,
    /// Nanoseconds of the clock that these samples stand for.
    pub(super) weight: u64,
}

/// Whose samples these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Index of the thread's life.
    Lifetime(usize),
    /// To be found by its `pthread_t` and the time when the first of them was taken. Made by the
    /// process engine alone.
    #[cfg_attr(not(feature = "pprof-engine"), allow(dead_code))]
    Handle {
        os_thread: u64,
        /// The thread's name as the system knows it, cut to what the system keeps.
        os_name: String,
        at: Nanos,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    Sampled {
        /// Leaf first. The leaf is the instruction that was interrupted; the others are return
        /// addresses.
        addresses: Arc<[u64]>,
        ending: Ending,
        /// Of the loader's list, in which the addresses mean what they do.
        generation: u32,
        /// What the thread waited for in this crate: it stands above the leaf.
        waiting: Option<Arc<str>>,
    },
    /// No sample was taken: the time that is left when the books are closed.
    Unsampled,
}

/// How a stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Ending {
    /// At the thread's first function.
    Root = 0,
    /// It went deeper than the engine looks.
    Deep = 1,
    /// The unwinder did not find the way.
    Broken = 2,
    /// Not on the thread's own stack, or too near to its edge: only the leaf is known.
    Leaf = 3,
}

/// What a thread that was asked where it is has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Leaf first, as in [`Stack::Sampled`].
    Stack { addresses: Vec<u64>, ending: Ending },
    /// It has ended, or had no thread of the system yet.
    Ended,
    /// No answer came in time.
    Silent,
    /// It could not be asked, and why, as a sentence.
    Unavailable(String),
}

/// Asks threads of the tree, and then others by their kernel ids, where they are right now, whether
/// a recording runs or not.
///
/// # Errors
/// No thread can be asked, and why, as a part of a sentence.
pub(super) fn request_stacks(threads: &[crate::thread::Thread], unregistered: &[i32]) -> Result<Vec<Reply>, String> {
    timer::request_stacks(threads, unregistered)
}

/// Nanoseconds since the recording began; negative before.
pub(super) type Nanos = i64;

/// The first part of the label of a thread that is not in the tree; its name in the system is the
/// second. No thread of the tree has it: they all descend from `main`.
pub(super) const UNREGISTERED: &str = "other";

/// In place of a name: threads that no look has met, although the process's clock says that they
/// were there.
pub(super) const UNSEEN: &str = "[unseen]";

/// The label of a thread that is not in the tree.
pub(super) fn label_of_unregistered(os_name: &str) -> String {
    // The label is a path, and that name is one part of it.
    let name = if os_name.is_empty() { "[unnamed]".into() } else { os_name.replace('/', ":") };
    format!("{UNREGISTERED}/{name}")
}

/// Whether a label is one of those.
pub(super) fn is_unregistered_label(label: &str) -> bool {
    label.strip_prefix(UNREGISTERED).is_some_and(|rest| rest.starts_with('/'))
}

/// What a recording really does, which is not always what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effective {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    /// The clock's time between two samples.
    pub(super) period: Duration,
}

/// A started engine, what it does, and since when, by both clocks.
pub(super) struct Start {
    pub(super) sampler: Box<dyn Sampler>,
    pub(super) effective: Effective,
    pub(super) began: Instant,
    pub(super) epoch: SystemTime,
}

/// Starts the engine that `options` ask for.
///
/// # Errors
/// [`Error::is_profile`]: the engine, the clock or the frequency cannot be had.
pub(super) fn start(options: &Options) -> Result<Start, Error> {
    let frequency = options.get_frequency();
    if !Options::FREQUENCIES.contains(&frequency) {
        let (least, most) = (Options::FREQUENCIES.start(), Options::FREQUENCIES.end());
        let message = format!("{frequency} Hz cannot be sampled: from {least} to {most} Hz can");
        return Err(Error::new(Kind::Profile, message).at_key("profile.frequency"));
    }
    let clock = options.get_clock();
    let engine = match options.get_engine() {
        Engine::Auto if timer::CAN_RUN => Engine::Timer,
        Engine::Auto => Engine::Process,
        asked => asked,
    };
    if clock == Clock::Wall && engine == Engine::Process {
        let message = "the process engine cannot sample wall time: take `cpu`";
        return Err(Error::new(Kind::Profile, message).at_key("profile.clock"));
    }
    #[cfg(all(unix, feature = "pprof-engine"))]
    process::put_away_inherited()
        .map_err(|cause| Error::new(Kind::Profile, "the parent process's handler stays").because(cause))?;
    if engine == Engine::Timer {
        timer::start(frequency, clock, options.get_unregistered())
    } else {
        start_process(frequency)
    }
}

#[cfg(all(unix, feature = "pprof-engine"))]
fn start_process(frequency: u32) -> Result<Start, Error> {
    process::start(frequency)
}

#[cfg(not(all(unix, feature = "pprof-engine")))]
fn start_process(_frequency: u32) -> Result<Start, Error> {
    let message = if cfg!(unix) {
        "the process engine is not compiled in: build with the feature `pprof-engine`"
    } else {
        "no engine can sample on this system: one needs unix"
    };
    Err(Error::new(Kind::Profile, message).at_key("profile.engine"))
}
