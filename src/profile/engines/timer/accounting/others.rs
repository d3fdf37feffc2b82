//! Keeps the memory of a recording bounded, however many different stacks its threads have, and however long
//! it runs. When there is hardly any room left, the stacks that matter least are folded: their sums go to the
//! stack `[others]` of the same account. So there is always room for new stacks.
//!
//! Invariants
//! 1. A fold moves sums within an account. The weights and samples of each account stay what they were, to the
//!    nanosecond. So do those of each label of a wait, and those of each ending of stacks.
//! 2. At most [`Limits::stacks`] stacks with [`Limits::addresses`] addresses are kept.
//! 3. At most [`Limits::sums`] sums of these stacks are kept. Besides them there is one for each account, label
//!    and ending at most, of `[others]`, and one of samples without a stack.
//! 4. A stack that the state of a thread names is not folded.

use super::accounts::{Accounting, SampleKey, SampleSum};
use super::room::{Limits, Room, Used};
use crate::profile::engines::timer::ids::{ById, Ids};
use crate::profile::engines::timer::stacks::{EMPTY, OTHERS};
use std::collections::hash_map::Entry;

/// Logged when stacks are folded for the first time.
const TOO_MANY: &str = "there are more different stacks than a recording keeps; the rarest are [others] of their \
                        threads, where they keep their time";

/// The sums of one stack, added up.
#[derive(Clone, Copy, Default)]
struct Use {
    samples: u64,
    reading: u32,
    sums: usize,
}

impl Accounting {
    /// With room for so many stacks, of some addresses each.
    #[cfg(test)]
    pub(in super::super) fn with_room_for(stacks: usize) -> Accounting {
        let limits = Limits { stacks, addresses: 8 * stacks, sums: 4 * stacks };
        let mut accounting = Accounting::default();
        accounting.room.limits = limits;
        accounting
    }

    /// The number of that stack. [`OTHERS`] if there is no room for one more.
    pub(super) fn stack(&mut self, addresses: &[u64]) -> u32 {
        if addresses.is_empty() {
            return EMPTY;
        }
        if let Some(number) = self.stacks.known(addresses) {
            return number;
        }
        let Limits { stacks, addresses: most, .. } = self.room.limits;
        if self.stacks.len() >= stacks || self.stacks.addresses() + addresses.len() > most {
            self.room.turned_away += 1;
            return OTHERS;
        }
        self.stacks.number(addresses)
    }

    pub(super) fn add(&mut self, account: usize, key: SampleKey, samples: u64, weight: u64) {
        let key = if key.stack == OTHERS { key.others() } else { key };
        let Room { sums: count, turned_away, reading, limits, .. } = &mut self.room;
        let sums = &mut self.accounts[account].sums;
        let is_full = *count >= limits.sums && key.has_stack();
        let key = if is_full && !sums.contains_key(&key) {
            *turned_away += 1;
            key.others()
        } else {
            key
        };
        let added = SampleSum { samples, weight, reading: *reading };
        match sums.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().take_in(added),
            Entry::Vacant(place) => {
                *count += usize::from(place.key().has_stack());
                place.insert(added);
            }
        }
    }

    /// Counts the sums again, after accounts were folded.
    pub(super) fn count_sums(&mut self) {
        let keys = self.accounts.iter().flat_map(|account| account.sums.keys());
        self.room.sums = keys.filter(|key| key.has_stack()).count();
    }

    /// Notes that the accounts are read now.
    pub(super) fn note_reading(&mut self) {
        self.room.reading += 1;
    }

    /// Returns `true` if there is hardly any room left, so that a fold is due.
    pub(in super::super) fn is_fold_due(&self) -> bool {
        self.used().is_more_than(15, self.room.limits) && self.room.turned_away >= self.room.patience
    }

    fn used(&self) -> Used {
        Used { stacks: self.stacks.len(), addresses: self.stacks.addresses(), sums: self.room.sums }
    }

    /// Folds stacks into the `[others]` of their accounts, until half of the room is free: those with the fewest
    /// samples, but before them those without a sample since the last reading but one. Stacks with a great share
    /// of all samples are folded last. `in_use`: the stacks that states of threads name. Returns the warning to
    /// log, once.
    pub(in super::super) fn fold_stacks(&mut self, in_use: &Ids<u32>) -> Option<String> {
        let folded = self.least(in_use);
        for account in &mut self.accounts {
            let sums = &mut account.sums;
            let moved: Vec<_> = sums.extract_if(|key, _| folded.contains(&key.stack)).collect();
            if moved.is_empty() {
                continue;
            }
            for (key, sum) in moved {
                sums.entry(key.others()).or_default().take_in(sum);
            }
            sums.shrink_to(sums.len() * 2);
        }
        self.stacks.retain(|number| !folded.contains(&number));
        self.count_sums();
        let limits = self.room.limits;
        self.room.turned_away = 0;
        // Otherwise the next fold would follow soon, and each takes its time.
        self.room.patience = if self.used().is_more_than(12, limits) { limits.stacks / 4 } else { 0 };
        let is_told = std::mem::replace(&mut self.room.is_told, true);
        (!is_told).then(|| TOO_MANY.to_owned())
    }

    /// The numbers of the stacks that are folded next.
    fn least(&self, in_use: &Ids<u32>) -> Ids<u32> {
        let mut uses: ById<u32, Use> = ById::default();
        for (key, sum) in self.accounts.iter().flat_map(|account| &account.sums) {
            let of_stack = uses.entry(key.stack).or_default();
            of_stack.samples += sum.samples;
            of_stack.reading = of_stack.reading.max(sum.reading);
            of_stack.sums += 1;
        }
        // At most a sixteenth of the stacks that fit can have such a share.
        let all: u64 = uses.values().map(|of_stack| of_stack.samples).sum();
        let is_frequent = |samples: u64| samples * (self.room.limits.stacks / 16) as u64 >= all;
        let candidates = self.stacks.list().iter().filter(|stack| !in_use.contains(&stack.number));
        let mut candidates: Vec<_> = candidates
            .map(|stack| {
                let Use { samples, reading, sums } = uses.get(&stack.number).copied().unwrap_or_default();
                let is_wanted = reading + 1 >= self.room.reading || is_frequent(samples);
                (is_wanted, samples, reading, stack.number, Used { stacks: 1, addresses: stack.addresses.len(), sums })
            })
            .collect();
        candidates
            .sort_unstable_by_key(|&(is_wanted, samples, reading, number, _)| (is_wanted, samples, reading, number));
        let mut used = self.used();
        let next = |&(.., number, freed): &(_, _, _, u32, Used)| {
            let is_more = used.is_more_than(8, self.room.limits);
            used.stacks = used.stacks.saturating_sub(freed.stacks);
            used.addresses = used.addresses.saturating_sub(freed.addresses);
            used.sums = used.sums.saturating_sub(freed.sums);
            is_more.then_some(number)
        };
        candidates.iter().map_while(next).collect()
    }
}

impl SampleKey {
    /// Returns `true` if its stack is kept.
    fn has_stack(&self) -> bool {
        !matches!(self.stack, EMPTY | OTHERS)
    }

    /// The key of the sum that takes this sum in. The label of the wait stays, and how the stack ended.
    fn others(&self) -> SampleKey {
        SampleKey { stack: OTHERS, context: 0, ..self.clone() }
    }
}

impl SampleSum {
    pub(super) fn take_in(&mut self, more: SampleSum) {
        self.samples += more.samples;
        self.weight += more.weight;
        self.reading = self.reading.max(more.reading);
    }
}
