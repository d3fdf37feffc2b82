//! The rings of one thread. See the protocol in `mod.rs`.

use super::event::Event;
use super::ring::Ring;
use super::store::Store;
use crate::model::{AtomicU64, OnceLock};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// 2.5 KiB: sixty-four sleeps. In a model, two spans.
const FIRST: usize = if cfg!(all(test, selvedge_model)) { 6 } else { 320 };
/// 25 KiB: six hundred and forty sleeps. In a model, two spans.
const SECOND: usize = if cfg!(all(test, selvedge_model)) { 6 } else { 3200 };

/// What one thread writes its events into. Invariant: `first` is written only while `second` is not
/// made. So all of `first` is older than all of `second`.
pub(crate) struct Rings {
    /// The thread's number in the store.
    thread: u64,
    first: Ring<FIRST>,
    /// Made by the writer, when `first` was full.
    second: OnceLock<Box<Ring<SECOND>>>,
    /// Events for which there was no room. Relaxed: a count, stored by the writer.
    lost: AtomicU64,
    store: Arc<Store>,
}

impl Rings {
    /// For the thread of that number in `store`.
    pub(crate) fn new(thread: u64, store: Arc<Store>) -> Rings {
        Rings { thread, first: Ring::default(), second: OnceLock::new(), lost: AtomicU64::new(0), store }
    }

    /// Writes an event. For the one writer, which does not wait.
    #[inline]
    pub(crate) fn write(&self, event: Event) {
        let words = event.words();
        let is_written = match self.second.get() {
            None => self.first.write(words.as_slice()),
            Some(second) => second.write(words.as_slice()),
        };
        if !is_written {
            self.write_if_possible(words.as_slice());
        }
    }

    #[cold]
    fn write_if_possible(&self, words: &[u64]) {
        let second = self.second.get_or_init(Box::default);
        if !second.write(words) {
            // The writer is the reader as well, while it holds the store's lock.
            let is_written = self.store.try_read(self.thread, |words| self.take(words)) && second.write(words);
            if !is_written {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Moves the events into the store. Blocks while another thread reads rings: for some
    /// microseconds.
    pub(crate) fn drain(&self) {
        self.store.read(self.thread, |words| self.take(words));
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Returns `true` if there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.second.get().is_none_or(|second| second.is_empty())
    }

    /// How many events were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The words for which there is memory.
    #[cfg(all(test, not(selvedge_model)))]
    pub(super) fn words(&self) -> usize {
        FIRST + self.second.get().map_or(0, |_| SECOND)
    }

    /// Appends the words of all events to `words`, the oldest first. For the one reader: the caller
    /// holds the store's lock.
    fn take(&self, words: &mut Vec<u64>) {
        // Before `first`: a reader that finds `second` sees everything that was written into `first`.
        let second = self.second.get();
        self.first.take(words);
        if let Some(second) = second {
            second.take(words);
        }
    }
}
