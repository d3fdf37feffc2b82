//! A log record that outlives the call that made it, with what was so at the call on the calling
//! thread. Knows nothing of where the record goes.
//!
//! Invariants
//! 1. A record is one box with one text, both used again. Capturing allocates nothing once there
//!    are enough boxes. It counts no references, which would move a cache line between the caller
//!    and the writer.
//! 2. No code of the user's (a Display, a Debug, a key-value) runs once a record has been captured.

mod body;
mod captured;
mod encoding;
mod format;
mod pairs;
mod pool;

pub(super) use body::{Time, at, at_one_time};
pub(super) use captured::{Captured, Context};
pub(super) use encoding::{encoding, with_context};
pub(super) use format::format_into;
pub(super) use pairs::Pairs;
