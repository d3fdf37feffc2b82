//! The interface that both engines implement. Below them; knows no engine.

use crate::profile::raw::{Effective, RawProfile};
use std::time::{Instant, SystemTime};

/// A running engine. Dropping it stops it.
pub(in crate::profile) trait Sampler: Send + Sync {
    /// Everything found since the start. The recording goes on.
    fn snapshot(&self) -> RawProfile;

    /// Stops, and returns everything found.
    fn finish(self: Box<Self>) -> RawProfile;
}

/// A started engine, what it does, and when it started, by both clocks.
pub(in crate::profile) struct Start {
    pub(in crate::profile) sampler: Box<dyn Sampler>,
    pub(in crate::profile) effective: Effective,
    pub(in crate::profile) began: Instant,
    pub(in crate::profile) epoch: SystemTime,
}
