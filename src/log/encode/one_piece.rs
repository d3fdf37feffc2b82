//! How an encoder of this room hands a record to its output: in one piece, or not at all while the
//! output is off. Knows nothing of the contents of a record.

use std::cell::{Cell, RefCell};
use std::io;

use log4rs::encode::{Style, Write};

#[cfg(windows)]
pub(super) const NEWLINE: &str = "\r\n";
#[cfg(not(windows))]
pub(super) const NEWLINE: &str = "\n";

thread_local! {
    static OUTPUT_OFF: Cell<bool> = const { Cell::new(false) };
    static ACCEPTED: Cell<bool> = const { Cell::new(false) };
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// While `f` runs, encoders of this room write nothing: an appender that is given a record then
/// only flushes what it has.
pub(in crate::log) fn without_output<R>(f: impl FnOnce() -> R) -> R {
    OUTPUT_OFF.set(true);
    let result = f();
    OUTPUT_OFF.set(false);
    result
}

/// Whether, since this was last asked, an encoder of this room has handed over a whole record, so
/// that an appender that fails has it in its buffer.
pub(in crate::log) fn was_accepted() -> bool {
    ACCEPTED.take()
}

/// Lets `write` write a record, and hands it to `out` in one piece, or in a few where its style
/// changes. So `out` gets no half lines.
pub(super) fn in_one_piece(
    out: &mut dyn Write,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if OUTPUT_OFF.get() {
        return Ok(());
    }
    // Without its thread-local (the thread is ending) a line has a buffer of its own.
    let mut line = Line { text: LINE.try_with(RefCell::take).unwrap_or_default(), out };
    line.text.clear();
    let result = write(&mut line).and_then(|()| Ok(line.hand_over()?));
    let text = line.text;
    let _ = LINE.try_with(|kept| kept.replace(text));
    result.inspect(|()| ACCEPTED.set(true))
}

struct Line<'a> {
    text: Vec<u8>,
    out: &'a mut dyn Write,
}

impl Line<'_> {
    fn hand_over(&mut self) -> io::Result<()> {
        self.out.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Line<'_> {
    fn set_style(&mut self, style: &Style) -> io::Result<()> {
        self.hand_over()?;
        self.out.set_style(style)
    }
}
