//! What was read from the rings of all threads, as words, in bounded memory: the newest is kept.
//!
//! Invariants
//! 1. `bytes` is the size of `pieces`, and at most [`BUDGET`] after each call. So a recording of a
//!    week has no more than a recording of minutes.
//! 2. Each event that was read is in `pieces`, or is counted in `forgotten` and was over by
//!    `forgotten_until`. So every later event is known.

use super::event::Event;
use super::places::Places;
use super::texts::Texts;
use crate::model::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Memory of the events that are kept: 800,000 sleeps.
const BUDGET: usize = 32 << 20;

/// What a piece takes besides its words.
const OVERHEAD: usize = 64;

/// The events of one recording.
pub(crate) struct Store {
    kept: Mutex<Kept>,
    places: Mutex<Places>,
    texts: Mutex<Texts>,
    budget: usize,
}

#[derive(Default)]
struct Kept {
    /// The oldest first.
    pieces: VecDeque<Piece>,
    bytes: usize,
    forgotten: u64,
    forgotten_until: u64,
    /// Ended threads whose ends were forgotten since the last call of `take_forgotten_threads`.
    forgotten_threads: Vec<u64>,
    /// For reading rings.
    buffer: Vec<u64>,
}

#[derive(Clone)]
struct Piece {
    thread: u64,
    what: What,
}

#[derive(Clone)]
enum What {
    /// Events of the thread, in words.
    Events(Arc<[u64]>),
    /// The thread has ended, and its caller keeps so many bytes for it.
    Ended { at: u64, bytes: usize },
}

/// A copy of the events in a store.
pub(crate) struct Contents {
    pieces: Vec<Piece>,
    /// Up to here events were forgotten; 0 if none were.
    pub(crate) forgotten_until: u64,
    /// How many events were forgotten.
    pub(crate) forgotten: u64,
    /// The texts of places by their numbers.
    pub(crate) places: Vec<Arc<str>>,
    texts: Texts,
}

impl Default for Store {
    fn default() -> Store {
        Store::with_budget(BUDGET)
    }
}

impl Store {
    pub(super) fn with_budget(budget: usize) -> Store {
        Store { kept: Mutex::default(), places: Mutex::default(), texts: Mutex::default(), budget }
    }

    /// Keeps the words that `take` appends to its argument, as events of that thread. No other thread
    /// is in such a call meanwhile. Blocks while another thread is: for some microseconds.
    pub(super) fn read(&self, thread: u64, take: impl FnOnce(&mut Vec<u64>)) {
        self.read_into(&mut self.kept.lock(), thread, take);
    }

    /// The same if no other thread is in such a call now. Returns `false` otherwise.
    pub(super) fn try_read(&self, thread: u64, take: impl FnOnce(&mut Vec<u64>)) -> bool {
        let kept = self.kept.try_lock();
        kept.is_some_and(|mut kept| {
            self.read_into(&mut kept, thread, take);
            true
        })
    }

    fn read_into(&self, kept: &mut Kept, thread: u64, take: impl FnOnce(&mut Vec<u64>)) {
        let mut buffer = std::mem::take(&mut kept.buffer);
        take(&mut buffer);
        if !buffer.is_empty() {
            self.keep(kept, thread, What::Events(buffer.as_slice().into()));
            buffer.clear();
        }
        kept.buffer = buffer;
    }

    /// Adds events of a thread that another ring had.
    pub(crate) fn add(&self, thread: u64, events: impl Iterator<Item = Event>) {
        let mut words = Vec::new();
        events.for_each(|event| words.extend_from_slice(event.words().as_slice()));
        if !words.is_empty() {
            self.keep(&mut self.kept.lock(), thread, What::Events(words.into()));
        }
    }

    /// The thread has ended; its events were read. The caller keeps `bytes` for it until the thread is
    /// among [`take_forgotten_threads`](Self::take_forgotten_threads).
    pub(crate) fn end(&self, thread: u64, at: u64, bytes: usize) {
        self.keep(&mut self.kept.lock(), thread, What::Ended { at, bytes });
    }

    /// Ended threads of which nothing is kept any more.
    pub(crate) fn take_forgotten_threads(&self) -> Vec<u64> {
        std::mem::take(&mut self.kept.lock().forgotten_threads)
    }

    /// The number of a line in a file, for events.
    pub(crate) fn place(&self, file: &str, line: u32) -> u32 {
        self.places.lock().number(file, line)
    }

    /// The number of a log record's text, for events.
    pub(crate) fn text(&self, text: &str) -> u64 {
        self.texts.lock().add(text)
    }

    /// A copy of the kept events. Events that are still in rings are not in it.
    pub(crate) fn contents(&self) -> Contents {
        let (pieces, forgotten_until, forgotten) = {
            let kept = self.kept.lock();
            (kept.pieces.iter().cloned().collect(), kept.forgotten_until, kept.forgotten)
        };
        let (places, texts) = (self.places.lock().texts(), self.texts.lock().clone());
        Contents { pieces, forgotten_until, forgotten, places, texts }
    }

    /// No thread can read rings until the guard drops.
    #[cfg(all(test, not(selvedge_model)))]
    pub(super) fn block(&self) -> impl Sized {
        self.kept.lock()
    }

    #[cfg(all(test, not(selvedge_model)))]
    pub(super) fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    fn keep(&self, kept: &mut Kept, thread: u64, what: What) {
        let piece = Piece { thread, what };
        kept.bytes += piece.bytes();
        kept.pieces.push_back(piece);
        while kept.bytes > self.budget
            && let Some(oldest) = kept.pieces.pop_front()
        {
            kept.bytes -= oldest.bytes();
            kept.forget(&oldest);
        }
    }
}

impl Kept {
    fn forget(&mut self, piece: &Piece) {
        match piece.what {
            What::Events(_) => piece.each(|event| {
                self.forgotten += 1;
                self.forgotten_until = self.forgotten_until.max(event.end());
            }),
            What::Ended { at, .. } => {
                self.forgotten_threads.push(piece.thread);
                self.forgotten_until = self.forgotten_until.max(at);
            }
        }
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        OVERHEAD
            + match &self.what {
                What::Events(words) => size_of_val::<[u64]>(words),
                What::Ended { bytes, .. } => *bytes,
            }
    }

    fn each(&self, mut each: impl FnMut(Event)) {
        let What::Events(words) = &self.what else { return };
        let mut rest = &words[..];
        while let Some((event, after)) = Event::read(rest) {
            each(event);
            rest = after;
        }
    }
}

impl Contents {
    /// The text with that number. `None`: it is not kept any more.
    pub(crate) fn text(&self, number: u64) -> Option<Arc<str>> {
        self.texts.get(number).cloned()
    }

    /// Calls `each` with each thread's number and event. The events of one ring come in their order.
    pub(crate) fn each(&self, mut each: impl FnMut(u64, Event)) {
        self.pieces.iter().for_each(|piece| piece.each(|event| each(piece.thread, event)));
    }
}
