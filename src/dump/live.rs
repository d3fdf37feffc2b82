//! The dump for the room `inspect`, which sends parts of it: threads one by one, and what has
//! changed of each since an earlier look. Reads `contents`.

use super::contents::{Deadlock, Doing, Dump, Entry, Stack, Unregistered};
use super::json;
use serde::{Serialize, Serializer};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One thread of the tree. Serializes as in [`Dump::to_json`].
#[derive(Clone, Copy)]
pub(crate) struct ThreadNow<'a>(&'a Entry);

/// One thread that is not in the tree.
#[derive(Clone, Copy)]
pub(crate) struct OtherNow<'a>(&'a Unregistered);

/// What a reader of threads must be told anew if it changes. CPU times and ages are not in it.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    hash: u64,
    /// Since when it is in its present wait.
    since: Option<Instant>,
}

impl Facts {
    pub(crate) fn differ(&self, other: &Facts) -> bool {
        /// Two looks compute the begin of one wait with this precision.
        const SAME: Duration = Duration::from_millis(20);
        let moved = match (self.since, other.since) {
            (Some(one), Some(other)) => one.max(other).duration_since(one.min(other)) > SAME,
            (one, other) => one.is_some() != other.is_some(),
        };
        self.hash != other.hash || moved
    }
}

impl Dump {
    /// All of it, as [`Dump::to_json`] writes it.
    pub(crate) fn as_json(&self) -> impl Serialize + '_ {
        json::whole(self)
    }

    /// In the order of the tree.
    pub(crate) fn threads(&self) -> impl Iterator<Item = ThreadNow<'_>> {
        self.threads.iter().map(ThreadNow)
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = OtherNow<'_>> {
        self.unregistered.iter().map(OtherNow)
    }

    pub(crate) fn deadlocks(&self) -> &[Deadlock] {
        &self.deadlocks
    }

    /// Why no thread has a stack.
    pub(crate) fn no_stacks(&self) -> Option<&str> {
        self.no_stacks.as_deref()
    }
}

impl<'a> ThreadNow<'a> {
    pub(crate) fn id(self) -> u64 {
        self.0.id
    }

    pub(crate) fn path(self) -> &'a Arc<str> {
        &self.0.path
    }

    pub(crate) fn cpu(self) -> Option<Duration> {
        self.0.cpu
    }

    /// Of one processor, since the look before.
    pub(crate) fn share(self) -> Option<f64> {
        self.0.share
    }

    pub(crate) fn state(self) -> &'static str {
        json::state(&self.0.doing)
    }

    /// How long it has been doing what it does, where that is known.
    pub(crate) fn for_how_long(self) -> Option<Duration> {
        match self.0.doing {
            Doing::Waiting { elapsed, .. } => Some(elapsed),
            _ => None,
        }
    }

    /// The kind and the name of its wait.
    pub(crate) fn wait(self) -> Option<(&'static str, &'a str)> {
        match &self.0.doing {
            Doing::Waiting { kind, name, .. } => Some((kind, name)),
            _ => None,
        }
    }

    pub(crate) fn is_alive(self) -> bool {
        !matches!(self.0.doing, Doing::Ended { .. })
    }

    /// Where it was spawned: file and line.
    pub(crate) fn spawned_at(self) -> Option<(&'static str, u32)> {
        self.0.spawned_at.map(|place| (place.file(), place.line()))
    }

    /// Function, file and line of each frame, the leaf first; or why there are none.
    pub(crate) fn stack(self) -> Result<Vec<(&'a str, &'a str, u32)>, &'a str> {
        frames(&self.0.stack)
    }

    pub(crate) fn facts(self) -> Facts {
        let entry = self.0;
        let mut hash = DefaultHasher::new();
        (entry.parent, entry.os_thread, entry.is_ending, entry.restarts, &entry.failures, entry.busy).hash(&mut hash);
        entry.stop.as_ref().map(|reason| reason.when()).hash(&mut hash);
        json::state(&entry.doing).hash(&mut hash);
        let since = match &entry.doing {
            Doing::Waiting { kind, name, holder, elapsed, .. } => {
                (kind, name, holder).hash(&mut hash);
                entry.seen.checked_sub(*elapsed)
            }
            _ => None,
        };
        Facts { hash: hash.finish(), since }
    }
}

impl<'a> OtherNow<'a> {
    pub(crate) fn id(self) -> i32 {
        self.0.id
    }

    pub(crate) fn path(self) -> &'a str {
        &self.0.path
    }

    pub(crate) fn state(self) -> &'static str {
        json::state(&self.0.doing)
    }

    pub(crate) fn stack(self) -> Result<Vec<(&'a str, &'a str, u32)>, &'a str> {
        frames(&self.0.stack)
    }
}

fn frames(stack: &Stack) -> Result<Vec<(&str, &str, u32)>, &str> {
    match stack {
        Stack::Of { frames, .. } => {
            Ok(frames.iter().map(|frame| (&*frame.function, &*frame.file, frame.line)).collect())
        }
        Stack::None(why) => Err(why),
    }
}

impl Serialize for ThreadNow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json::one(self.0).serialize(serializer)
    }
}

impl Serialize for OtherNow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json::one_unregistered(self.0).serialize(serializer)
    }
}
