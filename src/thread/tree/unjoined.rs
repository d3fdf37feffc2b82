//! The failures of children that no thread has joined, kept by the parent. Bounded, since a service
//! may spawn a thread for each connection, and run for a year.

use crate::thread::failure::{Failure, Failures};
use std::collections::VecDeque;

/// A thread keeps this many of the first failures of its children, and this many of the last.
pub(super) const KEPT_FIRST: usize = 32;
pub(super) const KEPT_LAST: usize = 32;

/// Made with the first failure: most threads never have one.
#[derive(Default)]
pub(super) struct Unjoined(Option<Box<Kept>>);

#[derive(Default)]
struct Kept {
    /// With the child's id.
    first: Vec<(u64, Failure)>,
    last: VecDeque<(u64, Failure)>,
    omitted: u64,
}

/// What an [`Unjoined`] did not keep. Dropped with no lock held: payloads and errors are the
/// user's.
#[must_use = "it is to be logged and dropped with no lock held"]
pub(super) struct Omitted {
    pub(super) failure: Failure,
    /// It is the first failure that was not kept.
    pub(super) is_first: bool,
}

impl Unjoined {
    pub(super) fn add(&mut self, id: u64, failure: Failure) -> Option<Omitted> {
        let kept = self.0.get_or_insert_default();
        if kept.first.len() < KEPT_FIRST {
            kept.first.push((id, failure));
            return None;
        }
        kept.last.push_back((id, failure));
        if kept.last.len() <= KEPT_LAST {
            return None;
        }
        kept.omitted += 1;
        let is_first = kept.omitted == 1;
        kept.last.pop_front().map(|(_, failure)| Omitted { failure, is_first })
    }

    pub(super) fn take(&mut self) -> Unjoined {
        std::mem::take(self)
    }

    pub(super) fn into_failures(self) -> Failures {
        let Some(kept) = self.0 else { return Failures { kept: Vec::new(), omitted: 0 } };
        let mut all: Vec<_> = kept.first.into_iter().chain(kept.last).collect();
        all.sort_by_key(|(id, _)| *id);
        Failures { kept: all.into_iter().map(|(_, failure)| failure).collect(), omitted: kept.omitted }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Failure> {
        self.0.iter().flat_map(|kept| kept.first.iter().chain(&kept.last)).map(|(_, failure)| failure)
    }

    pub(super) fn omitted(&self) -> u64 {
        self.0.as_ref().map_or(0, |kept| kept.omitted)
    }
}
