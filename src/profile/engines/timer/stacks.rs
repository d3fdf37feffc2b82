//! The stacks that were sampled, each stored once and numbered, however many threads had it. Knows
//! addresses and generations of the loader's list, no threads.

use std::collections::HashMap;
use std::sync::Arc;

/// The numbers of stacks.
type Numbers = HashMap<Arc<[u64]>, u32>;

#[derive(Clone, Default)]
pub(super) struct Stacks {
    /// The stacks of the present generation of the loader's list.
    now: Numbers,
    generation: u32,
    /// The stacks of earlier generations, in which the same addresses were other code.
    earlier: Vec<(u32, Numbers)>,
    count: u32,
}

impl Stacks {
    /// The number of that stack in the present generation, made if need be.
    pub(super) fn number(&mut self, addresses: &[u64]) -> u32 {
        if let Some(&number) = self.now.get(addresses) {
            return number;
        }
        let new = self.count;
        self.count += 1;
        self.now.insert(addresses.into(), new);
        new
    }

    /// The number of that stack, if it has one in the present generation.
    pub(super) fn known(&self, addresses: &[u64]) -> Option<u32> {
        self.now.get(addresses).copied()
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn begin_generation(&mut self, generation: u32) {
        self.earlier.push((self.generation, std::mem::take(&mut self.now)));
        self.generation = generation;
    }

    /// All stacks in the order of their numbers, each with its generation.
    pub(super) fn in_order(self) -> Vec<(u32, Arc<[u64]>)> {
        let mut stacks = vec![(0, Arc::from([])); self.count as usize];
        for (generation, table) in self.earlier.into_iter().chain([(self.generation, self.now)]) {
            for (addresses, number) in table {
                stacks[number as usize] = (generation, addresses);
            }
        }
        stacks
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
        let all: Vec<_> = stacks.in_order().iter().map(|(generation, stack)| (*generation, stack.to_vec())).collect();
        assert_eq!(all, [(0, vec![1, 2]), (0, vec![3]), (4, vec![3]), (4, vec![1, 2])]);
    }
}
