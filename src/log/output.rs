//! What a log file and a console have in common: they encode records into a buffer, and write the
//! buffer.

use std::io;
use std::time::Instant;

use super::record::Captured;

/// An output of ours: it encodes records into a buffer, and writes that.
pub(super) trait Buffered {
    /// Returns `true` if `push_directly` takes records.
    fn asks_directly(&self) -> bool;

    /// Does the same as [`push`](Buffered::push), for a record that only an encoder of this crate
    /// sees.
    fn push_directly(&mut self, captured: &Captured) -> anyhow::Result<bool>;

    /// Adds a record to the buffer. Returns `false` if the buffer has no room, because nothing
    /// could be written for a long time.
    fn push(&mut self, record: &::log::Record<'_>) -> anyhow::Result<bool>;

    /// Returns `true` if the file is to be written and rolled before this record is added.
    fn is_due_before(&mut self, _captured: &Captured) -> bool {
        false
    }

    /// Returns `true` if the file is to be written and rolled before another record is added.
    fn is_full(&mut self) -> bool {
        false
    }

    /// Returns `true` if the buffer should be written before the batch is over.
    fn is_long(&self) -> bool;

    /// The buffer: records that are not written yet.
    fn held(&self) -> &[u8];

    /// Discards what has not been written: after a fork, the parent writes it.
    fn forget(&mut self);

    /// Writes the buffer. On an error what was not written stays.
    fn write_out(&mut self) -> io::Result<()>;

    /// The error in words for a person.
    fn explain(&self, error: &io::Error) -> String;

    /// When something was last written. `None` after a failure other than a lack of room for more.
    fn last_progress(&self) -> Option<Instant>;
}
