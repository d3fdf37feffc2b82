//! The ring of samples: passes records from one thread's signal handler to the reader. A
//! `record::Ring`, whose file has the protocol; here is what its words mean.
//!
//! One writer: the handler of one thread, which cannot interrupt itself. One reader at a time: the
//! thread that holds the engine's lock.
//!
//! Models: `loom_ring_*` in `loom_tests.rs`.

use crate::profile::raw::Ending;
use crate::record;
use crate::wait::Shown;

/// 24 KiB: fifteen of the deepest records, or a hundred usual ones. In a model, two short ones.
const WORDS: usize = if cfg!(all(test, selvedge_model)) { 9 } else { 3072 };
/// The words of a record before its addresses. The first has its length, its ending and the
/// thread's wait; the second has the CPU clock, the third the number of its context.
const HEADER: u64 = 3;
/// The first word has the ending in its two lowest bits, then a bit that is set if a fourth word has
/// the time, the length above it, and the thread's wait from this bit on.
const SHOWN: u32 = 64 - Shown::BITS;
const TIMED: u64 = 1 << 2;
const LENGTH: u32 = 3;

/// The sample of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The thread's CPU clock.
    pub(super) clock: u64,
    /// When it was taken, on the clock of `wait::nanos`; 0 if no recording wants to know.
    pub(super) at: u64,
    pub(super) ending: Ending,
    pub(super) shown: Shown,
    /// The number of the thread's context; 0: it has none.
    pub(super) context: u64,
    pub(super) addresses: &'a [u64],
}

#[derive(Default)]
pub(super) struct Ring(record::Ring<WORDS>);

impl Ring {
    /// Begins a record, with room for the time if it `is_timed`. `None`: there is no room, even for
    /// an empty one. For the one writer.
    ///
    /// # Signal safety
    /// Safe, as are all calls of the [`Writer`].
    pub(super) fn writer(&self, is_timed: bool) -> Option<Writer<'_>> {
        let header = HEADER + u64::from(is_timed);
        self.0.writer(header).map(|writer| Writer { writer, header })
    }

    /// Returns `true` if there is nothing to read. For the one reader.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `each` with each record, the oldest first. For the one reader. `addresses` is a
    /// buffer.
    pub(super) fn read(&self, addresses: &mut Vec<u64>, mut each: impl FnMut(Record<'_>)) {
        self.0.read(|found| {
            let first = found.word(0);
            let is_timed = first & TIMED != 0;
            let header = HEADER + u64::from(is_timed);
            let length = (first & ((1 << SHOWN) - 1)) >> LENGTH;
            let (ending, shown) = (ending(first), Shown::from_word(first >> SHOWN));
            let at = if is_timed { found.word(HEADER) } else { 0 };
            addresses.clear();
            addresses.extend((0..length).map(|n| found.word(header + n)));
            each(Record { clock: found.word(1), at, ending, shown, context: found.word(2), addresses });
            header + length
        });
    }
}

/// The two lowest bits of a record's first word.
fn ending(first_word: u64) -> Ending {
    [Ending::Root, Ending::Deep, Ending::Broken, Ending::Leaf][first_word as usize & 3]
}

/// A record that is being written. Dropping it unpublished leaves the ring unchanged.
pub(super) struct Writer<'a> {
    writer: record::Writer<'a, WORDS>,
    header: u64,
}

impl Writer<'_> {
    /// Adds an address. Returns `false` if there is no room for it.
    pub(super) fn push(&mut self, address: u64) -> bool {
        self.writer.push(address)
    }

    pub(super) fn len(&self) -> u64 {
        self.writer.len() - self.header
    }

    /// `at`: when it was taken, if the record has room for that.
    pub(super) fn publish(self, clock: u64, at: u64, ending: Ending, shown: Shown, context: u64) {
        let is_timed = self.header > HEADER;
        let timed = if is_timed { TIMED } else { 0 };
        self.writer.set(0, shown.word() << SHOWN | self.len() << LENGTH | timed | ending as u64);
        self.writer.set(1, clock);
        self.writer.set(2, context);
        if is_timed {
            self.writer.set(HEADER, at);
        }
        self.writer.publish();
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    fn write(ring: &Ring, clock: u64, ending: Ending, addresses: &[u64]) -> bool {
        // Some have the time.
        let is_timed = clock % 3 == 1;
        let Some(mut writer) = ring.writer(is_timed) else { return false };
        let fits = addresses.iter().all(|&address| writer.push(address));
        if fits {
            writer.publish(clock, clock / 2, ending, Shown::from_word(clock & 0xFF), !clock);
        }
        fits
    }

    fn read(ring: &Ring) -> Vec<(u64, Ending, Vec<u64>)> {
        let mut records = Vec::new();
        ring.read(&mut Vec::new(), |record| {
            assert_eq!(record.context, !record.clock);
            assert_eq!(record.shown, Shown::from_word(record.clock & 0xFF));
            assert_eq!(record.at, if record.clock % 3 == 1 { record.clock / 2 } else { 0 });
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
        let fitting = (0..100).take_while(|&n| write(&ring, n * 3, Ending::Root, &deep)).count();
        let each = 200 + HEADER as usize;
        assert_eq!(fitting, WORDS / each);
        // What is left takes smaller ones, to the last word.
        let rest = WORDS - fitting * each - HEADER as usize;
        assert!(!write(&ring, 0, Ending::Root, &deep[..rest + 1]));
        assert!(!write(&ring, 76, Ending::Deep, &deep[..rest]), "with the time");
        assert!(write(&ring, 77, Ending::Deep, &deep[..rest]));
        assert!(ring.writer(false).is_none());
        let records = read(&ring);
        assert_eq!(records.len(), fitting + 1);
        assert_eq!(records.last().unwrap(), &(77, Ending::Deep, deep[..rest].to_vec()));
        assert!(write(&ring, 1, Ending::Root, &deep));
    }

    #[test]
    fn empty_records_fill_the_ring_to_the_last_word() {
        let ring = Ring::default();
        let fitting = (0..WORDS as u64).take_while(|&n| write(&ring, n * 3, Ending::Leaf, &[])).count();
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
