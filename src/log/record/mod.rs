//! A log record that outlives the call that made it, with what was so at the call on the calling
//! thread. Knows nothing of where the record goes.
//!
//! Invariants
//! 1. A record is one box, which is used again. A short text lies within it. Capturing allocates
//!    nothing once there are enough boxes. It reads nothing that the writer has left in the box, and
//!    counts no references: both would move a cache line between the caller and the writer before
//!    the caller can go on.
//! 2. No code of the user's (a Display, a Debug, a key-value) runs once a record has been captured.

mod body;
mod captured;
mod encoding;
mod format;
mod pairs;
mod pool;
mod text;

pub(super) use body::{Time, again, at_one_time};
pub(super) use captured::{Captured, Context};
pub(super) use encoding::{encoding, with_context};
pub(super) use format::format_into;
pub(super) use pairs::Pairs;
