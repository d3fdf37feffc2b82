//! Bells: how whoever looks at many threads' waits learns which of them have changed, without looking at the others. Knows
//! neither waits nor threads.
//!
//! Invariants
//! 1. A bell rings at most once; who hears it hangs up a new one. So a thread that changes its wait a million times between two
//!    looks rings once.
//! 2. It rings before what it announces: who has not heard it by some time knows that nothing has changed up to then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one listener has hung up.
#[derive(Default)]
pub(crate) struct Bells {
    words: Vec<Arc<AtomicU64>>,
}

/// One of them; 64 share a word.
pub(super) struct Bell {
    /// A bit is set by whoever rings, and cleared by the listener. The listener may be gone.
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
            // Relaxed: what is not seen yet is heard the next time, as if it had rung after this. Most are silent, and to look
            // leaves the line with those who ring.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Acquire: pairs with the ring, so that its thread has done before what it did before.
            let mut rung = word.swap(0, Ordering::Acquire);
            while rung != 0 {
                each(index * 64 + rung.trailing_zeros() as usize);
                rung &= rung - 1;
            }
        }
    }
}

impl Bell {
    /// Before what it announces is done.
    pub(super) fn ring(self) {
        // Release for the listener's Acquire; Acquire, so that the announced change does not come to be before the ring.
        self.word.fetch_or(1 << self.bit, Ordering::AcqRel);
    }
}

#[cfg(test)]
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
