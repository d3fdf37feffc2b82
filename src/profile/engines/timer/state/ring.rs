//! What sampling without signals keeps, for the recording and for each thread. How it is used is in
//! `by_ring`.

use crate::os::counted::counted;
use crate::os::perf_ring::SampleEvents;
use crate::profile::engines::timer::kernel_rings::KernelRings;

/// What sampling without signals needs.
pub(super) struct RingSampling {
    pub(super) rings: KernelRings,
    /// The threads that live when the recording starts are being listed: none has events.
    pub(super) is_listing: bool,
    /// What is added to a sample's time for the clock of all events.
    pub(super) event_clock: i64,
    /// The number of threads that got no events, and why the first did not.
    pub(super) without_events: u64,
    pub(super) reason: Option<String>,
    /// The warning about the first, until it is taken.
    pub(super) warning: Option<String>,
    /// For the clocks of samples.
    pub(super) clocks: Vec<u64>,
}

/// What the kernel's rings have of one thread.
#[derive(Default)]
pub(super) struct ByRing {
    /// `None`: it has inherited events, or none.
    pub(super) events: Option<SampleEvents>,
    /// How often it got events.
    pub(super) tries: u8,
    /// Its CPU clock at the last check, and the samples since.
    pub(super) checked: u64,
    pub(super) samples: u64,
}

impl RingSampling {
    /// What kept threads from being sampled, as a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        let threads = counted(self.without_events, "thread");
        Some(format!("{threads} got no perf events, their time is [unsampled]: {reason}"))
    }

    pub(super) fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// Events of its own for the thread. `None`: it gets none, which is counted.
    pub(super) fn start(&mut self, id: i32) -> Option<SampleEvents> {
        match self.rings.start(id) {
            Ok(events) => Some(events),
            Err(reason) => {
                self.without_events += 1;
                if self.reason.is_none() {
                    self.warning = Some(format!("a thread has no samples: {reason}. Its time is [unsampled]."));
                    self.reason = Some(reason);
                }
                None
            }
        }
    }
}
