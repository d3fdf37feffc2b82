//! The waits of a pool of threads, as the metrics tell them: what `record` counts.

use std::time::Duration;

/// How long all threads of a pool have waited for one thing.
pub(super) struct Waited {
    pub(super) pool: String,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) count: u64,
    pub(super) total: Duration,
}
