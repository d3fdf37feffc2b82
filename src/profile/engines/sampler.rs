//! The interface that both engines implement. Below them; knows no engine.

use crate::profile::raw::{Effective, Ending, RawProfile};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A running engine. Dropping it stops it.
pub(in crate::profile) trait Sampler: Send + Sync {
    /// Everything found since the start. The recording goes on.
    fn snapshot(&self) -> RawProfile;

    /// Stops, and returns everything found.
    fn finish(self: Box<Self>) -> RawProfile;

    /// Lets threads take their own stacks, from now until the engine stops. `None`: this engine
    /// cannot.
    fn own_stacks(&self) -> Option<Arc<dyn TakeOwnStack>>;
}

/// Takes the stacks of the threads that call it.
pub(in crate::profile) trait TakeOwnStack: Send + Sync {
    /// The number of the calling thread's stack in [`RawProfile::own_stacks`]. `None`: it could not
    /// be had, which is counted there.
    fn take(&self) -> Option<u32>;

    /// Keeps the stack that a thread has replied with, and returns its number, as above.
    fn keep(&self, addresses: &[u64], ending: Ending) -> Option<u32>;
}

/// A started engine, what it does, and when it started, by both clocks.
pub(in crate::profile) struct Start {
    pub(in crate::profile) sampler: Box<dyn Sampler>,
    pub(in crate::profile) effective: Effective,
    pub(in crate::profile) began: Instant,
    pub(in crate::profile) epoch: SystemTime,
}
