//! The spans of one OS thread: for each name its calls and times, and the spans that are open. Its
//! thread writes, without a lock; any thread may take a copy. Knows no recording and no clock:
//! times are ticks, which the caller reads.
//!
//! Models: `loom_spans_*` in `loom_tests.rs`.
//!
//! Invariants
//! 1. One writer: the thread itself.
//! 2. From `top`, along `below`, each open frame is found once, the innermost first. Frames that
//!    are not open are in `free`, or were never used.
//! 3. What `copy` reads changes in `close` alone, but for `top`. `close` changes it while
//!    `version` is odd. `open` writes a frame that no other thread can find, and then `top`.
//! 4. Of the frames with one name, an open one counts the total time: recursion is counted
//!    once.

use super::names::Names;
use crate::model::{AtomicU64, fence};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64 as OwnWord, Ordering};

/// Frames that each thread has from the beginning. The next level has twice as many, and so on.
const FIRST: usize = if cfg!(all(test, selvedge_model)) { 2 } else { 32 };
/// The further levels.
const LEVELS: usize = if cfg!(all(test, selvedge_model)) { 1 } else { 7 };
/// Spans of one thread that may be open at a time.
pub(super) const MAX_OPEN: usize = FIRST * ((2 << LEVELS) - 1);

/// A span that is not timed, since too many are open.
pub(super) const UNTIMED: u32 = u32::MAX;

pub(super) struct ThreadSpans {
    /// The recording that it belongs to.
    pub(super) session: u64,
    names: Names,
    /// By the numbers that `names` gives.
    entries: Box<[Entry]>,
    first: [Frame; FIRST],
    more: [OnceLock<Box<[Frame]>>; LEVELS],
    /// The innermost open frame, as a [`Link`].
    ///
    /// Stored by the thread: with Release in `open`, so that a reader that loads it with Acquire
    /// finds the frame written; in `close` under `version`.
    top: AtomicU64,
    /// | value | means |
    /// |-------|-------|
    /// | even  | `close` is not at work |
    /// | odd   | `close` changes frames and entries |
    ///
    /// Stored by the thread only, and grows with each close.
    version: AtomicU64,
    /// A reader found no moment without a `close`: the thread answers after the next one. Relaxed:
    /// the lock of `answer` orders the copy.
    asked: AtomicBool,
    answer: crate::model::locks::Mutex<Option<Vec<Row>>>,
    /// Frames to use again, as a list along `below`. The thread's own, like the next one.
    free: OwnWord,
    /// Frames that were ever used.
    used: OwnWord,
    /// Spans that were not timed. Relaxed: a count.
    untimed: OwnWord,
}

/// The place of a frame, plus one; 0: none.
type Link = u64;

/// The spans with one name that were closed.
#[derive(Default)]
struct Entry {
    calls: AtomicU64,
    own: AtomicU64,
    total: AtomicU64,
    longest: AtomicU64,
    /// The open ones. The thread's own.
    open: OwnWord,
}

/// An open span.
#[derive(Default)]
struct Frame {
    entry: AtomicU64,
    begin: AtomicU64,
    /// From when its time is the inner time of the frame below it: its begin, or the end of a span
    /// around it that was closed before it.
    since: AtomicU64,
    /// From when it counts the total time of its name; 0: another frame does.
    total_since: AtomicU64,
    /// The time of spans in it that were closed.
    inner: AtomicU64,
    /// The frame around it, as a [`Link`]; of a free frame, the next free one.
    below: AtomicU64,
    /// Its begin on the clock of `wait::nanos`; 0: no recording wants to know when it was. The thread's own.
    traced: OwnWord,
}

/// What was counted under one name, with the open spans up to now. Times are ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) path: Arc<str>,
    pub(super) calls: u64,
    pub(super) own: u64,
    pub(super) total: u64,
    pub(super) longest: u64,
}

// Relaxed throughout, unless said otherwise: the thread itself sees what it has stored, and `copy`
// says what orders its loads.
const RELAXED: Ordering = Ordering::Relaxed;

/// The level of the frame at that place, which is not among the first.
fn level(place: usize) -> usize {
    (place / FIRST + 1).ilog2() as usize
}

fn frames(level: usize) -> Box<[Frame]> {
    (0..FIRST << level).map(|_| Frame::default()).collect()
}

fn add(word: &AtomicU64, more: u64) {
    word.store(word.load(RELAXED) + more, RELAXED);
}

fn add_own(word: &OwnWord, more: i64) -> u64 {
    let before = word.load(RELAXED);
    word.store(before.wrapping_add_signed(more), RELAXED);
    before
}

impl ThreadSpans {
    pub(super) fn new(session: u64, path: Arc<str>, path_change: u64) -> ThreadSpans {
        ThreadSpans {
            session,
            names: Names::new(path, path_change),
            entries: (0..Names::MAX).map(|_| Entry::default()).collect(),
            first: std::array::from_fn(|_| Frame::default()),
            more: std::array::from_fn(|_| OnceLock::new()),
            top: AtomicU64::new(0),
            version: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            answer: crate::model::locks::Mutex::new(None),
            free: OwnWord::new(0),
            used: OwnWord::new(0),
            untimed: OwnWord::new(0),
        }
    }

    /// The names of its spans.
    #[inline(always)]
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Spans that were counted and not timed.
    pub(super) fn untimed(&self) -> u64 {
        self.untimed.load(RELAXED)
    }

    #[inline(always)]
    fn frame(&self, place: usize) -> &Frame {
        if place < FIRST { &self.first[place] } else { self.frame_above(place) }
    }

    #[cold]
    fn frame_above(&self, place: usize) -> &Frame {
        let level = level(place);
        &self.more[level - 1].get_or_init(|| frames(level))[place - FIRST * ((1 << level) - 1)]
    }

    fn has_frame(&self, place: usize) -> bool {
        self.more.get(level(place) - 1).is_some_and(|frames| frames.get().is_some())
    }

    /// Opens a span after making more frames. Without them, the span is not timed.
    #[cold]
    fn open_with_more(&self, entry: usize, now: impl FnOnce() -> u64) -> u32 {
        match self.more.iter().position(|frames| frames.get().is_none()) {
            Some(index) => {
                // Before a place is taken: an allocator may open spans.
                let frames = frames(index + 1);
                let _ = self.more[index].set(frames);
                self.open(entry, now)
            }
            None => self.count_untimed(entry),
        }
    }

    /// Opens a span with that name, given by its number, and returns its place. By the thread
    /// itself.
    #[inline(always)]
    pub(super) fn open(&self, entry: usize, now: impl FnOnce() -> u64) -> u32 {
        let (free, used) = (self.free.load(RELAXED), self.used.load(RELAXED));
        let place = if free != 0 { free - 1 } else { used };
        if place as usize >= FIRST && !self.has_frame(place as usize) {
            return self.open_with_more(entry, now);
        }
        let frame = self.frame(place as usize);
        if free != 0 {
            self.free.store(frame.below.load(RELAXED), RELAXED);
        } else {
            self.used.store(used + 1, RELAXED);
        }
        let is_outermost = add_own(&self.entries[entry].open, 1) == 0;
        frame.entry.store(entry as u64, RELAXED);
        frame.inner.store(0, RELAXED);
        frame.traced.store(0, RELAXED);
        frame.below.store(self.top.load(RELAXED), RELAXED);
        let now = now();
        frame.begin.store(now, RELAXED);
        frame.since.store(now, RELAXED);
        frame.total_since.store(if is_outermost { now } else { 0 }, RELAXED);
        self.top.store(place + 1, Ordering::Release);
        place as u32
    }

    #[cold]
    fn count_untimed(&self, entry: usize) -> u32 {
        add(&self.entries[entry].calls, 1);
        add_own(&self.untimed, 1);
        UNTIMED
    }

    /// A recording wants to know when the open span at that place was. `begin`: by the clock of
    /// `wait::nanos`. By the thread itself.
    #[cold]
    pub(super) fn trace(&self, place: u32, begin: u64) {
        if place != UNTIMED {
            self.frame(place as usize).traced.store(begin, RELAXED);
        }
    }

    /// The begin and the name of the open span at that place, if a recording wants to know when it
    /// was. By the thread itself.
    #[inline(always)]
    pub(super) fn traced(&self, place: u32) -> Option<(u64, &'static str)> {
        let frame = self.frame(place as usize);
        let begin = frame.traced.load(RELAXED);
        (begin != 0).then(|| (begin, self.names.name(frame.entry.load(RELAXED) as usize)))
    }

    /// Closes the span at that place, which [`open`](Self::open) has returned. By the thread
    /// itself.
    #[inline(always)]
    pub(super) fn close(&self, place: u32, now: u64) {
        let (link, frame) = (u64::from(place) + 1, self.frame(place as usize));
        let entry = &self.entries[frame.entry.load(RELAXED) as usize];
        let version = self.version.load(RELAXED);
        self.version.store(version + 1, RELAXED);
        // Release: a reader that sees a store below sees the odd version too.
        fence(Ordering::Release);
        let below = frame.below.load(RELAXED);
        if self.top.load(RELAXED) == link {
            self.top.store(below, RELAXED);
        } else {
            self.unlink(link, frame, below, now);
        }
        let took = now.saturating_sub(frame.begin.load(RELAXED));
        add(&entry.calls, 1);
        add(&entry.own, took.saturating_sub(frame.inner.load(RELAXED)));
        if took > entry.longest.load(RELAXED) {
            entry.longest.store(took, RELAXED);
        }
        let is_last = add_own(&entry.open, -1) == 1;
        let total_since = frame.total_since.load(RELAXED);
        if total_since != 0 {
            add(&entry.total, now.saturating_sub(total_since));
            if !is_last {
                self.pass_total_on(frame.entry.load(RELAXED), now);
            }
        }
        if below != 0 {
            let outer = self.frame(below as usize - 1);
            add(&outer.inner, now.saturating_sub(frame.since.load(RELAXED)));
        }
        frame.below.store(self.free.load(RELAXED), RELAXED);
        self.free.store(link, RELAXED);
        // Release: a reader that sees this version with Acquire sees all of the above.
        self.version.store(version + 2, Ordering::Release);
        if self.asked.load(RELAXED) {
            self.reply(now);
        }
    }

    /// Takes a frame out that is not the innermost: its span ends before a span in it. From now on
    /// that one is in the span around both.
    #[cold]
    fn unlink(&self, link: Link, frame: &Frame, below: Link, now: u64) {
        let mut above = self.top.load(RELAXED);
        while above != 0 {
            let inner = self.frame(above as usize - 1);
            let next = inner.below.load(RELAXED);
            if next == link {
                add(&frame.inner, now.saturating_sub(inner.since.load(RELAXED)));
                inner.since.store(now, RELAXED);
                inner.below.store(below, RELAXED);
                return;
            }
            above = next;
        }
    }

    /// The frame that counted the total time of that name is closed, and another one is open.
    #[cold]
    fn pass_total_on(&self, entry: u64, now: u64) {
        let mut above = self.top.load(RELAXED);
        while above != 0 {
            let frame = self.frame(above as usize - 1);
            if frame.entry.load(RELAXED) == entry {
                return frame.total_since.store(now, RELAXED);
            }
            above = frame.below.load(RELAXED);
        }
    }

    /// Closes all open spans. By the thread itself.
    pub(super) fn close_all(&self, now: u64) {
        while let Some(place) = self.top.load(RELAXED).checked_sub(1) {
            self.close(place as u32, now);
        }
    }

    #[cold]
    fn reply(&self, now: u64) {
        self.asked.store(false, RELAXED);
        // The thread itself is in no `close`.
        let copy = self.try_copy(now);
        *self.answer.lock() = copy;
    }

    /// What was counted up to `now`. `None`: the thread closed spans meanwhile; try again, or
    /// [`ask`](Self::ask).
    pub(super) fn try_copy(&self, now: u64) -> Option<Vec<Row>> {
        // Acquire: with the Release at the end of `close`, all that closes before this version did
        // is seen.
        let version = self.version.load(Ordering::Acquire);
        if version % 2 == 1 {
            return None;
        }
        // Acquire: the frame was written before its link was stored.
        let mut link = self.top.load(Ordering::Acquire);
        let mut open = Vec::new();
        let mut inner_since = None;
        while link != 0 && open.len() <= MAX_OPEN {
            let frame = self.frame(link as usize - 1);
            let took = now.saturating_sub(frame.begin.load(RELAXED));
            let inner = inner_since.map_or(0, |since| now.saturating_sub(since)) + frame.inner.load(RELAXED);
            let total = match frame.total_since.load(RELAXED) {
                0 => 0,
                since => now.saturating_sub(since),
            };
            open.push((frame.entry.load(RELAXED), took, took.saturating_sub(inner), total));
            inner_since = Some(frame.since.load(RELAXED));
            link = frame.below.load(RELAXED);
        }
        let row = |((name, path), entry): ((&'static str, Arc<str>), &Entry)| Row {
            name,
            path,
            calls: entry.calls.load(RELAXED),
            own: entry.own.load(RELAXED),
            total: entry.total.load(RELAXED),
            longest: entry.longest.load(RELAXED),
        };
        let mut rows: Vec<Row> = self.names.all().into_iter().zip(&self.entries).map(row).collect();
        // Acquire: with the Release in `close`. If a load above saw a store of a later close, the
        // load below sees its odd version, or a later one.
        fence(Ordering::Acquire);
        if self.version.load(RELAXED) != version {
            return None;
        }
        for (entry, took, own, total) in open {
            if let Some(row) = rows.get_mut(entry as usize) {
                row.calls += 1;
                row.own += own;
                row.total += total;
                row.longest = row.longest.max(took);
            }
        }
        rows.retain(|row| row.calls > 0);
        Some(rows)
    }

    /// Asks the thread for a copy, which it makes after its next `close`.
    pub(super) fn ask(&self) {
        self.asked.store(true, RELAXED);
    }

    /// The copy that the thread has made.
    pub(super) fn take_answer(&self) -> Option<Vec<Row>> {
        self.answer.lock().take()
    }
}
