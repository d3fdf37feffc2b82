//! The weights of waits by the stacks of their blocking calls. Data only.

use super::sampling::Weight;

/// Stacks of one thread that are kept apart in its sums, over all names and enders.
pub(super) const MAX_STACKS: usize = 1_024;

/// The number of a stack in its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StackNumber(pub(crate) u32);

/// What the sleeps of a wait weigh, and the stack of the blocking call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenStack {
    pub(crate) weight: Weight,
    /// `None`: the stack could not be had.
    pub(crate) stack: Option<StackNumber>,
}

/// The waits of one thread, of one name and ended by one thread, by their stacks. No two have the
/// same stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackSums(Vec<TakenStack>);

impl TakenStack {
    /// One wait of `nanos`, which stands for itself.
    pub(super) fn of_all(nanos: u64, stack: StackNumber) -> TakenStack {
        TakenStack { weight: Weight { nanos, thousandths: 1_000 }, stack: Some(stack) }
    }

    /// Adds another sleep of the same wait.
    pub(super) fn add(&mut self, later: TakenStack) {
        self.weight.add(later.weight);
        self.stack = later.stack.or(self.stack);
    }
}

impl StackSums {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a wait. `kept`: the number of stacks of the thread, which may have [`MAX_STACKS`]; the
    /// rest is summed up as waits without a stack.
    pub(super) fn add(&mut self, mut taken: TakenStack, kept: &mut usize) {
        if self.known(taken.stack).is_none() {
            if *kept >= MAX_STACKS {
                taken.stack = None;
            }
            if self.known(taken.stack).is_none() {
                *kept += 1;
                self.0.push(taken);
                return;
            }
        }
        if let Some(known) = self.known(taken.stack) {
            known.weight.add(taken.weight);
        }
    }

    fn known(&mut self, stack: Option<StackNumber>) -> Option<&mut TakenStack> {
        self.0.iter_mut().find(|known| known.stack == stack)
    }

    /// Adds the sums of another thread.
    pub(crate) fn take_in(&mut self, other: StackSums) {
        // Each of the two is bounded.
        other.0.into_iter().for_each(|taken| self.add(taken, &mut 0));
    }

    /// Splits `nanos` and `count`, which are exact, in the proportion of the weights: the weights say
    /// how much of the time belongs to which stack, and chance has a part in their sum. Without a
    /// stack, all of it has none.
    pub(crate) fn split(&self, nanos: u64, count: u64) -> Vec<(Option<StackNumber>, u64, u64)> {
        if self.0.is_empty() {
            return vec![(None, nanos, count)];
        }
        let of = |part: fn(Weight) -> u64| self.0.iter().map(|taken| part(taken.weight)).collect::<Vec<_>>();
        let (time, counts) = (proportional(nanos, &of(|w| w.nanos)), proportional(count, &of(|w| w.thousandths)));
        self.0
            .iter()
            .zip(time.into_iter().zip(counts))
            .map(|(taken, (time, count))| (taken.stack, time, count))
            .collect()
    }
}

/// Splits `all` in the proportion of `weights`; equally, if they are all 0. The parts add up to
/// `all`.
fn proportional(all: u64, weights: &[u64]) -> Vec<u64> {
    let even = weights.iter().all(|&weight| weight == 0);
    let weight = |weight: u64| if even { 1 } else { u128::from(weight) };
    let sum: u128 = weights.iter().map(|&own| weight(own)).sum();
    let (mut seen, mut given) = (0, 0);
    let mut part = |own: u64| {
        seen += weight(own);
        let up_to = (u128::from(all) * seen / sum) as u64;
        let part = up_to - given;
        given = up_to;
        part
    };
    weights.iter().map(|&own| part(own)).collect()
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    fn taken(stack: u32, nanos: u64, thousandths: u64) -> TakenStack {
        TakenStack { weight: Weight { nanos, thousandths }, stack: Some(StackNumber(stack)) }
    }

    #[test]
    fn the_parts_add_up_to_what_is_split() {
        let (mut sums, mut kept) = (StackSums::default(), 0);
        sums.add(taken(7, 30, 1_000), &mut kept);
        sums.add(taken(8, 10, 3_000), &mut kept);
        sums.add(taken(7, 60, 2_000), &mut kept);
        let stack = |number| Some(StackNumber(number));
        assert_eq!(sums.split(1_000, 10), [(stack(7), 900, 5), (stack(8), 100, 5)]);
        for all in [0, 1, 99, 1_000_003, u64::MAX] {
            let parts = sums.split(all, all);
            assert_eq!(parts.iter().map(|part| part.1).sum::<u64>(), all);
            assert_eq!(parts.iter().map(|part| part.2).sum::<u64>(), all);
        }
        assert_eq!(StackSums::default().split(5, 2), [(None, 5, 2)]);
        let (mut first, mut kept) = (StackSums::default(), 0);
        first.add(taken(3, 0, 0), &mut kept);
        assert_eq!(first.split(5, 2), [(stack(3), 5, 2)]);
    }

    #[test]
    fn too_many_stacks_lose_no_weight() {
        let (mut sums, mut kept) = (StackSums::default(), 0);
        (0..5_000).for_each(|number| sums.add(taken(number, 1, 1_000), &mut kept));
        assert_eq!((sums.0.len(), kept), (MAX_STACKS + 1, MAX_STACKS + 1));
        assert_eq!(sums.0.iter().map(|taken| taken.weight.nanos).sum::<u64>(), 5_000);
        assert_eq!(sums.known(None).unwrap().weight.nanos, 5_000 - MAX_STACKS as u64);
    }
}
