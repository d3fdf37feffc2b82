//! Everything that happened in a recording that counts waits, on one clock: which thread waited when
//! and for what, what ended that, samples, births and deaths.
//!
//! | file | what it is |
//! |---|---|
//! | `events` | the trace: data only |
//! | `collector` | the threads of a running recording, and their rings |
//! | `depths` | how many values each queue had |
//! | `making` | makes the trace from the events |

mod collector;
mod depths;
mod events;
mod making;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use self::collector::Missing;
pub(super) use self::collector::{Collected, Collector};
pub(super) use self::events::{
    StackNumber, Trace, TracedEnder, TracedQueue, TracedSpan, TracedThread, TracedWait, WaitName,
};
#[cfg(test)]
pub(super) use self::events::{TracedLog, TracedSample};
use crate::os::counted::counted;
use crate::profile::options::Clock;

/// The trace of a recording, and what it lacks.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) trace: Trace,
    missing: Missing,
}

impl Traced {
    /// Made before the count of waits ends: threads outside of the tree still have names.
    pub(super) fn new(collected: Collected, clock: Clock) -> Traced {
        let (trace, missing) = collected.into_trace(clock == Clock::Wall);
        Traced { trace, missing }
    }

    /// What is missing, as a part of a sentence. `None`: nothing.
    pub(super) fn missing(&self) -> Option<String> {
        let Missing { lost, forgotten, forgotten_time } = self.missing;
        let lost = (lost > 0).then(|| format!("{} lost in full rings", counted(lost, "event")));
        let forgotten = (forgotten > 0).then(|| {
            let seconds = forgotten_time.as_secs_f64();
            format!("the oldest {forgotten} events, of the first {seconds:.1} s, not kept")
        });
        let all: Vec<String> = lost.into_iter().chain(forgotten).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}
