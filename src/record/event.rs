//! Events as words. The first word has the kind in its four lowest bits and the number of words in
//! the next four. The same build writes and reads them, so a reader knows each kind.

/// The most words of an event.
const MOST: usize = 5;

const SLEEP: u64 = 1;
const SPAN: u64 = 2;
const LOG: u64 = 3;
const SAMPLE: u64 = 4;

/// Something that a thread did. Times are nanoseconds of `wait::ender::nanos`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Sleep(SleepEvent),
    /// A stretch of the program's own, which is over.
    Span {
        begin: u64,
        end: u64,
        name: u32,
    },
    /// A log record. `place`, `text`: numbers of [`Store::place`](super::Store::place) and of
    /// [`Store::text`](super::Store::text).
    Log {
        at: u64,
        level: u8,
        place: u32,
        text: u64,
    },
    /// Where the thread was, and by how much its CPU clock went on since the sample before.
    /// `stack`, `ending`: numbers of the engine's; [`NO_STACK`](Event::NO_STACK): the clock alone
    /// was read.
    Sample {
        at: u64,
        cpu: u64,
        stack: u32,
        ending: u8,
    },
}

/// A sleep in a blocking call. A wait in which the thread was woken in vain has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SleepEvent {
    pub(crate) begin: u64,
    /// When another thread, or the clock, ended it.
    pub(crate) ended: u64,
    /// When the thread ran again.
    pub(crate) runs_again: u64,
    /// What ended it: a number of `wait::Ender`.
    pub(crate) by: u64,
    /// What the thread waited for: a number of its own, `wait::WaitTotals`.
    pub(crate) name: u16,
    /// Of the wait, which the sleeps of one wait share; the lowest bits.
    pub(crate) serial: u16,
    /// The number of the stack of the blocking call; 0: it was not taken.
    pub(crate) stack: u32,
}

/// An event in words.
pub(super) struct Words {
    words: [u64; MOST],
    length: usize,
}

impl Words {
    #[inline]
    fn new<const N: usize>(kind: u64, first: u64, rest: [u64; N]) -> Words {
        let mut words = [0; MOST];
        words[0] = first << 8 | (N as u64 + 1) << 4 | kind;
        words[1..=N].copy_from_slice(&rest);
        Words { words, length: N + 1 }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u64] {
        &self.words[..self.length]
    }
}

impl Event {
    /// In the place of an ending.
    pub(crate) const NO_STACK: u8 = u8::MAX;

    #[inline]
    pub(super) fn words(self) -> Words {
        match self {
            // The stack's number has 32 bits, the serial 12, the name 12.
            Event::Sleep(SleepEvent { begin, ended, runs_again, by, name, serial, stack }) => {
                debug_assert!(name <= 0xFFF);
                let first = u64::from(stack) << 24 | u64::from(serial & 0xFFF) << 12 | u64::from(name & 0xFFF);
                Words::new(SLEEP, first, [begin, ended, runs_again, by])
            }
            Event::Span { begin, end, name } => Words::new(SPAN, u64::from(name), [begin, end]),
            Event::Log { at, level, place, text } => {
                Words::new(LOG, u64::from(place) << 8 | u64::from(level), [at, text])
            }
            Event::Sample { at, cpu, stack, ending } => {
                Words::new(SAMPLE, u64::from(stack) << 8 | u64::from(ending), [at, cpu])
            }
        }
    }

    /// The event that `words` begin with, and the words after it. `None` if there are none, or if
    /// they are no event: then the rest of the words cannot be read either.
    pub(super) fn read(words: &[u64]) -> Option<(Event, &[u64])> {
        let first = *words.first()?;
        let (event, rest) = words.split_at_checked((first >> 4 & 0xF) as usize)?;
        let first = first >> 8;
        let event = match (words[0] & 0xF, event) {
            (SLEEP, &[_, begin, ended, runs_again, by]) => {
                let (name, serial) = ((first & 0xFFF) as u16, (first >> 12 & 0xFFF) as u16);
                Event::Sleep(SleepEvent { begin, ended, runs_again, by, name, serial, stack: (first >> 24) as u32 })
            }
            (SPAN, &[_, begin, end]) => Event::Span { begin, end, name: first as u32 },
            (LOG, &[_, at, text]) => Event::Log { at, level: first as u8, place: (first >> 8) as u32, text },
            (SAMPLE, &[_, at, cpu]) => Event::Sample { at, cpu, stack: (first >> 8) as u32, ending: first as u8 },
            _ => return None,
        };
        Some((event, rest))
    }

    /// When it was over.
    pub(crate) fn end(self) -> u64 {
        match self {
            Event::Sleep(sleep) => sleep.runs_again,
            Event::Span { end, .. } => end,
            Event::Log { at, .. } | Event::Sample { at, .. } => at,
        }
    }
}

impl SleepEvent {
    /// So many bits of the serial are kept.
    pub(crate) const SERIAL_BITS: u32 = 12;
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn events_are_what_they_were() {
        let sleep = SleepEvent {
            begin: 1,
            ended: u64::MAX,
            runs_again: 3,
            by: u64::MAX - 1,
            name: 0xFFF,
            serial: (1 << SleepEvent::SERIAL_BITS) - 1,
            stack: u32::MAX,
        };
        let events = [
            Event::Sleep(sleep),
            Event::Sleep(SleepEvent { name: 0, serial: 0, ..sleep }),
            Event::Span { begin: 7, end: 9, name: u32::MAX },
            Event::Log { at: 5, level: u8::MAX, place: u32::MAX, text: u64::MAX },
            Event::Sample { at: 5, cpu: u64::MAX, stack: u32::MAX, ending: 3 },
        ];
        let mut words = Vec::new();
        events.iter().for_each(|event| words.extend_from_slice(event.words().as_slice()));
        let (mut read, mut rest) = (Vec::new(), &words[..]);
        while let Some((event, after)) = Event::read(rest) {
            read.push(event);
            rest = after;
        }
        assert_eq!(read, events);
        assert!(rest.is_empty());
        assert!(Event::read(&words[..3]).is_none() && Event::read(&[0xFF]).is_none());
        assert_eq!(events.map(Event::end), [3, 3, 9, 5, 5]);
    }
}
