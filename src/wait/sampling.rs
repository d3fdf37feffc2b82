//! Which waits of a thread get a stack. Pure arithmetic: knows no waits and no stacks.
//!
//! A stack takes microseconds, and a short wait may end a hundred thousand times in a second. So a
//! wait of [`BOUND`] or more gets a stack each time, and its weight is its length. Of the shorter
//! waits, laid end to end, one point in each stretch of [`BOUND`] is drawn by chance. The wait that
//! contains the point gets a stack, and the weight [`BOUND`]. So a short wait is taken with a
//! probability proportional to its length, and the expected weight of each wait is its length. One
//! point in each stretch is less noisy than a draw for each wait, and a rhythm in the program has no
//! effect on it.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Nanoseconds from which on each wait gets a stack. The stack then costs less than a thousandth of
/// the wait. Of waits of 20 µs, one in 250 gets one, so each pays some 20 ns.
pub(super) const BOUND: u64 = 5_000_000;

/// The draws of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// Nanoseconds of short waits up to the next point.
    left: u64,
    /// The point's place in its stretch.
    place: u64,
    /// 0: nothing was drawn yet.
    seed: u64,
}

/// A wait that gets a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// The nanoseconds of waiting that it stands for.
    pub(crate) nanos: u64,
    /// The thousandths of waits that it stands for.
    pub(crate) thousandths: u64,
}

impl Sampling {
    pub(super) const NEW: Sampling = Sampling { left: 0, place: 0, seed: 0 };

    /// Draws for a wait of `nanos`. `None`: it gets no stack.
    fn draw(&mut self, nanos: u64) -> Option<Weight> {
        if nanos >= BOUND {
            return Some(Weight { nanos, thousandths: 1_000 });
        }
        if self.seed == 0 {
            self.seed = RandomState::new().hash_one(nanos) | 1;
            self.place = self.random();
            self.left = self.place;
        }
        let (mut rest, mut points) = (nanos.max(1), 0);
        while rest > self.left {
            rest -= self.left;
            points += 1;
            // The next point is in the next stretch.
            let next = self.random();
            self.left = BOUND - self.place + next;
            self.place = next;
        }
        self.left -= rest;
        let weight = points * BOUND;
        (points > 0).then(|| Weight { nanos: weight, thousandths: weight * 1_000 / nanos.max(1) })
    }

    /// A place in a stretch.
    fn random(&mut self) -> u64 {
        // xorshift64*, by Vigna.
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        (self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % BOUND
    }
}

/// Draws for a wait of the calling thread. `None`: it gets no stack.
#[inline]
pub(super) fn draw(sampling: &Cell<Sampling>, nanos: u64) -> Option<Weight> {
    let mut now = sampling.get();
    let drawn = now.draw(nanos);
    sampling.set(now);
    drawn
}

impl Weight {
    pub(crate) fn add(&mut self, other: Weight) {
        self.nanos += other.nanos;
        self.thousandths += other.thousandths;
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    /// The weights of so many waits of that length, and how many got a stack.
    fn sum(sampling: &mut Sampling, waits: u64, nanos: u64) -> (Weight, u64) {
        let (mut sum, mut taken) = (Weight::default(), 0);
        for weight in (0..waits).filter_map(|_| sampling.draw(nanos)) {
            sum.add(weight);
            taken += 1;
        }
        (sum, taken)
    }

    fn bias(found: u64, right: u64) -> f64 {
        (found as f64 - right as f64).abs() / right as f64
    }

    /// As Go's `TestBlockProfileBias`: 100,000 waits of a tenth of the bound, and 10,000 of the bound,
    /// which waited as long. Its bound for the bias is 0.2.
    #[test]
    fn frequent_short_waits_weigh_as_much_as_infrequent_long_ones() {
        for seed in 1..=20 {
            let mut sampling = Sampling { seed, ..Sampling::NEW };
            let (short, taken) = sum(&mut sampling, 100_000, BOUND / 10);
            let (long, all) = sum(&mut sampling, 10_000, BOUND);
            assert_eq!((long.nanos, long.thousandths, all), (10_000 * BOUND, 10_000_000, 10_000));
            assert!(bias(short.nanos, long.nanos) < 0.001, "{short:?}");
            assert!(bias(short.thousandths, 100_000_000) < 0.001, "{short:?}");
            assert!(bias(taken, 10_000) < 0.05, "a tenth of the short waits at most is taken: {taken}");
        }
    }

    #[test]
    fn each_length_of_two_in_a_rhythm_keeps_its_share() {
        // Together a bound long: always the same of the two would be taken at points of equal distance.
        let (mut short, mut long) = (0, 0);
        let mut sampling = Sampling::NEW;
        for _ in 0..20_000 {
            short += sampling.draw(BOUND / 5).map_or(0, |weight| weight.nanos);
            long += sampling.draw(BOUND / 5 * 4).map_or(0, |weight| weight.nanos);
        }
        assert!(bias(short, 20_000 * BOUND / 5) < 0.05, "{short}");
        assert!(bias(long, 20_000 * BOUND / 5 * 4) < 0.05, "{long}");
    }

    #[test]
    fn a_thread_of_one_short_wait_is_taken_by_chance() {
        let taken = (0..10_000).filter(|_| { Sampling::NEW }.draw(BOUND / 10).is_some()).count();
        assert!((800..1_200).contains(&taken), "{taken}");
        assert_eq!((0..10_000).filter(|_| { Sampling::NEW }.draw(0).is_some()).count() / 100, 0);
    }
}
