//! Bells: how the wall-clock sampler, which looks at many threads' waits, learns which of them have
//! changed, without looking at the others. Knows neither waits nor threads.
//!
//! Invariants
//! 1. A bell rings at most once; the listener that hears it hangs up a new one. So a thread that
//!    changes its wait a million times between two looks rings once.
//! 2. It rings before what it announces: a listener that has not heard it by some time knows that
//!    nothing has changed up to then.
//!
//! What orders a ring and the change that it announces is the lock of the [`Slot`](super::Slot),
//! not the bell's word. A bell is hung up, rung and followed by its change under that lock, in this
//! order. So a listener that finds the change under the lock has the ring before it, and hears it
//! from then on. And a listener that has heard a ring, and then takes the lock, finds the change
//! there: were its turn at the lock the earlier one, it would have heard a ring that comes after
//! it. Hence all accesses of the word are relaxed; an Acquire or Release of its own would order
//! nothing that the lock leaves open.
//!
//! Models: `loom_bell_*` in `wait/loom_tests.rs`.

use crate::model::AtomicU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What one listener has hung up.
#[derive(Default)]
pub(crate) struct Bells {
    words: Vec<Arc<AtomicU64>>,
}

/// One of them; 64 share a word.
pub(super) struct Bell {
    /// The ringing thread sets a bit, and the listener clears it. The listener may be gone.
    word: Arc<AtomicU64>,
    bit: u32,
}

impl Bells {
    /// The bell of that number. Numbers should be small: there is a bit for each that is lower.
    pub(super) fn bell(&mut self, number: usize) -> Bell {
        let word = number / 64;
        if word >= self.words.len() {
            self.words.resize_with(word + 1, Arc::default);
        }
        Bell { word: self.words[word].clone(), bit: (number % 64) as u32 }
    }

    /// Calls `each` with the number of each bell that has rung since the last time.
    pub(crate) fn hear(&self, mut each: impl FnMut(usize)) {
        for (index, word) in self.words.iter().enumerate() {
            // What is not seen yet is heard the next time, as if it had rung after this. Most words
            // are silent, and a load leaves the cache line with the threads that ring.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut rung = word.swap(0, Ordering::Relaxed);
            while rung != 0 {
                each(index * 64 + rung.trailing_zeros() as usize);
                rung &= rung - 1;
            }
        }
    }
}

impl Bell {
    /// To be called under the slot's lock, before what it announces is done.
    pub(super) fn ring(self) {
        self.word.fetch_or(1 << self.bit, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn each_ring_is_heard_once() {
        let mut bells = Bells::default();
        let heard = |bells: &Bells| {
            let mut heard = Vec::new();
            bells.hear(|number| heard.push(number));
            heard
        };
        let [first, last, far, silent] = [0, 63, 1_000, 64].map(|number| bells.bell(number));
        assert!(heard(&bells).is_empty());
        far.ring();
        first.ring();
        assert_eq!(heard(&bells), [0, 1_000]);
        last.ring();
        assert_eq!(heard(&bells), [63]);
        assert!(heard(&bells).is_empty());
        drop(bells);
        silent.ring();
    }
}
