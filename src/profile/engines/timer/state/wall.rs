//! What sampling by the wall clock needs besides: the schedule of visits, and waits that a handler
//! may still be reading. Empty by the CPU clock.

use crate::profile::engines::timer::table::Grace;
use crate::profile::engines::timer::wall_schedule::{Visit, WallSchedule};
use crate::wait;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct WallSampling {
    pub(super) schedule: WallSchedule,
    /// For reading the schedule.
    pub(super) visits: Vec<Visit>,
    /// Wait slots that a handler may still be reading.
    pub(super) retired_waits: Vec<(Arc<wait::Slot>, Grace)>,
    /// For reading waits.
    pub(super) waited: Vec<wait::Waited>,
}

impl WallSampling {
    pub(super) fn free_retired_waits(&mut self) {
        self.retired_waits.retain(|(_, grace)| !grace.is_over());
    }
}
