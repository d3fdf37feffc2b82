//! Publishing: a blocking call shows what it waits for while its guard lives.

use super::description::{Wait, WaitDescription};
#[cfg(feature = "profiling")]
use super::identity::name_of_ender;
use super::identity::{my_slot, number_if_any};
use super::slot::{Slot, Waits};
use std::sync::Arc;
use std::time::Instant;

impl WaitDescription {
    /// Publishes the wait until the guard drops. A wait within a wait shows the inner one, then the
    /// outer one again.
    pub(crate) fn publish(self) -> Published {
        publish_with(|| self)
    }

    /// The same for a wait that began before it is published: a call that first looks again for
    /// less than a microsecond, and mostly has what it waits for by then, publishes only after
    /// that.
    pub(crate) fn publish_since(self, since: Instant) -> Published {
        my_slot().map_or(Published::NOWHERE, |slot| self.publish_in(slot, since))
    }

    fn publish_in(self, slot: Arc<Slot>, since: Instant) -> Published {
        let change = |waits: &mut Waits| {
            waits.last += 1;
            let serial = waits.last;
            if waits.now.is_empty() {
                // Mostly there is no wait within a wait, and a vector would begin with room for four.
                waits.now.reserve_exact(1);
            }
            waits.now.push(Wait {
                description: self,
                since,
                serial,
                thread: number_if_any(),
                #[cfg(feature = "profiling")]
                slept: Default::default(),
                #[cfg(feature = "profiling")]
                entry: None,
                #[cfg(feature = "profiling")]
                present_stack: None,
            });
            serial
        };
        #[cfg(feature = "profiling")]
        slot.expect_stamps(since);
        let serial = slot.change(|| since, change);
        Published { slot: Some(slot), serial }
    }
}

/// Publishes the wait that `what` describes, until the guard drops. A thread outside of the tree has
/// no slot: then `what` is not called, and the clock is not read.
pub(crate) fn publish_with(what: impl FnOnce() -> WaitDescription) -> Published {
    my_slot().map_or(Published::NOWHERE, |slot| what().publish_in(slot, Instant::now()))
}

/// Publishes a wait that any thread may end, until the guard drops.
pub(crate) fn publish(kind: &'static str, name: Arc<str>) -> Published {
    WaitDescription::new(kind, name).publish()
}

/// While this lives, the calling thread's slot shows the wait.
pub(crate) struct Published {
    slot: Option<Arc<Slot>>,
    serial: u64,
}

impl Published {
    const NOWHERE: Published = Published { slot: None, serial: 0 };
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            let ended = slot.change(Instant::now, |waits| {
                let at = waits.now.iter().rposition(|wait| wait.serial == self.serial)?;
                let ended = waits.now.remove(at);
                #[cfg(feature = "profiling")]
                let is_first = waits.count_total(&ended, name_of_ender);
                #[cfg(not(feature = "profiling"))]
                let is_first = false;
                Some((ended, is_first))
            });
            #[cfg(feature = "profiling")]
            if let Some((ended, true)) = &ended {
                slot.take_first_stack(ended);
            }
            // With no lock held: it may be the last that knows of the thing.
            drop(ended);
        }
    }
}
