//! The appender of kind `console`, with the settings and colours of log4rs. May not take the
//! standard library's lock of stdout or stderr: the program may hold it for as long as it runs.
//!
//! It does not use the standard library's buffer either. So a line of the program that is complete
//! when a record is logged comes before the record. What the program has only in a buffer of its
//! own comes after it.

use std::env;
use std::io;
use std::sync::OnceLock;
use std::time::Instant;

use log4rs::append::Append;
use log4rs::config::{Deserialize, Deserializers};
use log4rs::encode::EncoderConfig;
use serde_value::Value;

use super::line_buffer::{Buffer, Encoder};
use super::output::Buffered;
use super::record::Captured;
use crate::os::console::{self, Stream};
use crate::thread::failure::IN_REPORT;

/// A batch that is longer is written in pieces.
const PIECE: usize = 64 * 1024;
/// The most bytes that are kept while the stream fails. Records beyond are dropped and counted. A
/// stream that fails mostly has no reader any more and does not work again, unlike a file on a full
/// disk.
const MOST_HELD: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Console {
    stream: Stream,
    encoder: Encoder,
    /// Whether styles become escape sequences.
    is_coloured: bool,
    buffer: Vec<u8>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    target: Option<Target>,
    encoder: Option<EncoderConfig>,
    tty_only: Option<bool>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    Stdout,
    Stderr,
}

impl Console {
    /// `None` if it is for terminals only, and the stream is no terminal. `ours`: see
    /// [`Encoder::from_config`].
    pub(super) fn from_settings(settings: Value, with: &Deserializers, ours: bool) -> anyhow::Result<Option<Console>> {
        Console::from_config(settings.deserialize_into()?, with, ours)
    }

    fn from_config(config: Config, with: &Deserializers, ours: bool) -> anyhow::Result<Option<Console>> {
        let stream = match config.target {
            Some(Target::Stderr) => Stream::Stderr,
            Some(Target::Stdout) | None => Stream::Stdout,
        };
        let encoder = Encoder::from_config(config.encoder, with, ours)?;
        // As log4rs: a stream that gets colours counts as a terminal.
        let is_terminal = wants_colours(stream);
        let is_silent = config.tty_only.unwrap_or(false) && !is_terminal;
        // Elsewhere colours are no part of the text.
        let is_coloured = is_terminal && cfg!(unix);
        Ok((!is_silent).then(|| Console { stream, encoder, is_coloured, buffer: Vec::new() }))
    }
}

impl Console {
    /// Returns `true` for a record whose text the report at the end, which is written to stderr,
    /// has too, if that is written to the same place. Other encoders than patterns write for
    /// programs, which do not find the record in the report.
    fn shows_otherwise(&self, target: &str) -> bool {
        let is_for_persons = matches!(self.encoder, Encoder::Pattern(_));
        target == IN_REPORT && is_for_persons && console::leads_to_stderr(self.stream)
    }
}

/// By the rules and variables of log4rs, which reads them once.
fn wants_colours(stream: Stream) -> bool {
    /// `None`: on terminals.
    static ALWAYS: OnceLock<Option<bool>> = OnceLock::new();
    let always = ALWAYS.get_or_init(|| {
        let is_set = |name, default| env::var(name).map_or(default, |value| value != "0");
        if is_set("NO_COLOR", false) {
            Some(false)
        } else if is_set("CLICOLOR_FORCE", false) {
            Some(true)
        } else {
            (!is_set("CLICOLOR", true)).then_some(false)
        }
    });
    always.unwrap_or_else(|| console::is_terminal(stream))
}

impl Buffered for Console {
    fn asks_directly(&self) -> bool {
        self.encoder.is_direct()
    }

    fn push_directly(&mut self, captured: &Captured) -> anyhow::Result<bool> {
        if self.shows_otherwise(captured.target()) {
            return Ok(true);
        }
        if self.buffer.len() >= MOST_HELD {
            return Ok(false);
        }
        self.encoder.append_directly(&mut Buffer::new(&mut self.buffer, self.is_coloured), captured).map(|()| true)
    }

    fn push(&mut self, record: &::log::Record<'_>) -> anyhow::Result<bool> {
        if self.shows_otherwise(record.target()) {
            return Ok(true);
        }
        if self.buffer.len() >= MOST_HELD {
            return Ok(false);
        }
        self.encoder.append(&mut Buffer::new(&mut self.buffer, self.is_coloured), record).map(|()| true)
    }

    fn is_long(&self) -> bool {
        self.buffer.len() >= PIECE
    }

    fn held(&self) -> &[u8] {
        &self.buffer
    }

    fn forget(&mut self) {
        self.buffer.clear();
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let _published = crate::wait::publish("the reader of", self.stream.name().into());
        let (done, error) = console::write(self.stream, &self.buffer, None);
        self.buffer.drain(..done);
        self.buffer.shrink_to(2 * PIECE);
        error.map_or(Ok(()), Err)
    }

    fn explain(&self, error: &io::Error) -> String {
        let name = self.stream.name();
        match error.kind() {
            io::ErrorKind::BrokenPipe => format!("nothing reads {name} any more ({error})"),
            _ => format!("{error}, writing to {name}"),
        }
    }

    /// A slow reader is waited for within the write.
    fn last_progress(&self) -> Option<Instant> {
        None
    }
}

/// Without a queue: each record is written by the thread that logs it.
#[derive(Debug)]
pub(super) struct DirectConsole {
    console: Console,
}

impl DirectConsole {
    pub(super) fn new(console: Console) -> DirectConsole {
        DirectConsole { console }
    }
}

impl Append for DirectConsole {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        if self.console.shows_otherwise(record.target()) {
            return Ok(());
        }
        let Console { stream, encoder, is_coloured, .. } = &self.console;
        let mut line = Vec::new();
        encoder.append(&mut Buffer::new(&mut line, *is_coloured), record)?;
        match console::write(*stream, &line, None) {
            (_, None) => Ok(()),
            (_, Some(error)) => Err(anyhow::Error::msg(self.console.explain(&error))),
        }
    }

    fn flush(&self) {}
}

/// Takes the place of a console for terminals only, where there is no terminal.
#[derive(Debug)]
pub(super) struct NoConsole;

impl Append for NoConsole {
    fn append(&self, _record: &::log::Record<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    fn flush(&self) {}
}

pub(super) fn register(with: &mut Deserializers) {
    with.insert("console", FromConfig);
}

struct FromConfig;

impl Deserialize for FromConfig {
    type Trait = dyn Append;
    type Config = Config;

    fn deserialize(&self, config: Config, with: &Deserializers) -> anyhow::Result<Box<dyn Append>> {
        Ok(match Console::from_config(config, with, false)? {
            Some(console) => Box::new(DirectConsole::new(console)),
            None => Box::new(NoConsole),
        })
    }
}
