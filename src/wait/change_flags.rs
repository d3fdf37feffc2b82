//! Change flags: how the wall-clock sampler, which visits the waits of many threads, learns which of
//! them have changed, without a visit to the others. Knows neither waits nor threads.
//!
//! Invariants
//! 1. A flag is raised at most once. The sampler, once it has seen it, arms a new one. So a thread
//!    that changes its wait a million times between two visits raises one flag.
//! 2. A flag is raised before the change that it announces. If the sampler has not seen it by some
//!    time, nothing has changed up to then.
//!
//! What orders a flag and the change that it announces is the lock of the [`Slot`](super::Slot),
//! not the flag's word. A flag is armed, raised and followed by its change under that lock, in this
//! order. So a sampler that finds the change under the lock has the raised flag before it, and sees
//! it from then on. And a sampler that has seen the flag, and then takes the lock, finds the change
//! there: if its turn at the lock came earlier, it would have seen a flag that is raised after it.
//! Hence all accesses of the word are relaxed. An Acquire or Release of its own would order nothing
//! that the lock leaves open.
//!
//! Models: `loom_change_flag_*` in `wait/loom_tests.rs`.

use crate::model::AtomicU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The flags of one sampler.
#[derive(Default)]
pub(crate) struct ChangeFlags {
    words: Vec<Arc<AtomicU64>>,
}

/// One flag; 64 share a word.
pub(super) struct ChangeFlag {
    /// The changing thread sets a bit, and the sampler clears it. The sampler may be gone.
    word: Arc<AtomicU64>,
    bit: u32,
}

impl ChangeFlags {
    /// The flag of that number. Numbers should be small: there is a bit for each that is lower.
    pub(super) fn flag(&mut self, number: usize) -> ChangeFlag {
        let word = number / 64;
        if word >= self.words.len() {
            self.words.resize_with(word + 1, Arc::default);
        }
        ChangeFlag { word: self.words[word].clone(), bit: (number % 64) as u32 }
    }

    /// Calls `each` with the number of each flag that was raised since the last call, and clears them.
    pub(crate) fn drain(&self, mut each: impl FnMut(usize)) {
        for (index, word) in self.words.iter().enumerate() {
            // A flag that is not seen yet is seen the next time, as if it was raised after this. Most
            // words are 0, and a load leaves the cache line with the threads that raise flags.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut raised = word.swap(0, Ordering::Relaxed);
            while raised != 0 {
                each(index * 64 + raised.trailing_zeros() as usize);
                raised &= raised - 1;
            }
        }
    }
}

impl ChangeFlag {
    /// To be called under the slot's lock, before what it announces is done.
    pub(super) fn raise(self) {
        self.word.fetch_or(1 << self.bit, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn each_raised_flag_is_drained_once() {
        let mut flags = ChangeFlags::default();
        let drained = |flags: &ChangeFlags| {
            let mut drained = Vec::new();
            flags.drain(|number| drained.push(number));
            drained
        };
        let [first, last, far, never_raised] = [0, 63, 1_000, 64].map(|number| flags.flag(number));
        assert!(drained(&flags).is_empty());
        far.raise();
        first.raise();
        assert_eq!(drained(&flags), [0, 1_000]);
        last.raise();
        assert_eq!(drained(&flags), [63]);
        assert!(drained(&flags).is_empty());
        drop(flags);
        never_raised.raise();
    }
}
