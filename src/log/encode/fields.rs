//! What a pattern asks of a record: of a captured one, which is read where it lies, or of the
//! facade's record with its context.

use std::io;

use ::log::{Level, Record};
use log4rs::encode::Write;

use crate::log::record::{Captured, Context, Time};

pub(super) trait Fields {
    fn time(&self) -> Time;
    fn level(&self) -> Level;
    fn write_message<W: Write + ?Sized>(&self, out: &mut W) -> io::Result<()>;
    fn target(&self) -> &str;
    fn module(&self) -> Option<&str>;
    fn file(&self) -> Option<&str>;
    fn line(&self) -> Option<u32>;
    fn thread(&self) -> Option<&str>;
    fn thread_id(&self) -> usize;
    fn mdc(&self, key: &str) -> Option<&str>;
    /// Returns `false` if the record has no such key.
    fn write_value<W: Write + ?Sized>(&self, key: &str, out: &mut W) -> io::Result<bool>;
}

impl Fields for Captured {
    fn time(&self) -> Time {
        (**self).time()
    }

    fn level(&self) -> Level {
        self.level
    }

    fn write_message<W: Write + ?Sized>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(self.message().as_bytes())
    }

    fn target(&self) -> &str {
        Captured::target(self)
    }

    fn module(&self) -> Option<&str> {
        Captured::module(self)
    }

    fn file(&self) -> Option<&str> {
        Captured::file(self)
    }

    fn line(&self) -> Option<u32> {
        Captured::line(self)
    }

    fn thread(&self) -> Option<&str> {
        Captured::thread(self)
    }

    fn thread_id(&self) -> usize {
        self.context().thread_id
    }

    fn mdc(&self, key: &str) -> Option<&str> {
        self.context().mdc.get(key)
    }

    fn write_value<W: Write + ?Sized>(&self, key: &str, out: &mut W) -> io::Result<bool> {
        self.values().get(key).map(|value| out.write_all(value.as_bytes())).transpose().map(|done| done.is_some())
    }
}

impl Fields for (&Record<'_>, &Context<'_>) {
    fn time(&self) -> Time {
        self.1.time
    }

    fn level(&self) -> Level {
        self.0.level()
    }

    fn write_message<W: Write + ?Sized>(&self, out: &mut W) -> io::Result<()> {
        out.write_fmt(*self.0.args())
    }

    fn target(&self) -> &str {
        self.0.target()
    }

    fn module(&self) -> Option<&str> {
        self.0.module_path()
    }

    fn file(&self) -> Option<&str> {
        self.0.file()
    }

    fn line(&self) -> Option<u32> {
        self.0.line()
    }

    fn thread(&self) -> Option<&str> {
        self.1.thread
    }

    fn thread_id(&self) -> usize {
        self.1.thread_id
    }

    fn mdc(&self, key: &str) -> Option<&str> {
        self.1.mdc.get(key)
    }

    fn write_value<W: Write + ?Sized>(&self, key: &str, out: &mut W) -> io::Result<bool> {
        self.0.key_values().get(key.into()).map(|value| write!(out, "{value}")).transpose().map(|done| done.is_some())
    }
}
