//! Sample flags: how the sampler learns which threads have written samples, without a look into the
//! rings of the others. With a hundred thousand threads, at most as many as there are processors
//! write samples in one period. Knows neither slots nor rings.
//!
//! Each sampled thread has a number, and with it a flag: one bit of a word that 64 threads share.
//!
//! | bit | means | changed by |
//! |---|---|---|
//! | 0 | the sampler has read the ring since the last sample, or will before it rests | the sampler, before it reads |
//! | 1 | the ring has samples that the sampler may not have read | the thread's handler, after each sample |
//!
//! Invariants
//! 1. A handler raises the flag after it has published its sample, and the sampler clears it before
//!    it reads the ring. So if the ring has a sample that was not read, its flag is raised, or its
//!    handler is about to raise it.
//! 2. A number is free only when its thread's handler can raise no more. A flag that is raised all
//!    the same costs the next thread with that number a visit.
//!
//! The raise is a read-modify-write, and not a store after a look: it comes either before the
//! sampler's exchange, which then sees it, or after it, and then the bit stays. Release there and
//! Acquire at the exchange: a sampler that sees the bit sees the sample. A later raise in the same word is part
//! of the release sequence, so the exchange synchronizes with all of them.
//!
//! Model: `loom_sample_flag_*` in `loom_tests.rs`.

use crate::model::AtomicU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The numbers and flags of all threads of one recording.
#[derive(Default)]
pub(super) struct SampleFlags {
    words: Vec<Arc<AtomicU64>>,
    /// The kernel ids of the threads, by number. `None`: the number is free.
    ids: Vec<Option<i32>>,
    free: Vec<usize>,
    /// The number from which on threads are taken in turn.
    next: usize,
}

/// The flag of one thread.
pub(super) struct SampleFlag {
    word: Arc<AtomicU64>,
    bit: u32,
}

impl SampleFlags {
    /// Gives the thread with that kernel id a number.
    pub(super) fn add(&mut self, id: i32) -> usize {
        let number = self.free.pop().unwrap_or(self.ids.len());
        if number == self.ids.len() {
            self.ids.push(None);
        }
        if number / 64 >= self.words.len() {
            self.words.push(Arc::default());
        }
        self.ids[number] = Some(id);
        number
    }

    /// The flag of the thread with that number.
    pub(super) fn flag(&self, number: usize) -> SampleFlag {
        SampleFlag { word: self.words[number / 64].clone(), bit: (number % 64) as u32 }
    }

    /// Frees the number, when the handler of its thread finds no slot any more.
    pub(super) fn remove(&mut self, number: usize) {
        self.ids[number] = None;
        self.free.push(number);
    }

    /// Calls `each` with the id of each thread whose flag was raised since the last call, and clears
    /// the flags.
    pub(super) fn drain(&self, mut each: impl FnMut(i32)) {
        for (index, word) in self.words.iter().enumerate() {
            // Relaxed: a flag that this load does not see is seen by the next call. Most words are 0,
            // and a load leaves the cache line with the threads that raise flags.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Acquire: with the Release in `raise`.
            let mut raised = word.swap(0, Ordering::Acquire);
            while raised != 0 {
                if let Some(id) = self.ids.get(index * 64 + raised.trailing_zeros() as usize).copied().flatten() {
                    each(id);
                }
                raised &= raised - 1;
            }
        }
    }

    /// Calls `each` with the ids of the next `count` threads. After some calls each thread had its turn.
    pub(super) fn in_turn(&mut self, count: usize, mut each: impl FnMut(i32)) {
        let mut left = count;
        for _ in 0..self.ids.len() {
            if left == 0 {
                return;
            }
            self.next = (self.next + 1) % self.ids.len();
            if let Some(id) = self.ids[self.next] {
                each(id);
                left -= 1;
            }
        }
    }
}

impl SampleFlag {
    /// To be called after a sample has been published, or was lost.
    ///
    /// # Signal safety
    /// Safe: one atomic operation, without a lock.
    pub(super) fn raise(&self) {
        // Release: see the top of this file.
        self.word.fetch_or(1 << self.bit, Ordering::Release);
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    fn drained(flags: &SampleFlags) -> Vec<i32> {
        let mut drained = Vec::new();
        flags.drain(|id| drained.push(id));
        drained
    }

    fn in_turn(flags: &mut SampleFlags, count: usize) -> Vec<i32> {
        let mut ids = Vec::new();
        flags.in_turn(count, |id| ids.push(id));
        ids
    }

    #[test]
    fn each_raised_flag_is_drained_once() {
        let mut flags = SampleFlags::default();
        let numbers: Vec<usize> = (0..200).map(|id| flags.add(id)).collect();
        assert!(drained(&flags).is_empty());
        [199, 0, 63, 64, 63].iter().for_each(|id| flags.flag(numbers[*id]).raise());
        assert_eq!(drained(&flags), [0, 63, 64, 199]);
        assert!(drained(&flags).is_empty());
    }

    #[test]
    fn a_flag_of_a_free_number_is_no_threads() {
        let mut flags = SampleFlags::default();
        let number = flags.add(7);
        let flag = flags.flag(number);
        flag.raise();
        flags.remove(number);
        assert!(drained(&flags).is_empty());
        assert_eq!(flags.add(8), number);
        flag.raise();
        assert_eq!(drained(&flags), [8]);
    }

    #[test]
    fn each_thread_has_its_turn() {
        let mut flags = SampleFlags::default();
        assert!(in_turn(&mut flags, 32).is_empty());
        let numbers: Vec<usize> = (0..100).map(|id| flags.add(id)).collect();
        numbers.iter().filter(|number| *number % 3 == 0).for_each(|number| flags.remove(*number));
        let living: Vec<i32> = (0..100).filter(|id| id % 3 != 0).collect();
        let mut seen: Vec<i32> = (0..3).flat_map(|_| in_turn(&mut flags, 22)).collect();
        seen.sort_unstable();
        assert_eq!(seen, living);
        assert_eq!(in_turn(&mut flags, 1000).len(), living.len(), "each at most once in a call");
    }
}
