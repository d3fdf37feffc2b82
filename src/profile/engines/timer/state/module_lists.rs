//! The module lists that handlers unwind with: renewed when code was loaded or unloaded, and freed
//! after a grace of each entry.

use super::data::State;
use crate::profile::engines::timer::handler;
use crate::profile::engines::timer::table::Grace;

impl State {
    /// Lists the modules again if something was loaded or unloaded, and frees lists that no handler
    /// uses any more.
    pub(in super::super) fn renew_modules(&mut self) {
        if !self.running {
            return;
        }
        self.retired_modules.retain(|(_, graces)| !graces.iter().all(Grace::is_over));
        self.wall.free_retired_waits();
        // What was sampled up to now is walked with the code of before.
        self.read_rings(None);
        let Some(modules) = self.module_list.renew() else { return };
        let generation = self.module_list.history().generation();
        if generation != self.accounting.generation() {
            // The samples so far were taken with the libraries of before.
            for id in self.sampled_ids() {
                self.account_records(id, None, None);
            }
            self.accounting.begin_generation(generation);
        }
        self.own_stacks.set_code(&modules, generation);
        if let Some(ring) = &mut self.ring {
            ring.rings.set_modules(modules);
        } else if let Some(old) = handler::publish(Some(Box::new(modules))) {
            let by_signal = self.sampled.values().filter_map(|sampled| sampled.by_signal.as_ref());
            let graces = by_signal.map(|by_signal| by_signal.entry.grace()).collect();
            self.retired_modules.push((old, graces));
        }
    }
}
