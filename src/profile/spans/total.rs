//! What was counted of the spans with one name on one thread.

use super::clock::Rate;
use super::thread_spans::Row;
use std::sync::Arc;
use std::time::Duration;

/// The spans with one name on one thread, or in a pool of ended threads: how many, and how long
/// they took. See [`span`](crate::span) for what each time means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanTotal {
    name: &'static str,
    path: Arc<str>,
    calls: u64,
    own: Duration,
    total: Duration,
    longest: Duration,
}

impl SpanTotal {
    pub(super) fn new(row: &Row, rate: Rate) -> SpanTotal {
        SpanTotal {
            name: row.name,
            path: row.path.clone(),
            calls: row.calls,
            own: rate.time(row.own),
            total: rate.time(row.total),
            longest: rate.time(row.longest),
        }
    }

    /// The name that was given to [`span`](crate::span); `[others]` for names beyond the 127th of
    /// one thread.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The path of the thread, `main/crawler/fetcher-3`; of a pool of ended threads, with `*` for
    /// what differs.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many spans were opened. A span that is open counts.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How long they took, without the spans in them.
    pub fn self_time(&self) -> Duration {
        self.own
    }

    /// How long they took, with the spans in them. Time in which several of them were open, one
    /// in the other, is counted once.
    pub fn total_time(&self) -> Duration {
        self.total
    }

    /// The longest of them, from its begin to its end.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The self time of a span on average.
    pub fn self_per_call(&self) -> Duration {
        per_call(self.own, self.calls)
    }

    /// The total time of a span on average.
    pub fn total_per_call(&self) -> Duration {
        per_call(self.total, self.calls)
    }

    /// Adds another thread's spans with this name, and calls the threads `path`.
    pub(super) fn take_in(&mut self, other: &SpanTotal, path: &str) {
        if *self.path != *path {
            self.path = path.into();
        }
        self.calls += other.calls;
        self.own += other.own;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }
}

fn per_call(time: Duration, calls: u64) -> Duration {
    Duration::from_nanos((time.as_nanos() / u128::from(calls.max(1))) as u64)
}
