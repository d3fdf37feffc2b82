//! Bounds the stacks that a recording keeps, at the end of a round of the sampler.

use super::data::State;
use crate::profile::engines::timer::ids::Ids;

impl State {
    /// Makes room for more stacks, if there is hardly any. That takes some tens of milliseconds, once in many
    /// thousand new stacks.
    pub(super) fn make_room_for_stacks(&mut self) {
        if !self.accounting.is_fold_due() {
            return;
        }
        let states = self.sampled.values().filter_map(|sampled| sampled.wall_state.as_ref());
        let in_use: Ids<u32> = states.flat_map(|state| state.stacks()).collect();
        let warning = self.accounting.fold_stacks(&in_use);
        self.stacks_warning = warning.or(self.stacks_warning.take());
    }
}
