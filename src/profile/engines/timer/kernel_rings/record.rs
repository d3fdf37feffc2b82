//! The kernel's records in a ring, read from their bytes. Knows no rings and no threads.

use crate::os::perf_ring::REGISTER_COUNT;

/// A record of the kernel.
pub(super) enum KernelRecord<'a> {
    Sample(KernelSample<'a>),
    /// This many samples found no room.
    Lost(u64),
    /// It is of no use here.
    Other,
}

/// A sample, as the kernel has written it.
pub(super) struct KernelSample<'a> {
    /// The kernel's id of the thread.
    pub(super) thread: i32,
    /// On the monotonic clock, in nanoseconds.
    pub(super) at: u64,
    /// The number of the event.
    pub(super) stream: u64,
    /// In the kernel's order. `None`: the thread had none in the program, since it was about to end.
    pub(super) registers: Option<[u64; REGISTER_COUNT]>,
    /// The copy of the stack, from its stack pointer on.
    pub(super) stack: &'a [u8],
    /// The kernel could copy as much as it was asked for, so there may be more.
    pub(super) is_full: bool,
}

const LOST: u32 = 2;
const SAMPLE: u32 = 9;
/// The thread had registers, and they are those of a 64-bit program.
const REGISTERS_64: u64 = 2;

impl<'a> KernelRecord<'a> {
    pub(super) fn read(record: &'a [u8]) -> KernelRecord<'a> {
        let mut rest = Rest(record);
        match rest.word().map(|header| header as u32) {
            Some(SAMPLE) => sample(rest).map_or(KernelRecord::Other, KernelRecord::Sample),
            // The number of the event, then that of the samples.
            Some(LOST) => rest.word().and_then(|_| rest.word()).map_or(KernelRecord::Other, KernelRecord::Lost),
            _ => KernelRecord::Other,
        }
    }
}

fn sample(mut rest: Rest<'_>) -> Option<KernelSample<'_>> {
    let (ids, at, stream, kind) = (rest.word()?, rest.word()?, rest.word()?, rest.word()?);
    let mut words = [0; REGISTER_COUNT];
    if kind != 0 {
        for word in &mut words {
            *word = rest.word()?;
        }
    }
    let registers = (kind == REGISTERS_64).then_some(words);
    let room = usize::try_from(rest.word()?).ok()?;
    let room = rest.bytes(room)?;
    let copied = if room.is_empty() { 0 } else { usize::try_from(rest.word()?).ok()? };
    let (stack, is_full) = (room.get(..copied)?, copied == room.len());
    // The id of the process is in the lower half.
    Some(KernelSample { thread: (ids >> 32) as i32, at, stream, registers, stack, is_full })
}

/// What is left of a record.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn word(&mut self) -> Option<u64> {
        self.bytes(8)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(all(test, target_arch = "x86_64", not(selvedge_model)))]
mod tests {
    use super::*;

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn of_sample(kind: u64, room: usize, copied: u64) -> Vec<u8> {
        let mut words = vec![u64::from(SAMPLE), 77 << 32 | 5, 1_000, 41, kind];
        if kind != 0 {
            words.extend((0..REGISTER_COUNT as u64).map(|n| n * 8));
        }
        words.push(room as u64 * 8);
        words.extend((0..room as u64).map(|n| n + 100));
        if room > 0 {
            words.push(copied);
        }
        bytes(&words)
    }

    #[test]
    fn a_sample_has_its_thread_registers_and_stack() {
        let bytes = of_sample(REGISTERS_64, 4, 16);
        let KernelRecord::Sample(sample) = KernelRecord::read(&bytes) else { panic!("no sample") };
        assert_eq!((sample.thread, sample.at, sample.stream, sample.is_full), (77, 1_000, 41, false));
        assert_eq!(sample.stack, [100_u64, 101].map(u64::to_ne_bytes).as_flattened());
        assert_eq!(sample.registers.unwrap()[7..9], [7 * 8, 8 * 8]);
        let bytes = of_sample(REGISTERS_64, 4, 32);
        let KernelRecord::Sample(sample) = KernelRecord::read(&bytes) else { panic!("no sample") };
        assert!(sample.is_full && sample.stack.len() == 32);
    }

    #[test]
    fn a_thread_without_registers_has_no_stack() {
        let bytes = of_sample(0, 0, 0);
        let KernelRecord::Sample(sample) = KernelRecord::read(&bytes) else { panic!("no sample") };
        assert!(sample.registers.is_none() && sample.stack.is_empty() && sample.thread == 77);
    }

    #[test]
    fn lost_samples_are_counted_and_strange_records_ignored() {
        assert!(matches!(KernelRecord::read(&bytes(&[u64::from(LOST), 41, 12])), KernelRecord::Lost(12)));
        assert!(matches!(KernelRecord::read(&bytes(&[5, 41, 12])), KernelRecord::Other));
        let whole = of_sample(REGISTERS_64, 4, 16);
        for length in 0..whole.len() {
            assert!(!matches!(KernelRecord::read(&whole[..length]), KernelRecord::Sample(_)), "{length}");
        }
        assert!(!matches!(KernelRecord::read(&of_sample(REGISTERS_64, 4, 33)), KernelRecord::Sample(_)));
    }
}
