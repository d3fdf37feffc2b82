//! What the outputs of this crate have in common: a log file or a console encodes records into a buffer,
//! and writes that.

use std::io;
use std::time::Instant;

use super::record::Captured;

/// An output of ours: it encodes records into a buffer, and writes that.
pub(super) trait Buffered {
    /// Whether `push_directly` takes records.
    fn asks_directly(&self) -> bool;

    /// [`push`](Buffered::push) of a record that no encoder of others is to see.
    fn push_directly(&mut self, captured: &Captured) -> anyhow::Result<bool>;

    /// Adds a record to the buffer. `false` if the buffer has no room, because nothing could be
    /// written for long.
    fn push(&mut self, record: &::log::Record<'_>) -> anyhow::Result<bool>;

    /// Returns `true` if the file is to be written and rolled before this record is added.
    fn is_due_before(&mut self, _captured: &Captured) -> bool {
        false
    }

    /// Returns `true` if the file is to be written and rolled before another record is added.
    fn is_full(&mut self) -> bool {
        false
    }

    /// Whether the buffer should be written before the batch is over.
    fn is_long(&self) -> bool;

    /// The buffer: records that are not written yet.
    fn held(&self) -> &[u8];

    /// Forgets what has not been written: after a fork it is the parent's to write.
    fn forget(&mut self);

    /// Writes the buffer. On an error what was not written stays.
    fn write_out(&mut self) -> io::Result<()>;

    /// Why it cannot be written, for people.
    fn explain(&self, error: &io::Error) -> String;

    /// When something was last written, unless it fails for another reason than that there was no
    /// room for more.
    fn taken(&self) -> Option<Instant>;
}
