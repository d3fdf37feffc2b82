//! The stacks that were sampled, each stored once and numbered, however many threads had it. Knows
//! addresses and generations of the loader's list, no threads.
//!
//! Invariants
//! 1. A stack keeps its number until [`retain`](Stacks::retain) drops it.
//! 2. A number has three uses: in sums, in events of a trace, and in the states of threads. So a number that
//!    was dropped comes again only after a thousand million new stacks.

use super::ids::Ids;
use std::collections::HashMap;
use std::sync::Arc;

/// Stands for a stack without addresses. Never in a list.
pub(super) const EMPTY: u32 = OTHERS - 1;

/// Stands for all stacks for which there was no room. Never in a list. An event of a trace has the
/// number in 30 bits.
pub(super) const OTHERS: u32 = (1 << 30) - 1;

/// The number of stacks in a chunk, which a copy of the list shares with the list.
const CHUNK: usize = 1024;

#[derive(Default)]
pub(super) struct Stacks {
    /// The stacks of the present generation of the loader's list.
    now: HashMap<Arc<[u64]>, u32>,
    generation: u32,
    /// The stacks of all generations: in an earlier one, the same addresses were other code.
    list: StackList,
    /// How many addresses they have.
    addresses: usize,
    /// The number of the next new stack, if that is free.
    next: u32,
    /// The numbers that the last [`retain`](Self::retain) has kept.
    retained: Ids<u32>,
}

/// A stack of [`Stacks`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptStack {
    pub(super) number: u32,
    pub(super) generation: u32,
    pub(super) addresses: Arc<[u64]>,
}

/// All stacks, the oldest first. A copy shares nearly all of them.
#[derive(Clone, Default)]
pub(super) struct StackList {
    full: Vec<Arc<[KeptStack]>>,
    /// Fewer than `CHUNK`.
    newest: Vec<KeptStack>,
}

impl Stacks {
    /// The number of that stack in the present generation, made if need be.
    pub(super) fn number(&mut self, addresses: &[u64]) -> u32 {
        if let Some(number) = self.known(addresses) {
            return number;
        }
        let number = self.free_number();
        let addresses: Arc<[u64]> = addresses.into();
        self.addresses += addresses.len();
        self.now.insert(addresses.clone(), number);
        self.list.push(KeptStack { number, generation: self.generation, addresses });
        number
    }

    /// The number of that stack, if it has one in the present generation.
    pub(super) fn known(&self, addresses: &[u64]) -> Option<u32> {
        self.now.get(addresses).copied()
    }

    /// From one call of `retain` to the next there are fewer new stacks than numbers.
    fn free_number(&mut self) -> u32 {
        loop {
            let number = self.next;
            self.next = (number + 1) % EMPTY;
            if !self.retained.contains(&number) {
                return number;
            }
        }
    }

    /// How many stacks there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many addresses they have.
    pub(super) fn addresses(&self) -> usize {
        self.addresses
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn begin_generation(&mut self, generation: u32) {
        self.now = HashMap::new();
        self.generation = generation;
    }

    pub(super) fn list(&self) -> &StackList {
        &self.list
    }

    /// A copy to which no stack is added.
    pub(super) fn copy_to_read(&self) -> Stacks {
        let Stacks { list, addresses, generation, .. } = self;
        let (list, addresses, generation) = (list.clone(), *addresses, *generation);
        Stacks { list, addresses, generation, ..Stacks::default() }
    }

    /// Keeps the stacks with these numbers only.
    pub(super) fn retain(&mut self, is_kept: impl Fn(u32) -> bool) {
        self.now.retain(|_, number| is_kept(*number));
        self.now.shrink_to_fit();
        let before = std::mem::take(&mut self.list);
        before.iter().filter(|stack| is_kept(stack.number)).for_each(|stack| self.list.push(stack.clone()));
        self.addresses = self.list.iter().map(|stack| stack.addresses.len()).sum();
        self.retained = self.list.iter().map(|stack| stack.number).collect();
    }
}

impl StackList {
    fn push(&mut self, stack: KeptStack) {
        self.newest.push(stack);
        if self.newest.len() == CHUNK {
            self.full.push(std::mem::take(&mut self.newest).into());
        }
    }

    fn len(&self) -> usize {
        self.full.len() * CHUNK + self.newest.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KeptStack> {
        self.full.iter().flat_map(|chunk| &**chunk).chain(&self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_addresses_in_another_generation_are_another_stack() {
        let mut stacks = Stacks::default();
        assert_eq!([stacks.number(&[1, 2]), stacks.number(&[3]), stacks.number(&[1, 2])], [0, 1, 0]);
        stacks.begin_generation(4);
        assert_eq!([stacks.number(&[3]), stacks.number(&[1, 2]), stacks.number(&[3])], [2, 3, 2]);
        let all: Vec<_> = stacks.list().iter().map(|stack| (stack.generation, stack.addresses.to_vec())).collect();
        assert_eq!(all, [(0, vec![1, 2]), (0, vec![3]), (4, vec![3]), (4, vec![1, 2])]);
        assert!(stacks.list().iter().map(|stack| stack.number).eq(0..4));
    }

    #[test]
    fn a_dropped_stack_is_new_again_and_the_others_keep_their_numbers() {
        let mut stacks = Stacks::default();
        for n in 0..5_000 {
            assert_eq!(stacks.number(&[n, n]), n as u32);
        }
        let before = stacks.list().clone();
        stacks.retain(|number| number % 2 == 1);
        assert_eq!((stacks.len(), stacks.addresses(), before.len()), (2_500, 5_000, 5_000));
        assert_eq!([stacks.known(&[7, 7]), stacks.known(&[8, 8])], [Some(7), None]);
        assert_eq!([stacks.number(&[8, 8]), stacks.number(&[9, 9])], [5_000, 9]);
        assert!(before.iter().all(|stack| *stack.addresses == [u64::from(stack.number); 2]));
    }

    #[test]
    fn numbers_come_again_unless_a_stack_has_them() {
        let mut stacks = Stacks::default();
        assert_eq!([0, 1, 2, 3].map(|n| stacks.number(&[n])), [0, 1, 2, 3]);
        stacks.retain(|number| number == 1);
        stacks.next = EMPTY - 1;
        assert_eq!([4, 5, 6, 1].map(|n| stacks.number(&[n])), [EMPTY - 1, 0, 2, 1]);
    }
}
