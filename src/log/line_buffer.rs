//! The buffer of a log file or console, and the encoders that fill it with whole records. Knows
//! nothing of where the buffer is written.

use std::io::{self, Write};

use log4rs::config::Deserializers;
use log4rs::encode::writer::ansi::AnsiWriter;
use log4rs::encode::{Encode, EncoderConfig, Style};

use super::encode::PatternEncoder;
use super::record::Captured;

/// The writer that an encoder gets: it appends to the records before.
pub(super) struct Buffer<'a> {
    bytes: &'a mut Vec<u8>,
    /// Whether styles become escape sequences.
    is_coloured: bool,
}

impl Buffer<'_> {
    pub(super) fn new(bytes: &mut Vec<u8>, is_coloured: bool) -> Buffer<'_> {
        Buffer { bytes, is_coloured }
    }
}

impl Write for Buffer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log4rs::encode::Write for Buffer<'_> {
    fn set_style(&mut self, style: &Style) -> io::Result<()> {
        if self.is_coloured { AnsiWriter(&mut *self.bytes).set_style(style) } else { Ok(()) }
    }
}

/// Makes lines of records.
#[derive(Debug)]
pub(super) enum Encoder {
    /// Of this crate: called without log4rs's trait object.
    Pattern(PatternEncoder),
    Other(Box<dyn Encode>),
}

impl Encoder {
    /// `ours`: `with` has no encoders of the program.
    pub(super) fn from_config(
        config: Option<EncoderConfig>,
        with: &Deserializers,
        ours: bool,
    ) -> anyhow::Result<Encoder> {
        Ok(match config {
            Some(encoder) if ours && encoder.kind == "pattern" => {
                Encoder::Pattern(PatternEncoder::from_config(encoder.config.deserialize_into()?)?)
            }
            Some(encoder) => Encoder::Other(with.deserialize(&encoder.kind, encoder.config)?),
            None => Encoder::Pattern(PatternEncoder::default()),
        })
    }

    /// Returns `true` if `append_directly` may be used.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Encoder::Pattern(_))
    }

    /// Does the same as [`append`](Encoder::append), for a record that only an encoder of this
    /// crate sees.
    pub(super) fn append_directly(&self, out: &mut Buffer<'_>, captured: &Captured) -> anyhow::Result<()> {
        whole(out, |out| match self {
            Encoder::Pattern(pattern) => Ok(pattern.print(out, captured)?),
            Encoder::Other(encoder) => captured.with_record(|record| encoder.encode(out, record)),
        })
    }

    /// Adds a record to the buffer. On an error or a panic it adds nothing.
    pub(super) fn append(&self, out: &mut Buffer<'_>, record: &::log::Record<'_>) -> anyhow::Result<()> {
        whole(out, |out| match self {
            Encoder::Pattern(pattern) => pattern.encode(out, record),
            Encoder::Other(encoder) => encoder.encode(out, record),
        })
    }
}

/// Takes back a half record, also if the encoder panics.
fn whole(out: &mut Buffer<'_>, print: impl FnOnce(&mut Buffer<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    struct Undo<'a>(&'a mut Vec<u8>, usize);
    impl Drop for Undo<'_> {
        fn drop(&mut self) {
            self.0.truncate(self.1);
        }
    }
    let end = out.bytes.len();
    let mut undo = Undo(out.bytes, end);
    print(&mut Buffer::new(undo.0, out.is_coloured))?;
    undo.1 = usize::MAX;
    Ok(())
}
