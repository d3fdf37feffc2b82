//! The last records of all threads, for a person that looks at the running program from outside,
//! and the counts of records. Kept only while the runtime asks for it.
//!
//! Reading waits for no appender: a log that hangs shows what came before.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::log::Level;

use super::recent::{cut, mark};
use super::record::{Captured, Time};
use super::tail_record::TailRecord;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;

/// How many records are kept at most.
const KEPT: usize = 1000;

/// How many bytes their messages have at most, all together.
const KEPT_BYTES: usize = 500 * KEPT;

/// Longer messages are cut, and say so. The report of a deadlock with its stacks has 1 to 3 KiB.
const LONGEST: usize = 4096;

#[derive(Default)]
struct Tail {
    records: VecDeque<TailRecord>,
    /// The lengths of their messages.
    bytes: usize,
    /// How many records have come.
    count: u64,
}

/// | value | means                  | set by                              |
/// |-------|------------------------|-------------------------------------|
/// | false | no record is kept      | the end of the inspection           |
/// | true  | each record is kept    | the start of the inspection         |
///
/// Relaxed: a record more or less is kept.
static IS_KEPT: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);
static TAIL: PerProcess<Mutex<Tail>> = PerProcess::new(Mutex::new(Tail::new()), Mutex::default);
/// By level, from ERROR to TRACE. Relaxed, as the next: they count and guard nothing.
static COUNTS: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];
static LOST: AtomicU64 = AtomicU64::new(0);

impl Tail {
    const fn new() -> Tail {
        Tail { records: VecDeque::new(), bytes: 0, count: 0 }
    }

    /// The oldest record, if there is more than may be kept.
    fn surplus(&mut self) -> Option<TailRecord> {
        if self.records.len() <= KEPT && self.bytes <= KEPT_BYTES {
            return None;
        }
        let oldest = self.records.pop_front()?;
        self.bytes -= oldest.message.len();
        Some(oldest)
    }
}

/// From now on each record is kept, or none.
pub(crate) fn keep_tail(wanted: bool) {
    IS_KEPT.store(wanted, Ordering::Relaxed);
    if !wanted {
        let forgotten = std::mem::take(&mut *TAIL.lock());
        drop(forgotten);
    }
}

/// A record that the levels let pass.
pub(super) fn note(captured: &Captured) {
    if IS_KEPT.load(Ordering::Relaxed) {
        let thread = captured.thread().unwrap_or_default();
        keep(captured.time(), captured.level, captured.target(), thread, captured.message());
    }
}

/// The same on the logging thread, of a record that is not captured.
pub(super) fn note_parts(time: Time, level: Level, target: &str, message: &str) {
    if IS_KEPT.load(Ordering::Relaxed) {
        keep(time, level, target, &crate::wait::my_path(), message);
    }
}

fn keep(time: Time, level: Level, target: &str, thread: &str, message: &str) {
    COUNTS[level as usize - 1].fetch_add(1, Ordering::Relaxed);
    let record = TailRecord {
        time: (time.seconds, time.nanos),
        level,
        target: target.to_owned(),
        thread: thread.to_owned(),
        message: shortened(message),
    };
    let mut tail = TAIL.lock();
    tail.count += 1;
    tail.bytes += record.message.len();
    tail.records.push_back(record);
    // Dropped without the lock. A long record may take the place of several short ones.
    while let Some(oldest) = tail.surplus() {
        drop(tail);
        drop(oldest);
        tail = TAIL.lock();
    }
}

/// What is kept of a message.
fn shortened(message: &str) -> String {
    let (kept, left_out) = cut(message, LONGEST);
    format!("{kept}{}", mark(left_out))
}

/// Records that the log could not keep.
pub(super) fn count_lost(records: u64) {
    LOST.fetch_add(records, Ordering::Relaxed);
}

/// The last `most` of the records that came after the first `seen` ones and are at least as severe
/// as `level`, the oldest first; and how many have come up to now.
pub(crate) fn tail(seen: u64, level: Level, most: usize) -> (Vec<TailRecord>, u64) {
    let tail = TAIL.lock();
    let new = usize::try_from(tail.count.saturating_sub(seen)).unwrap_or(usize::MAX);
    let wanted = |record: &&TailRecord| record.level <= level;
    let mut records: Vec<_> = tail.records.iter().rev().take(new).filter(wanted).take(most).cloned().collect();
    records.reverse();
    (records, tail.count)
}

/// How many records there were, by level from ERROR to TRACE, and how many were lost.
pub(crate) fn counts() -> ([u64; 5], u64) {
    (std::array::from_fn(|at| COUNTS[at].load(Ordering::Relaxed)), LOST.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(lengths: impl IntoIterator<Item = usize>) -> Tail {
        let mut tail = Tail::new();
        for length in lengths {
            let (target, thread) = (String::new(), String::new());
            let message = "x".repeat(length);
            tail.bytes += length;
            tail.records.push_back(TailRecord { time: (0, 0), level: Level::Info, target, thread, message });
            while tail.surplus().is_some() {}
        }
        tail
    }

    #[test]
    fn a_cut_message_says_so() {
        let report = format!("{}ü{}", "x".repeat(LONGEST - 1), "y".repeat(10));
        assert_eq!(shortened(&report), format!("{} … cut (12 more bytes)", "x".repeat(LONGEST - 1)));
        assert_eq!(shortened(&report[..LONGEST - 1]), report[..LONGEST - 1]);
        let deadlock = "  at service::Bank::deposit (src/main.rs:57)\n".repeat(40);
        assert_eq!(shortened(&deadlock), deadlock, "a report with its stacks is whole");
    }

    #[test]
    fn many_records_and_long_ones_are_bounded() {
        let short = tail_of([10; KEPT + 5]);
        assert_eq!((short.records.len(), short.bytes), (KEPT, 10 * KEPT));
        let long = tail_of([LONGEST; 200]);
        assert_eq!((long.records.len(), long.bytes), (KEPT_BYTES / LONGEST, KEPT_BYTES / LONGEST * LONGEST));
        let mixed = tail_of([500; KEPT].into_iter().chain([LONGEST]));
        assert_eq!(mixed.records.len(), KEPT - 8, "the long record takes the place of nine");
        assert!(mixed.bytes <= KEPT_BYTES);
    }
}
