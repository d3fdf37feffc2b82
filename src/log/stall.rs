//! The wait for a log writer: published with the thread that can end it, so that the search for
//! deadlocks follows it; and told on stderr if the writer stands still, because then nothing
//! reaches the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::seam::in_tree;
use crate::os::tell::remark;
use crate::thread::Thread;
use crate::wait::{Published, Unblocker, WaitDescription};

/// A writer that has written no record for this long, while a thread waits for it, stands still.
const STANDSTILL: Duration = Duration::from_secs(5);

/// Of one queue's writer.
#[derive(Debug)]
pub(super) struct Progress {
    /// The thread that serves the queue.
    writer: OnceLock<Thread>,
    /// Records written so far. Changed by the thread that drains. Relaxed, as is `told`: neither
    /// guards other data, and a waiting thread that sees an old value looks again.
    written: AtomicU64,
    /// The count of records at which a standstill was told. Changed by waiting threads; the first
    /// one tells.
    told: AtomicU64,
}

/// A thread that waits for the writer.
pub(super) struct Waiting {
    _published: Published,
    /// When `written` last changed, as far as this thread has seen.
    since: Instant,
    written: u64,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { writer: OnceLock::new(), written: AtomicU64::new(0), told: AtomicU64::new(u64::MAX) }
    }

    /// The calling thread serves the queue.
    pub(super) fn set_writer(&self) {
        if let Some(thread) = in_tree() {
            let _known = self.writer.set(thread);
        }
    }

    /// A record was written. On the thread that drains.
    pub(super) fn advance(&self) {
        // Not one operation: only one thread drains at a time.
        self.written.store(self.written.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The calling thread begins to wait for the writer.
    pub(super) fn wait(&self, kind: &'static str, queue: &Arc<str>) -> Waiting {
        let what = WaitDescription::new(kind, queue.clone());
        let what = match self.writer.get() {
            Some(writer) => what.unblocker(Unblocker::Thread(writer.id())),
            None => what,
        };
        Waiting { _published: what.publish(), since: Instant::now(), written: self.written.load(Ordering::Relaxed) }
    }

    /// Says on stderr that the writer stands still, once for each standstill. Within the wait, now
    /// and then.
    pub(super) fn check(&self, waiting: &mut Waiting, queue: &str) {
        let written = self.written.load(Ordering::Relaxed);
        if written != waiting.written {
            (waiting.written, waiting.since) = (written, Instant::now());
        } else if waiting.since.elapsed() >= STANDSTILL && self.told.swap(written, Ordering::Relaxed) != written {
            remark(&self.describe(queue));
        }
    }

    fn describe(&self, queue: &str) -> String {
        let waiting = crate::wait::my_path();
        let writer = match self.writer.get() {
            Some(writer) => match writer.waiting_for() {
                Some(wait) => format!("its writer, {}, is {wait}", writer.path()),
                None => format!("its writer, {}, is within an appender", writer.path()),
            },
            None => "no thread serves it".to_owned(),
        };
        format!(
            "selvedge: the log stands still: no record was written for {STANDSTILL:?}. {waiting} waits for the queue \
             `{queue}`; {writer}. Threads that log wait until it goes on"
        )
    }
}
