//! Maps by ids, and random numbers. The kernel and the tree give out ids one after the other, so
//! one multiplication scatters them well enough. It must be cheap: a thread that lives for some
//! microseconds is looked up ten times.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub(super) type ById<Id, V> = HashMap<Id, V, BuildHasherDefault<IdHasher>>;
pub(super) type Ids<Id> = HashSet<Id, BuildHasherDefault<IdHasher>>;

#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 ^ u64::from(byte)));
    }

    fn write_i32(&mut self, id: i32) {
        self.write_u64(id as u64);
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(u64::from(id));
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 / phi: the map uses the highest bits and the lowest, and both must differ for the
        // next id.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A random number from 0 up to 1, another one for each `n`: SplitMix64 (Steele, Lea and Flood,
/// 2014).
pub(super) fn random(seed: u64, n: u64) -> f64 {
    let z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

    fn hash(id: impl Hash) -> u64 {
        let mut hasher = IdHasher::default();
        id.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn consecutive_ids_are_scattered() {
        let ids = 4_000_000..4_000_000 + 4_096;
        let low: HashSet<u64> = ids.clone().map(|id: i32| hash(id) & 4_095).collect();
        let high: HashSet<u64> = ids.map(|id| hash(id) >> 57).collect();
        assert_eq!((low.len(), high.len()), (4_096, 128));
        assert_ne!(hash(7u64), hash(8u64));
    }

    #[test]
    fn numbers_are_uniform() {
        let mut tenths = [0; 10];
        (0..10_000).for_each(|n| tenths[(random(7, n) * 10.0) as usize] += 1);
        assert!(tenths.iter().all(|tenth| (900..1_100).contains(tenth)), "{tenths:?}");
        assert_ne!(random(1, 5), random(2, 5));
    }
}
