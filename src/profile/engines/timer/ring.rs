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

/// 16 KiB: twenty of the deepest records, or a hundred usual ones. In a model, two short ones.
const WORDS: usize = if cfg!(all(test, selvedge_model)) { 9 } else { 2048 };
/// The words of each record before its addresses: the first, and the CPU clock.
const LEAST: u64 = 2;
/// The first word has the ending in its two lowest bits, then two bits that are set if the record
/// has a word for the time and one for the number of the context, the number of addresses above
/// them, and the thread's wait from this bit on.
const SHOWN: u32 = 64 - Shown::BITS;
const TIMED: u64 = 1 << 2;
const IN_CONTEXT: u64 = 1 << 3;
const LENGTH: u32 = 4;

// Addresses are in the last words, each as its difference to the one before: return addresses are
// mostly in one program, so three or four bytes are enough. The difference has its sign in the
// lowest bit. Each byte has seven bits of it, the lowest first (LEB128), and the highest bit set if
// there are more.

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
    /// Begins a record of a thread in that context (0: none), with room for the time if it
    /// `is_timed`. `None`: there is no room, even for an empty one. For the one writer.
    ///
    /// # Signal safety
    /// Safe, as are all calls of the [`Writer`].
    pub(super) fn writer(&self, is_timed: bool, context: u64) -> Option<Writer<'_>> {
        let flags = if is_timed { TIMED } else { 0 } | if context != 0 { IN_CONTEXT } else { 0 };
        let writer = self.0.writer(header(flags))?;
        Some(Writer { writer, flags, context, length: 0, last: 0, word: 0, bits: u64::BITS })
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
            let header = header(first);
            let length = (first & ((1 << SHOWN) - 1)) >> LENGTH;
            let (ending, shown) = (ending(first), Shown::from_word(first >> SHOWN));
            let at = if first & TIMED != 0 { found.word(LEAST) } else { 0 };
            let context = if first & IN_CONTEXT != 0 { found.word(header - 1) } else { 0 };
            let (mut bytes, mut last) = (0, 0_u64);
            let mut next_byte = || {
                let byte = found.word(header + bytes / 8) >> (bytes % 8 * 8) & 0xFF;
                bytes += 1;
                byte
            };
            addresses.clear();
            addresses.extend((0..length).map(|_| {
                last = last.wrapping_add(difference(&mut next_byte));
                last
            }));
            each(Record { clock: found.word(1), at, ending, shown, context, addresses });
            header + bytes.div_ceil(8)
        });
    }
}

/// The number of words before the addresses, in a record with these flags in its first word.
fn header(flags: u64) -> u64 {
    LEAST + u64::from(flags & TIMED != 0) + u64::from(flags & IN_CONTEXT != 0)
}

/// The next difference of two addresses.
fn difference(mut next_byte: impl FnMut() -> u64) -> u64 {
    let (mut signed, mut bits) = (0, 0);
    loop {
        let byte = next_byte();
        signed |= (byte & 0x7F) << bits;
        bits += 7;
        // Ten bytes have all bits of a word.
        if byte & 0x80 == 0 || bits >= u64::BITS {
            return signed >> 1 ^ (signed & 1).wrapping_neg();
        }
    }
}

/// The two lowest bits of a record's first word.
fn ending(first_word: u64) -> Ending {
    [Ending::Root, Ending::Deep, Ending::Broken, Ending::Leaf][first_word as usize & 3]
}

/// Eight bytes of seven bits each.
const LOW: u32 = 56;
/// The highest bit of each byte.
const MORE: u64 = 0x8080_8080_8080_8080;

/// The lowest [`LOW`] bits, which are all, as bytes of seven bits. In three steps and not in eight:
/// it is done for each frame of each sample.
#[inline]
fn spread(low: u64) -> u64 {
    let halves = low & 0x0FFF_FFFF | (low & 0x0FFF_FFFF << 28) << 4;
    let quarters = halves & 0x3FFF_0000_3FFF | (halves & 0x3FFF_0000_3FFF << 14) << 2;
    quarters & 0x7F_007F_007F_007F | (quarters & 0x7F_007F_007F_007F << 7) << 1
}

/// A record that is being written. Dropping it unpublished leaves the ring unchanged.
pub(super) struct Writer<'a> {
    writer: record::Writer<'a, WORDS>,
    flags: u64,
    context: u64,
    /// The number of addresses.
    length: u64,
    /// The last address.
    last: u64,
    /// The last word of addresses as far as it is filled, and the number of its bits in use. All
    /// are in use: the next byte begins a new word.
    word: u64,
    bits: u32,
}

impl Writer<'_> {
    /// Adds an address. Returns `false` if there is no room for it: then the record is not to be
    /// published.
    pub(super) fn push(&mut self, address: u64) -> bool {
        let difference = address.wrapping_sub(self.last);
        let signed = difference << 1 ^ (difference as i64 >> 63) as u64;
        let (low, high) = (signed & ((1 << LOW) - 1), signed >> LOW);
        let is_added = if high == 0 {
            let count = (low | 1).ilog2() / 7 + 1;
            self.push_bytes(spread(low) | MORE & ((1 << (8 * (count - 1))) - 1), 8 * count)
        } else {
            self.push_bytes(spread(low) | MORE, u64::BITS) && self.push_bytes(spread(high) | 0x80, 16)
        };
        (self.last, self.length) = (address, self.length + 1);
        is_added
    }

    /// Adds the bytes that are in so many bits of `bytes`.
    #[inline]
    fn push_bytes(&mut self, bytes: u64, bits: u32) -> bool {
        if self.bits == u64::BITS {
            if !self.writer.push(0) {
                return false;
            }
            (self.word, self.bits) = (0, 0);
        }
        self.word |= bytes << self.bits;
        let room = u64::BITS - self.bits;
        if bits < room {
            self.bits += bits;
            return true;
        }
        self.set_last_word();
        self.bits = u64::BITS;
        if bits > room {
            if !self.writer.push(0) {
                return false;
            }
            (self.word, self.bits) = (bytes >> room, bits - room);
        }
        true
    }

    fn set_last_word(&self) {
        self.writer.set(self.writer.len() - 1, self.word);
    }

    /// The number of addresses.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// `at`: when it was taken, if the record has room for that.
    pub(super) fn publish(self, clock: u64, at: u64, ending: Ending, shown: Shown) {
        debug_assert!(self.length < 1 << (SHOWN - LENGTH));
        if self.bits < u64::BITS {
            self.set_last_word();
        }
        self.writer.set(0, shown.word() << SHOWN | self.length << LENGTH | self.flags | ending as u64);
        self.writer.set(1, clock);
        if self.flags & TIMED != 0 {
            self.writer.set(LEAST, at);
        }
        if self.flags & IN_CONTEXT != 0 {
            self.writer.set(header(self.flags) - 1, self.context);
        }
        self.writer.publish();
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    /// The context of the record with that clock: some have none.
    fn context(clock: u64) -> u64 {
        if clock.is_multiple_of(5) { 0 } else { !clock }
    }

    fn write(ring: &Ring, clock: u64, ending: Ending, addresses: &[u64]) -> bool {
        // Some have the time.
        let is_timed = clock % 3 == 1;
        let Some(mut writer) = ring.writer(is_timed, context(clock)) else { return false };
        let fits = addresses.iter().all(|&address| writer.push(address));
        if fits {
            assert_eq!(writer.len(), addresses.len() as u64);
            writer.publish(clock, clock / 2, ending, Shown::from_word(clock & 0xFF));
        }
        fits
    }

    fn read(ring: &Ring) -> Vec<(u64, Ending, Vec<u64>)> {
        let mut records = Vec::new();
        ring.read(&mut Vec::new(), |record| {
            assert_eq!(record.context, context(record.clock));
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

    /// Each length of a difference, up and down, from each byte of a word on.
    #[test]
    fn addresses_come_out_as_they_went_in() {
        let ring = Ring::default();
        let steps = (0..64).flat_map(|bit| [1 << bit, (1_u64 << bit).wrapping_neg(), (1 << bit) - 1, u64::MAX >> bit]);
        for (clock, step) in steps.enumerate() {
            let mut address = 0x7f12_3456_7890_u64;
            let addresses: Vec<u64> = (0..40)
                .map(|n: u64| {
                    address = address.wrapping_add(if n.is_multiple_of(3) { 1 } else { step });
                    address
                })
                .collect();
            assert!(write(&ring, clock as u64, Ending::Root, &addresses), "{step:x}");
            assert_eq!(read(&ring), [(clock as u64, Ending::Root, addresses)], "{step:x}");
        }
    }

    /// The deepest stack of functions of one program: of 200 addresses, most within a mebibyte.
    #[test]
    fn twenty_of_the_deepest_records_fit() {
        let ring = Ring::default();
        let mut random = crate::random::Random(3);
        let deep: Vec<u64> = (0..200)
            .map(|n| if n % 20 == 0 { 0x7f00_0000_0000 } else { 0x5500_0000_0000 } + random.next() % (1 << 20))
            .collect();
        let fitting = (1..100).take_while(|&n| write(&ring, n, Ending::Root, &deep)).count();
        assert!(fitting >= 20, "{fitting}");
        assert!(read(&ring).iter().all(|(_, _, addresses)| *addresses == deep));
    }

    #[test]
    fn a_record_that_does_not_fit_changes_nothing() {
        let ring = Ring::default();
        // Eight bytes each: nine bits of seven do not hold the highest ones.
        let deep: Vec<u64> = (0..200).map(|n: u64| n % 2 * (1 << 54)).collect();
        let fitting = (0..100).take_while(|&n| write(&ring, n * 15, Ending::Root, &deep)).count();
        let each = LEAST as usize + (199 * 8 + 1_usize).div_ceil(8);
        assert_eq!(fitting, WORDS / each);
        // What is left takes smaller ones, to the last word: of one byte for each address.
        let rest = WORDS - fitting * each - LEAST as usize;
        let bytes: Vec<u64> = (0..rest as u64 * 8 + 1).collect();
        assert!(!write(&ring, 0, Ending::Root, &bytes));
        assert!(!write(&ring, 10, Ending::Deep, &bytes[..rest * 8]), "with the time");
        assert!(!write(&ring, 12, Ending::Deep, &bytes[..rest * 8]), "with a context");
        assert!(write(&ring, 15, Ending::Deep, &bytes[..rest * 8]));
        assert!(ring.writer(false, 0).is_none());
        let records = read(&ring);
        assert_eq!(records.len(), fitting + 1);
        assert_eq!(records.last().unwrap(), &(15, Ending::Deep, bytes[..rest * 8].to_vec()));
        assert!(write(&ring, 1, Ending::Root, &deep));
    }

    #[test]
    fn empty_records_fill_the_ring_to_the_last_word() {
        let ring = Ring::default();
        let fitting = (0..WORDS as u64).take_while(|&n| write(&ring, n * 15, Ending::Leaf, &[])).count();
        assert_eq!(fitting, WORDS / LEAST as usize);
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
