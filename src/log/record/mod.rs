//! A log record that outlives the call that made it: what was so then, on the thread that made it.
//! Knows nothing of where it goes.
//!
//! Invariants
//! 1. A record is one box with one text, both used again: capturing allocates nothing once there
//!    are enough of them, and counts no references, which would pass a cache line to and fro
//!    between the caller and the writer.
//! 2. Nothing of the user's (a Display, a Debug, a key-value) runs once a record has been captured.

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
