//! A captured record as it passes from thread to thread: a box from the pool, which goes back to
//! the pool when it is dropped.

use std::ops::{Deref, DerefMut};

use ::log::{Level, Record};

use super::body::{Body, FILE, MDC, MESSAGE, MODULE, THREAD, Time};
use super::format::format_into;
use super::pairs::Pairs;
use super::pool;

/// A captured record. What held it goes back to where it came from when it is dropped.
#[derive(Debug)]
pub(in crate::log) struct Captured(Option<Box<Body>>);

impl Drop for Captured {
    fn drop(&mut self) {
        if let Some(body) = self.0.take() {
            pool::give(body);
        }
    }
}

impl Deref for Captured {
    type Target = Body;

    fn deref(&self) -> &Body {
        self.0.as_ref().expect("taken only by its drop")
    }
}

impl DerefMut for Captured {
    fn deref_mut(&mut self) -> &mut Body {
        self.0.as_mut().expect("taken only by its drop")
    }
}

impl Clone for Captured {
    fn clone(&self) -> Captured {
        let mut copy = Captured(Some(pool::take()));
        copy.copy_from(self);
        copy
    }
}

impl Captured {
    /// Formats the message here, on the calling thread, with no lock held.
    pub(in crate::log) fn new(record: &Record<'_>) -> Captured {
        let mut captured = Captured(Some(pool::take()));
        captured.text.begin();
        format_into(&mut captured.text, *record.args());
        captured.complete(record);
        captured
    }

    /// A record of the log's own.
    pub(in crate::log) fn own(level: Level, message: &str) -> Captured {
        Captured::new(&Record::builder().level(level).target("selvedge::log").args(format_args!("{message}")).build())
    }

    pub(in crate::log) fn message(&self) -> &str {
        self.part(MESSAGE)
    }

    pub(in crate::log) fn context(&self) -> Context<'_> {
        Context { time: self.time(), thread: self.thread(), thread_id: self.thread_id, mdc: Pairs(self.part(MDC)) }
    }

    /// As the facade's record.
    pub(in crate::log) fn with_record<R>(&self, f: impl FnOnce(&Record<'_>) -> R) -> R {
        let pairs = self.values();
        f(&Record::builder()
            .level(self.level)
            .target(self.target())
            .args(format_args!("{}", self.part(MESSAGE)))
            .module_path(self.module())
            .file(self.file())
            .line(self.line)
            .key_values(&pairs)
            .build())
    }

    pub(in crate::log) fn target(&self) -> &str {
        (**self).target()
    }

    pub(in crate::log) fn module(&self) -> Option<&str> {
        self.name(self.module, MODULE)
    }

    pub(in crate::log) fn file(&self) -> Option<&str> {
        self.name(self.file, FILE)
    }

    pub(in crate::log) fn line(&self) -> Option<u32> {
        self.line
    }

    pub(in crate::log) fn thread(&self) -> Option<&str> {
        self.name(None, THREAD)
    }

    pub(in crate::log) fn values(&self) -> Pairs<'_> {
        Pairs(&self.text.as_str()[self.ends[MDC]..])
    }
}

/// What an encoder cannot get from the facade's record.
pub(in crate::log) struct Context<'a> {
    pub(in crate::log) time: Time,
    /// Its path in the tree; of a thread that is not in it, its own name, if it has one.
    pub(in crate::log) thread: Option<&'a str>,
    pub(in crate::log) thread_id: usize,
    pub(in crate::log) mdc: Pairs<'a>,
}
