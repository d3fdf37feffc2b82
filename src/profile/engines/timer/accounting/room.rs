//! How much room a recording has for stacks, and how much of it is used. Numbers only.

/// How much is kept of stacks at most: 40 MB in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Different stacks: about 100 bytes each, besides their addresses.
    pub(super) stacks: usize,
    /// Addresses of all stacks: 8 bytes each.
    pub(super) addresses: usize,
    /// Sums of all threads, each of one stack in one context: about 130 bytes each.
    pub(super) sums: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { stacks: 1 << 16, addresses: 1 << 21, sums: 1 << 17 }
    }
}

/// How much room there is for stacks and sums.
#[derive(Clone, Default)]
pub(super) struct Room {
    pub(super) limits: Limits,
    /// The sums of stacks that are kept, of all accounts.
    pub(super) sums: usize,
    /// How often there was no room since the last fold.
    pub(super) turned_away: usize,
    /// The next fold is due once there was no room this often.
    pub(super) patience: usize,
    /// How often the accounts were read.
    pub(super) reading: u32,
    pub(super) is_told: bool,
}

/// A part of the room.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) stacks: usize,
    pub(super) addresses: usize,
    pub(super) sums: usize,
}

impl Used {
    /// Returns `true` if it is more than so many sixteenths of any limit.
    pub(super) fn is_more_than(self, sixteenths: usize, limits: Limits) -> bool {
        let is_more = |used: usize, most: usize| used > most / 16 * sixteenths;
        is_more(self.stacks, limits.stacks)
            || is_more(self.addresses, limits.addresses)
            || is_more(self.sums, limits.sums)
    }
}
