//! The ring: passes records from one thread's signal handler to the reader. A queue with one writer
//! and one reader, as in Lamport's "Specifying concurrent program modules" (1983). No lock, and no
//! allocation after its making.
//!
//! Models: `loom_ring_*` in `loom_tests.rs`.
//!
//! Invariants
//! 1. One writer: the handler of one thread, which cannot interrupt itself. One reader at a time:
//!    the thread that holds the engine's lock.
//! 2. `tail ≤ head ≤ tail + WORDS`, both only grow. Words from `tail` to `head` are whole records;
//!    the others are the writer's.
//! 3. A record that does not fit is not written at all.

use crate::model::{AtomicU64, Word};
use crate::profile::raw::Ending;
use crate::wait::Shown;
use std::sync::atomic::Ordering;

/// 24 KiB: fifteen of the deepest records, or a hundred usual ones. In a model, two short ones.
const WORDS: usize = if cfg!(all(test, selvedge_model)) { 7 } else { 3072 };
/// The words of a record before its addresses. The first has its length, its ending and the
/// thread's wait; the second has the CPU clock.
const HEADER: u64 = 2;
/// The first word has the ending in its two lowest bits, the length above it, and the thread's wait
/// from this bit on.
const SHOWN: u32 = 64 - Shown::BITS;

/// The sample of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The thread's CPU clock.
    pub(super) clock: u64,
    pub(super) ending: Ending,
    pub(super) shown: Shown,
    pub(super) addresses: &'a [u64],
}

pub(super) struct Ring {
    /// Words written since the beginning. Stored by the handler only.
    head: AtomicU64,
    /// Words read. Stored by the reader only.
    tail: AtomicU64,
    /// Ordered by `head` and `tail`. The writer accesses its words between the loads in `writer`
    /// and the store in `publish`; the reader accesses its words between the loads and the store in
    /// `read`.
    words: Box<[Word]>,
}

impl Default for Ring {
    fn default() -> Ring {
        let words = (0..WORDS).map(|_| Word::new(0)).collect();
        Ring { head: AtomicU64::new(0), tail: AtomicU64::new(0), words }
    }
}

impl Ring {
    fn word(&self, position: u64) -> &Word {
        &self.words[(position % WORDS as u64) as usize]
    }

    /// Begins a record. `None`: there is no room, even for an empty one. For the one writer.
    ///
    /// # Signal safety
    /// Safe, as are all calls of the [`Writer`].
    pub(super) fn writer(&self) -> Option<Writer<'_>> {
        // Relaxed: only this thread stores it.
        let head = self.head.load(Ordering::Relaxed);
        // Acquire: with the reader's Release, the reader is done with the words that it gives back.
        let end = self.tail.load(Ordering::Acquire) + WORDS as u64;
        (head + HEADER <= end).then_some(Writer { ring: self, head, next: head + HEADER, end })
    }

    /// Returns `true` if there is nothing to read. For the one reader.
    pub(super) fn is_empty(&self) -> bool {
        // Relaxed: no word is read because of this.
        self.head.load(Ordering::Relaxed) == self.tail.load(Ordering::Relaxed)
    }

    /// Calls `each` with each record, the oldest first. For the one reader. `addresses` is a
    /// buffer.
    pub(super) fn read(&self, addresses: &mut Vec<u64>, mut each: impl FnMut(Record<'_>)) {
        // Acquire: with the writer's Release, the records before it are whole.
        let head = self.head.load(Ordering::Acquire);
        // Relaxed: only readers store it, one at a time under a lock.
        let mut at = self.tail.load(Ordering::Relaxed);
        while at < head {
            let first = self.word(at).get();
            let length = (first & ((1 << SHOWN) - 1)) >> 2;
            let (ending, shown) = (ending(first), Shown::from_word(first >> SHOWN));
            let clock = self.word(at + 1).get();
            addresses.clear();
            addresses.extend((0..length).map(|n| self.word(at + HEADER + n).get()));
            at += HEADER + length;
            each(Record { clock, ending, shown, addresses });
        }
        // Release: the words before it were read.
        self.tail.store(at, Ordering::Release);
    }
}

/// The two lowest bits of a record's first word.
fn ending(first_word: u64) -> Ending {
    [Ending::Root, Ending::Deep, Ending::Broken, Ending::Leaf][first_word as usize & 3]
}

/// A record that is being written. Dropping it unpublished leaves the ring unchanged.
pub(super) struct Writer<'a> {
    ring: &'a Ring,
    head: u64,
    next: u64,
    end: u64,
}

impl Writer<'_> {
    /// Adds an address. Returns `false` if there is no room for it.
    pub(super) fn push(&mut self, address: u64) -> bool {
        if self.next == self.end {
            return false;
        }
        self.ring.word(self.next).set(address);
        self.next += 1;
        true
    }

    pub(super) fn len(&self) -> u64 {
        self.next - self.head - HEADER
    }

    pub(super) fn publish(self, clock: u64, ending: Ending, shown: Shown) {
        self.ring.word(self.head).set(shown.word() << SHOWN | self.len() << 2 | ending as u64);
        self.ring.word(self.head + 1).set(clock);
        // Release: a reader that sees this sees the whole record.
        self.ring.head.store(self.next, Ordering::Release);
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    fn write(ring: &Ring, clock: u64, ending: Ending, addresses: &[u64]) -> bool {
        let Some(mut writer) = ring.writer() else { return false };
        let fits = addresses.iter().all(|&address| writer.push(address));
        if fits {
            writer.publish(clock, ending, Shown::from_word(clock & 0xFF));
        }
        fits
    }

    fn read(ring: &Ring) -> Vec<(u64, Ending, Vec<u64>)> {
        let mut records = Vec::new();
        ring.read(&mut Vec::new(), |record| {
            assert_eq!(record.shown, Shown::from_word(record.clock & 0xFF));
            records.push((record.clock, record.ending, record.addresses.to_vec()));
        });
        records
    }

    #[test]
    fn records_are_read_once_and_in_order() {
        let ring = Ring::default();
        assert!(write(&ring, 5, Ending::Root, &[1, 2, 3]) && write(&ring, 6, Ending::Leaf, &[]));
        assert!(write(&ring, u64::MAX, Ending::Broken, &[u64::MAX]) && write(&ring, 8, Ending::Deep, &[9]));
        let expected = [
            (5, Ending::Root, vec![1, 2, 3]),
            (6, Ending::Leaf, vec![]),
            (u64::MAX, Ending::Broken, vec![u64::MAX]),
            (8, Ending::Deep, vec![9]),
        ];
        assert_eq!(read(&ring), expected);
        assert_eq!(read(&ring), []);
    }

    #[test]
    fn a_record_that_does_not_fit_changes_nothing() {
        let ring = Ring::default();
        let deep: Vec<u64> = (0..200).collect();
        let fitting = (0..100).take_while(|&n| write(&ring, n, Ending::Root, &deep)).count();
        assert_eq!(fitting, WORDS / 202);
        // What is left takes smaller ones, to the last word.
        let rest = WORDS - fitting * 202 - 2;
        assert!(!write(&ring, 0, Ending::Root, &deep[..rest + 1]));
        assert!(write(&ring, 77, Ending::Deep, &deep[..rest]));
        assert!(ring.writer().is_none());
        let records = read(&ring);
        assert_eq!(records.len(), fitting + 1);
        assert_eq!(records.last().unwrap(), &(77, Ending::Deep, deep[..rest].to_vec()));
        assert!(write(&ring, 1, Ending::Root, &deep));
    }

    #[test]
    fn empty_records_fill_the_ring_to_the_last_word() {
        let ring = Ring::default();
        let fitting = (0..WORDS as u64).take_while(|&n| write(&ring, n, Ending::Leaf, &[])).count();
        assert_eq!(fitting, WORDS / HEADER as usize);
        assert_eq!(read(&ring).len(), fitting);
    }

    #[test]
    fn concurrent_reads_see_whole_records() {
        let ring = Ring::default();
        const RECORDS: u64 = 20_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = 0;
                while next < RECORDS {
                    let addresses: Vec<u64> = (0..next % 40).map(|n| next + n).collect();
                    next += u64::from(write(&ring, next, Ending::Root, &addresses));
                }
            });
            let mut next = 0;
            let mut buffer = Vec::new();
            while next < RECORDS {
                ring.read(&mut buffer, |Record { clock, addresses, .. }| {
                    assert_eq!(clock, next);
                    assert!(addresses.iter().copied().eq((0..next % 40).map(|n| next + n)));
                    next += 1;
                });
                std::hint::spin_loop();
            }
        });
    }
}
