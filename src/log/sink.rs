//! One appender behind a queue, and its records while it fails: they are held, tried again, and
//! counted when there is no room.
//!
//! Invariants
//! 1. A record is written once, held, or counted in `lost`.
//! 2. The beginning of a failure is reported once, and its end once.

use crate::os::counted::counted;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ::log::Level;
use log4rs::append::Append;

use super::console::Console;
use super::encode::{was_accepted, without_output};
use super::file::LogFile;
use super::output::Buffered;
use super::record::{Captured, encoding};
use super::tail;

/// After a failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After so many panics the record at which an appender panics is given up, so that the next ones
/// get their turn.
const MOST_PANICS: u32 = 5;
/// The pause for a FIFO whose reader is reading.
pub(super) const SHORT_PAUSE: Duration = Duration::from_millis(1);
/// The pause for a FIFO whose reader was reading, and has paused for a moment.
const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// A reader that has not read for this long has failed. A slow reader has not failed.
const SLOWEST: Duration = Duration::from_secs(5);
/// At shutdown, the log waits for a failing sink that still makes progress, and gives up after this
/// long without progress.
const STALLED_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sink {
    name: String,
    output: Output,
    failing: Option<Failing>,
    /// For appenders that are not of this crate: the records since it began to fail.
    held: VecDeque<Captured>,
    most_held: usize,
    /// The number of records that could not be held, not yet written into the log.
    lost: u64,
    /// The encoder refused the last record. Reported once, until it takes a record again.
    unencodable: bool,
    /// How often such an appender has panicked since it last took a record.
    panics: u32,
    /// Something was given to it since it was last flushed.
    dirty: bool,
}

/// Why a sink could not write all.
struct Failed {
    reason: String,
    /// An appender that is not of this crate has the record in its own buffer.
    accepted: bool,
}

/// An error of an appender that is not of this crate, and where the record is now.
struct Refused {
    reason: String,
    record: Refusal,
}

enum Refusal {
    Back(Box<Captured>),
    /// In the appender's own buffer, so it must not get the record again.
    InItsBuffer,
    /// The appender has panicked at it too often.
    GivenUp,
}

#[derive(Debug)]
pub(super) enum Output {
    File(Box<LogFile>),
    Console(Console),
    Other(Box<dyn Append>),
    #[cfg(all(test, not(selvedge_model)))]
    Panicking(super::sink_tests::Panicking),
}

impl Output {
    /// `None` for appenders that are not ours.
    fn buffered(&mut self) -> Option<&mut dyn Buffered> {
        match self {
            Output::File(file) => Some(&mut **file),
            Output::Console(console) => Some(console),
            Output::Other(_) => None,
            #[cfg(all(test, not(selvedge_model)))]
            Output::Panicking(output) => Some(output),
        }
    }
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    next_try: Instant,
    pause: Duration,
    /// When it last took a part of the buffer.
    last_progress: Option<Instant>,
    /// Its failure has been reported. Not while it still takes one part after the other.
    is_reported: bool,
    reason: String,
    /// The appender has its last record in its own buffer already.
    accepted: bool,
}

impl Sink {
    pub(super) fn new(name: &str, output: Output, most_held: usize) -> Sink {
        let name = name.to_owned();
        Sink {
            name,
            output,
            failing: None,
            held: VecDeque::new(),
            most_held,
            lost: 0,
            unencodable: false,
            panics: 0,
            dirty: false,
        }
    }

    /// Writes or holds the record. Returns whether it did, and a notice if the sink begins to fail
    /// or works again.
    pub(super) fn take(&mut self, captured: Captured) -> (bool, Option<String>) {
        // A file that is due is rolled before the record is added to it.
        let due = self.output.buffered().is_some_and(|file| file.is_due_before(&captured));
        let notice = if due && self.failing.is_none() { self.flush() } else { None };
        self.dirty = true;
        if let Some(file) = self.output.buffered() {
            let result = if file.asks_directly() {
                // AssertUnwindSafe: a half record is taken back.
                catch_unwind(AssertUnwindSafe(|| file.push_directly(&captured)))
            } else {
                let push = |captured: &Captured| captured.with_record(|record| file.push(record));
                encoding(captured, push, |_| false).0
            };
            let is_long = file.is_full() || file.is_long();
            return match flatten(result) {
                Ok(kept) => {
                    self.unencodable = false;
                    let write = kept && is_long && self.failing.is_none();
                    (kept, if write { notice.or(self.flush()) } else { notice })
                }
                // No later try could encode it.
                Err(reason) => {
                    let first = !std::mem::replace(&mut self.unencodable, true);
                    let notice = format!("the appender `{}` cannot encode a record: {reason}", self.name);
                    (false, first.then_some(notice))
                }
            };
        }
        if self.failing.is_some() || !self.held.is_empty() {
            return (self.hold(captured), None);
        }
        match self.append(captured) {
            Ok(()) => (true, None),
            Err(Refused { reason, record }) => {
                let accepted = matches!(record, Refusal::InItsBuffer);
                let kept = match record {
                    Refusal::Back(captured) => self.hold(*captured),
                    Refusal::InItsBuffer => true,
                    Refusal::GivenUp => false,
                };
                (kept, self.begin_failing(Failed { reason, accepted }))
            }
        }
    }

    fn append(&mut self, captured: Captured) -> Result<(), Refused> {
        let Output::Other(appender) = &self.output else { return Ok(()) };
        was_accepted();
        let append = |captured: &Captured| captured.with_record(|record| appender.append(record));
        let (result, captured) = encoding(captured, append, Result::is_err);
        let gives_up = gives_up(&mut self.panics, &result);
        if matches!(result, Ok(Ok(()))) {
            self.panics = 0;
        }
        flatten(result).map_err(|reason| {
            let record = match captured.filter(|_| !was_accepted()) {
                _ if gives_up => Refusal::GivenUp,
                Some(captured) => Refusal::Back(Box::new(captured)),
                None => Refusal::InItsBuffer,
            };
            Refused { reason, record }
        })
    }

    fn hold(&mut self, captured: Captured) -> bool {
        let room = self.held.len() < self.most_held;
        if room {
            self.held.push_back(captured);
        }
        room
    }

    pub(super) fn count_lost(&mut self, records: u64) {
        self.lost += records;
    }

    /// The number of lost records, once it can be written down where they are missing.
    pub(super) fn take_lost_if_well(&mut self) -> Option<u64> {
        let can_tell = self.lost > 0 && self.failing.is_none() && !self.unencodable;
        can_tell.then(|| std::mem::take(&mut self.lost))
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Returns `true` if its output is of this crate, and not an appender that may block.
    pub(super) fn is_ours(&self) -> bool {
        !matches!(self.output, Output::Other(_))
    }

    /// Returns `true` if something was given to it since it was last flushed.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// When it is tried again; `None` if it does not fail.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.next_try)
    }

    /// If it fails, the next flush tries it.
    pub(super) fn try_now(&mut self) {
        if let Some(failing) = &mut self.failing {
            failing.next_try = Instant::now();
        }
    }

    fn begin_failing(&mut self, Failed { reason, accepted }: Failed) -> Option<String> {
        let now = Instant::now();
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: now,
            next_try: now,
            pause: FIRST_PAUSE / 2,
            last_progress: None,
            is_reported: false,
            reason: String::new(),
            accepted: false,
        });
        failing.last_progress = self.output.buffered().and_then(|file| file.last_progress());
        // The time of a reader that was reading before the FIFO was full counts from then on.
        let idle = failing.last_progress.map(|last_progress| now - last_progress.max(failing.since));
        let is_reading = idle.is_some_and(|idle| idle < SLOWEST);
        failing.pause = if is_reading { FIRST_PAUSE / 2 } else { (failing.pause * 2).min(LONGEST_PAUSE) };
        failing.next_try = now
            + match idle {
                Some(idle) if idle < FIRST_PAUSE => SHORT_PAUSE,
                Some(idle) if idle < SLOWEST => IDLE_PAUSE,
                _ => failing.pause,
            };
        failing.accepted |= accepted;
        failing.reason = reason;
        if is_reading || std::mem::replace(&mut failing.is_reported, true) {
            return None;
        }
        let reason = &failing.reason;
        Some(format!("the appender `{}` fails: {reason}; its records are held and it is tried again", self.name))
    }

    /// Writes what is buffered, unless it fails and its time has not come.
    pub(super) fn flush(&mut self) -> Option<String> {
        if self.failing.as_ref().is_some_and(|failing| Instant::now() < failing.next_try) {
            return None;
        }
        self.dirty = false;
        match self.write_all() {
            Err(failed) => self.begin_failing(failed),
            Ok(()) => self.failing.take().filter(|failing| failing.is_reported).map(|failing| {
                format!("the appender `{}` works again, after {:.1?}", self.name, failing.since.elapsed())
            }),
        }
    }

    /// Writes what is buffered; then the held records, oldest first, up to the first refused
    /// record.
    fn write_all(&mut self) -> Result<(), Failed> {
        match self.output.buffered() {
            Some(file) => {
                // AssertUnwindSafe: what is not written is still in the buffer.
                let result = catch_unwind(AssertUnwindSafe(|| {
                    file.write_out().map_err(|error| anyhow::Error::msg(file.explain(&error)))
                }));
                return flatten(result).map_err(|reason| Failed { reason, accepted: false });
            }
            None => self.write_buffer_of_appender()?,
        }
        while let Some(captured) = self.held.pop_front() {
            if let Err(Refused { reason, record }) = self.append(captured) {
                let accepted = matches!(record, Refusal::InItsBuffer);
                match record {
                    // Back to its place, before later records.
                    Refusal::Back(captured) => self.held.push_front(*captured),
                    Refusal::InItsBuffer => {}
                    Refusal::GivenUp => self.give_up_a_record(),
                }
                return Err(Failed { reason, accepted });
            }
        }
        Ok(())
    }

    /// Has an appender that is not of this crate write what it has in its own buffer.
    fn write_buffer_of_appender(&mut self) -> Result<(), Failed> {
        let Output::Other(appender) = &self.output else { return Ok(()) };
        let failed = |reason| Failed { reason, accepted: true };
        if !self.failing.as_ref().is_some_and(|failing| failing.accepted) {
            let result = catch_unwind(AssertUnwindSafe(|| {
                appender.flush();
                Ok(())
            }));
            return if gives_up(&mut self.panics, &result) { Ok(()) } else { flatten(result).map_err(failed) };
        }
        // The last write of its buffer failed. An empty record makes it write the buffer again.
        let nothing = Captured::own(Level::Trace, "");
        let append = |nothing: &Captured| nothing.with_record(|record| appender.append(record));
        let (result, _) = without_output(|| encoding(nothing, append, |_| false));
        if gives_up(&mut self.panics, &result) {
            self.give_up_a_record();
        } else {
            flatten(result).map_err(failed)?;
        }
        if let Some(failing) = &mut self.failing {
            failing.accepted = false;
        }
        Ok(())
    }

    fn give_up_a_record(&mut self) {
        self.lost += 1;
        tail::count_lost(1);
    }

    /// Returns `true` if it fails, but has just taken a part.
    pub(super) fn makes_progress(&self) -> bool {
        let last_progress = self.failing.as_ref().and_then(|failing| failing.last_progress);
        last_progress.is_some_and(|last_progress| last_progress.elapsed() < STALLED_AFTER)
    }

    /// What it has not written, in words; `None` if it has written all.
    fn unwritten(&mut self) -> Option<String> {
        let lines = match self.output.buffered().map(|file| file.held()) {
            Some([]) => return None,
            Some(held) => held.iter().filter(|byte| **byte == b'\n').count().max(1),
            None if self.held.is_empty() => return None,
            None => return Some(format!("{} that it held", counted(self.held.len() as u64, "record"))),
        };
        Some(format!("{} that it held", counted(lines as u64, "line")))
    }

    /// What was lost and why, in words, at the end of the sink; `None` if all is written.
    pub(super) fn loss(&mut self) -> Option<String> {
        let unwritten = self.unwritten();
        if self.lost == 0 && (self.failing.is_none() || unwritten.is_none()) {
            return None;
        }
        let held = unwritten.as_deref().unwrap_or("nothing");
        let reason = self.failing.as_ref().map_or("it cannot encode them", |failing| &failing.reason);
        let (name, lost) = (&self.name, self.lost);
        Some(format!("selvedge: the appender `{name}` has failed: {reason}; lost: {held}, and {lost} more"))
    }

    /// Drops what it holds, which is told or not its own. It begins anew.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        (self.lost, self.failing, self.dirty) = (0, None, false);
        if let Some(file) = self.output.buffered() {
            file.forget();
        }
    }
}

/// Counts a panic. Returns `true` if the record at which the appender panics is to be given up.
fn gives_up<T>(panics: &mut u32, result: &std::thread::Result<T>) -> bool {
    *panics += u32::from(result.is_err());
    let too_many = *panics >= MOST_PANICS;
    if too_many {
        *panics = 0;
    }
    too_many
}

fn flatten<T>(result: std::thread::Result<anyhow::Result<T>>) -> Result<T, String> {
    match result {
        Ok(Ok(value)) => Ok(value),
        // One line, with what caused it.
        Ok(Err(error)) => Err(crate::yaml::plain(&format!("{error:#}"))),
        Err(payload) => {
            let message = crate::error::panic_message(&*payload);
            crate::error::drop_payload(payload);
            Err(format!("it panicked: {}", crate::yaml::plain(&message)))
        }
    }
}
