//! A record of the log, as a person that looks from outside sees it. Data only.

use ::log::Level;

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct TailRecord {
    /// Seconds since 1970, and nanoseconds.
    pub(crate) time: (i64, u32),
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) thread: String,
    pub(crate) message: String,
}
