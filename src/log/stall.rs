//! The wait for a log writer. It is published with the writer's thread, so that the search for
//! deadlocks follows it. If the writer stalls, stderr says so, because nothing reaches the
//! log then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::seam::in_tree;
use crate::os::tell::remark;
use crate::thread::Thread;
use crate::wait::{Ender, Published, Stamp, Unblocker, WaitDescription};

/// A writer has stalled if it has written no record for this long while a thread waits for it.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// How far the writer of one queue has come.
#[derive(Debug)]
pub(super) struct WriterProgress {
    /// The thread that serves the queue.
    writer: OnceLock<Thread>,
    /// Records written so far. Changed by the thread that drains. Relaxed, as is `reported`:
    /// neither guards other data, and a waiting thread that sees an old value checks again.
    written: AtomicU64,
    /// The count of records at which a stall was reported. Changed by waiting threads; the first of
    /// them reports.
    reported: AtomicU64,
    /// Of the thread that drained last while another thread waited.
    stamp: Stamp,
}

/// A thread that waits for the writer.
pub(super) struct WriterWait {
    _published: Published,
    /// When `written` last changed, as far as this thread has seen.
    since: Instant,
    written: u64,
}

impl WriterProgress {
    pub(super) fn new() -> WriterProgress {
        WriterProgress {
            writer: OnceLock::new(),
            written: AtomicU64::new(0),
            reported: AtomicU64::new(u64::MAX),
            stamp: Stamp::default(),
        }
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

    /// The thread that drains is about to end waits.
    pub(super) fn stamp(&self) {
        self.stamp.set();
    }

    /// What has ended a wait for the writer, while a recording counts waits.
    pub(super) fn ender(&self) -> Ender {
        self.stamp.get()
    }

    /// The calling thread begins to wait for the writer.
    pub(super) fn wait(&self, kind: &'static str, queue: &Arc<str>) -> WriterWait {
        let what = WaitDescription::new(kind, queue.clone());
        let what = match self.writer.get() {
            Some(writer) => what.unblocker(Unblocker::Thread(writer.id())),
            None => what,
        };
        WriterWait { _published: what.publish(), since: Instant::now(), written: self.written.load(Ordering::Relaxed) }
    }

    /// Reports a stalled writer on stderr, once for each stall. Called now and then during the
    /// wait.
    pub(super) fn check(&self, waiting: &mut WriterWait, queue: &str) {
        let written = self.written.load(Ordering::Relaxed);
        if written != waiting.written {
            (waiting.written, waiting.since) = (written, Instant::now());
        } else if waiting.since.elapsed() >= STALLED_AFTER && self.reported.swap(written, Ordering::Relaxed) != written
        {
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
            "selvedge: the log stands still: no record was written for {STALLED_AFTER:?}. {waiting} waits for the \
             queue `{queue}`; {writer}. Threads that log wait until it goes on"
        )
    }
}
