//! The failures of children that no thread has joined, kept by the parent. Bounded, since a service
//! may spawn a thread for each connection, and run for a year.

use crate::thread::failure::{Failure, Failures};
use std::collections::VecDeque;

/// A thread keeps this many of the first failures of its children, and this many of the last.
pub(super) const KEPT_FIRST: usize = 32;
pub(super) const KEPT_LAST: usize = 32;

#[derive(Default)]
pub(super) struct Unjoined {
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
        if self.first.len() < KEPT_FIRST {
            self.first.push((id, failure));
            return None;
        }
        self.last.push_back((id, failure));
        if self.last.len() <= KEPT_LAST {
            return None;
        }
        self.omitted += 1;
        let is_first = self.omitted == 1;
        self.last.pop_front().map(|(_, failure)| Omitted { failure, is_first })
    }

    pub(super) fn take(&mut self) -> Unjoined {
        std::mem::take(self)
    }

    pub(super) fn into_failures(self) -> Failures {
        // Most threads end so: no child of theirs has failed.
        if self.first.is_empty() {
            return Failures { kept: Vec::new(), omitted: 0 };
        }
        let mut all: Vec<_> = self.first.into_iter().chain(self.last).collect();
        all.sort_by_key(|(id, _)| *id);
        Failures { kept: all.into_iter().map(|(_, failure)| failure).collect(), omitted: self.omitted }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Failure> {
        self.first.iter().chain(&self.last).map(|(_, failure)| failure)
    }

    pub(super) fn omitted(&self) -> u64 {
        self.omitted
    }
}
