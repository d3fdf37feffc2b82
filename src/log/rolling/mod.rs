//! Rolling files, with the keys and the meaning of log4rs's `rolling_file`, except where log4rs
//! destroys data: when a file is due (`calendar`), what becomes of it (`archive`), and what is
//! remembered of its path. `file` writes and reopens the file.

mod archive;
mod calendar;
#[cfg(test)]
mod calendar_tests;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::locks::{Mutex, MutexGuard};

use self::calendar::{Local, Schedule};
use self::policy::Trigger;
use super::record::Time;
use crate::os::fork::PerProcess;
use crate::os::log_file;
use crate::os::tell::remark;
use crate::yaml::plain_path;

pub(super) use self::archive::{can_compress, compression, real, uncompressed};
pub(super) use self::policy::{CENTURY, Policy, is_limit_zero, is_trigger};

/// The pause after a roll that failed. Doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause while another process rolls the file.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// A roll by another process takes no longer.
const LONGEST_LOCK: Duration = Duration::from_secs(5);
/// How many different causes of one failure are reported.
const MOST_CAUSES: usize = 8;

/// The part of a rolling log file that knows when and how it is rolled.
#[derive(Debug)]
pub(super) struct Rolling {
    policy: Policy,
    memory: Shared,
    /// Of the rolls of this path in this process, how many the open file has seen.
    seen: u64,
}

/// Of one path. A forked child begins with nothing known: a thread that is not there may have been
/// in the middle of a roll, which is the parent's.
type Shared = Arc<PerProcess<Mutex<Memory>>>;

/// What is known of a path as long as the process runs. Shared by two appenders after a reload,
/// which opens the file again while the old appender may still write to it.
#[derive(Debug, Default)]
struct Memory {
    schedule: Option<Schedule>,
    /// The file that was there at the start has been rolled, or need not be.
    started: bool,
    due: bool,
    /// The time of the record for which it was due.
    due_at: i64,
    rolls: u64,
    next_try: Option<Instant>,
    /// Since then another process has the lock of the file.
    locked: Option<Instant>,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    pause: Duration,
    causes: Vec<String>,
}

/// What became of a file that was due.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The open file has become an archive, or was deleted.
    Rolled,
    /// Not by this roll, the open file is no longer the one at the path.
    Moved,
    /// The open file is still the file at the path.
    Kept,
}

type Known = Mutex<BTreeMap<PathBuf, Shared>>;

static KNOWN: PerProcess<Known> = PerProcess::new(Mutex::new(BTreeMap::new()), Known::default);

impl Rolling {
    /// For the file at `path`. With `reload` the program has started before: what is known of the
    /// path still holds.
    pub(super) fn new(policy: Policy, path: &Path, reload: bool) -> Rolling {
        let memory = {
            let mut known = KNOWN.lock();
            if !reload {
                known.remove(path);
            }
            known.entry(path.to_owned()).or_default().clone()
        };
        let mut rolling = Rolling { policy, memory, seen: 0 };
        rolling.seen = rolling.rolls();
        rolling
    }

    /// What is known of the path, with the schedule of this policy.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock();
        match self.policy.trigger {
            Trigger::Time { interval, delay } => {
                if !memory.schedule.is_some_and(|schedule| schedule.has(interval, delay)) {
                    memory.schedule = Some(Schedule::new(interval, delay, &Local, Time::now().seconds));
                }
            }
            Trigger::Size(_) | Trigger::Start(_) => memory.schedule = None,
        }
        memory
    }

    /// How often the path has been rolled in this process.
    pub(super) fn rolls(&self) -> u64 {
        self.memory().rolls
    }

    /// The file has been opened again, and has `length` bytes; before, there had been so many rolls.
    pub(super) fn reopened(&mut self, rolls: u64, length: u64) {
        self.seen = rolls;
        // The archive may have been written on, and be too long.
        if matches!(self.policy.trigger, Trigger::Size(limit) if length <= limit) {
            self.memory().due = false;
        }
    }

    /// The file has been opened for the first time, and has `length` bytes. Returns `true` if they
    /// belong into an archive of their own, so that the file must not be emptied before.
    pub(super) fn opened(&mut self, length: u64) -> bool {
        let mut memory = self.memory();
        let first = !std::mem::replace(&mut memory.started, true);
        if let (true, Trigger::Start(least)) = (first, self.policy.trigger) {
            memory.due = length >= least;
        }
        memory.due
    }

    /// Another appender of this process has rolled the path since the file was opened.
    pub(super) fn is_outdated(&self) -> bool {
        self.rolls() != self.seen
    }

    /// Returns `true` if the file, which has `length` bytes, is to be rolled before a record of
    /// this time.
    pub(super) fn is_due_at(&mut self, time: Time, length: u64) -> bool {
        let mut memory = self.memory();
        if let Some(schedule) = &mut memory.schedule
            && schedule.is_due(&Local, time.seconds, || Time::now().seconds)
        {
            if length > 0 {
                (memory.due, memory.due_at) = (true, time.seconds);
            } else {
                // There is nothing to keep; an empty archive would push an old one out.
                schedule.rolled(&Local, time.seconds);
            }
        }
        memory.is_ready()
    }

    /// Returns `true` if the file, which has `length` bytes now, is to be rolled before the next
    /// record.
    pub(super) fn is_full(&mut self, length: u64) -> bool {
        let Trigger::Size(limit) = self.policy.trigger else { return false };
        let mut memory = self.memory();
        memory.due |= length > limit;
        memory.is_ready()
    }

    /// Rolls the file at `path` if that is due. `identity` is that of the open file.
    pub(super) fn roll(&mut self, path: &Path, identity: Option<(u64, u64)>) -> Outcome {
        let mut memory = self.memory();
        if !memory.is_ready() {
            return Outcome::Kept;
        }
        let is_ours = || is_ours(path, identity);
        // Opened anew: a child process may share the file description that is written to, and its
        // lock with it.
        let lock = OpenOptions::new().append(true).open(path);
        match (is_ours(), &lock) {
            (Ok(Some(true)), Ok(file)) => match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    memory.wait(path);
                    return Outcome::Kept;
                }
                // Some file systems have no locks.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            },
            (Ok(Some(true)), Err(_)) => {}
            (other, _) => return memory.not_rolled(path, other),
        }
        // Another process may have rolled it before this one got the lock.
        match is_ours() {
            Ok(Some(true)) => {}
            other => return memory.not_rolled(path, other),
        }
        let result = match &self.policy.archives {
            Some(archives) => archives.take(path),
            None => archive::delete(path),
        };
        if let Ok(file) = lock {
            let _ = file.unlock();
        }
        match result {
            Ok(()) => {
                memory.succeeded(path);
                Outcome::Rolled
            }
            Err(cause) => {
                memory.failed(path, cause);
                Outcome::Kept
            }
        }
    }
}

/// Returns `Some(is_file)` if the open file, which has this `identity`, is the one at `path`. An
/// error says why that is not known.
fn is_ours(path: &Path, identity: Option<(u64, u64)>) -> io::Result<Option<bool>> {
    match fs::metadata(path) {
        Ok(found) => Ok((log_file::identity(&found) == identity).then(|| found.is_file())),
        Err(error) if log_file::is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Memory {
    /// What becomes of a file that is due if [`is_ours`] has found something else than this file.
    fn not_rolled(&mut self, path: &Path, found: io::Result<Option<bool>>) -> Outcome {
        match found {
            Ok(found) => {
                self.rolled();
                // A FIFO or a device stays. A file was moved away from outside, or rolled by another
                // process: an archive must not be pushed out for that.
                if found.is_some() { Outcome::Kept } else { Outcome::Moved }
            }
            Err(error) => {
                self.failed(path, format!("cannot look for it: {error}"));
                Outcome::Kept
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.due && self.next_try.is_none_or(|at| Instant::now() >= at)
    }

    /// The file at `path` has become an archive, or is deleted.
    fn succeeded(&mut self, path: &Path) {
        if let Some(failing) = self.failing.take() {
            let after = failing.since.elapsed();
            say(&format!("the log file {} has been rolled, {after:.1?} late", plain_path(path)));
        }
        self.rolled();
        self.rolls += 1;
    }

    /// What was due is done, or there is nothing to do it with.
    fn rolled(&mut self) {
        let at = self.due_at;
        if let Some(schedule) = &mut self.schedule {
            schedule.rolled(&Local, at);
        }
        (self.due, self.next_try, self.locked) = (false, None, None);
        self.failing = None;
    }

    /// Another process has the lock.
    fn wait(&mut self, path: &Path) {
        let now = Instant::now();
        if now - *self.locked.get_or_insert(now) < LONGEST_LOCK {
            self.next_try = Some(now + SHORT_PAUSE);
        } else {
            self.failed(path, "another process holds a lock on it".to_owned());
        }
    }

    fn failed(&mut self, path: &Path, cause: String) {
        let now = Instant::now();
        let failing =
            self.failing.get_or_insert_with(|| Failing { since: now, pause: FIRST_PAUSE / 2, causes: Vec::new() });
        failing.pause = (failing.pause * 2).min(LONGEST_PAUSE);
        self.next_try = Some(now + failing.pause);
        if !failing.causes.contains(&cause) && failing.causes.len() < MOST_CAUSES {
            let path = plain_path(path);
            say(&format!("the log file {path} cannot be rolled: {cause}; it is written on, and rolled later"));
            failing.causes.push(cause);
        }
    }
}

/// To stderr: the log file itself is no place for what concerns it.
fn say(text: &str) {
    remark(&format!("selvedge: {text}"));
}
