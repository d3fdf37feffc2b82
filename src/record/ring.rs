//! A ring of words: passes records from one writer to one reader. A queue as in Lamport's
//! "Specifying concurrent program modules" (1983). No lock, and no allocation after its making. The
//! caller gives the words a meaning.
//!
//! Models: `loom_ring_*` in `loom_tests.rs`, and in `profile/engines/timer/loom_tests.rs`.
//!
//! Invariants
//! 1. One writer: one thread, or its signal handler, which cannot interrupt itself. One reader at a
//!    time.
//! 2. `tail ≤ head ≤ tail + WORDS`, both only grow. Words from `tail` to `head` are whole records;
//!    the others are the writer's.
//! 3. A record that does not fit is not written at all.

use crate::model::{AtomicU64, Word};
use std::sync::atomic::Ordering;

/// Room for so many words.
///
/// | field   | value                | stored by  | order, and why |
/// |---------|----------------------|------------|----------------|
/// | `head`  | words written so far | the writer | Release: a reader that sees it sees the words before it |
/// | `tail`  | words read so far    | the reader | Release: the reader is done with the words before it |
/// | `words` | word `n` at `n % WORDS` | the writer | Relaxed: ordered by `head` and `tail` |
pub(crate) struct Ring<const WORDS: usize> {
    head: AtomicU64,
    tail: AtomicU64,
    words: Box<[Word]>,
}

impl<const WORDS: usize> Default for Ring<WORDS> {
    fn default() -> Ring<WORDS> {
        let words = (0..WORDS).map(|_| Word::new(0)).collect();
        Ring { head: AtomicU64::new(0), tail: AtomicU64::new(0), words }
    }
}

impl<const WORDS: usize> Ring<WORDS> {
    #[inline]
    fn word(&self, position: u64) -> &Word {
        &self.words[(position % WORDS as u64) as usize]
    }

    /// Begins a record whose first `header` words are set last. `None`: there is no room for them.
    /// For the one writer.
    ///
    /// # Signal safety
    /// Safe, as are all calls of the [`Writer`].
    #[inline]
    pub(crate) fn writer(&self, header: u64) -> Option<Writer<'_, WORDS>> {
        // Relaxed: only this thread stores it.
        let head = self.head.load(Ordering::Relaxed);
        // Acquire: with the reader's Release, the reader is done with the words that it gives back.
        let end = self.tail.load(Ordering::Acquire) + WORDS as u64;
        (head + header <= end).then_some(Writer { ring: self, head, next: head + header, end })
    }

    /// Writes a whole record. Returns `false`, and writes nothing, if there is no room. For the one
    /// writer.
    #[inline]
    pub(crate) fn write(&self, record: &[u64]) -> bool {
        let Some(writer) = self.writer(record.len() as u64) else { return false };
        for (at, &word) in record.iter().enumerate() {
            writer.set(at as u64, word);
        }
        writer.publish();
        true
    }

    /// Returns `true` if there is nothing to read. For the one reader.
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: no word is read because of this.
        self.head.load(Ordering::Relaxed) == self.tail.load(Ordering::Relaxed)
    }

    /// Calls `each` with each record, the oldest first. `each` returns how many words its record has.
    /// For the one reader.
    pub(crate) fn read(&self, mut each: impl FnMut(Found<'_, WORDS>) -> u64) {
        // Acquire: with the writer's Release, the records before it are whole.
        let head = self.head.load(Ordering::Acquire);
        // Relaxed: only readers store it, one at a time under a lock.
        let mut at = self.tail.load(Ordering::Relaxed);
        while at < head {
            at += each(Found { ring: self, at });
        }
        // Release: the words before it were read.
        self.tail.store(at, Ordering::Release);
    }

    /// Appends the words of all records to `words`. For the one reader.
    pub(crate) fn take(&self, words: &mut Vec<u64>) {
        // Acquire, Relaxed, and Release: as in `read`.
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Relaxed);
        words.extend((tail..head).map(|position| self.word(position).get()));
        self.tail.store(head, Ordering::Release);
    }
}

/// A record that is being read.
pub(crate) struct Found<'a, const WORDS: usize> {
    ring: &'a Ring<WORDS>,
    at: u64,
}

impl<const WORDS: usize> Found<'_, WORDS> {
    /// A word of the record, which must have it.
    pub(crate) fn word(&self, index: u64) -> u64 {
        self.ring.word(self.at + index).get()
    }
}

/// A record that is being written. Dropping it unpublished leaves the ring unchanged.
pub(crate) struct Writer<'a, const WORDS: usize> {
    ring: &'a Ring<WORDS>,
    head: u64,
    next: u64,
    end: u64,
}

impl<const WORDS: usize> Writer<'_, WORDS> {
    /// Adds a word. Returns `false` if there is no room for it.
    #[inline]
    pub(crate) fn push(&mut self, word: u64) -> bool {
        if self.next == self.end {
            return false;
        }
        self.ring.word(self.next).set(word);
        self.next += 1;
        true
    }

    /// Sets a word of the record, which has it already.
    #[inline]
    pub(crate) fn set(&self, index: u64, word: u64) {
        debug_assert!(self.head + index < self.next);
        self.ring.word(self.head + index).set(word);
    }

    /// How many words the record has.
    pub(crate) fn len(&self) -> u64 {
        self.next - self.head
    }

    #[inline]
    pub(crate) fn publish(self) {
        // Release: a reader that sees this sees the whole record.
        self.ring.head.store(self.next, Ordering::Release);
    }
}
