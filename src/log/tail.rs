//! The last records of all threads, for a person that looks at the running program from outside,
//! and the counts of records. Kept only while the runtime asks for it.
//!
//! Reading waits for no appender: a log that hangs shows what came before.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::log::Level;

use super::record::{Captured, Time};
use super::tail_record::TailRecord;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;

/// How many records are kept.
const KEPT: usize = 1000;

/// Longer messages are cut.
const LONGEST: usize = 500;

#[derive(Default)]
struct Tail {
    records: VecDeque<TailRecord>,
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
        Tail { records: VecDeque::new(), count: 0 }
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
    let mut end = message.len().min(LONGEST);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let record = TailRecord {
        time: (time.seconds, time.nanos),
        level,
        target: target.to_owned(),
        thread: thread.to_owned(),
        message: message[..end].to_owned(),
    };
    let mut tail = TAIL.lock();
    tail.count += 1;
    let oldest = if tail.records.len() < KEPT { None } else { tail.records.pop_front() };
    tail.records.push_back(record);
    drop(tail);
    drop(oldest);
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
