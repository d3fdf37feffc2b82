//! The thread dump: what each thread of the tree does, waits for and was asked, right now, for
//! people and as JSON. Above `thread` and `profile`, which tell it; knows no runtime, no log and no
//! OS signal.
//!
//! Invariants
//! 1. It never waits for a lock without a limit: what cannot be read in time is shown as `[busy]`,
//!    since the holder may be the thread that the reader of the dump is looking for.
//! 2. Nothing of the user's runs while it is made.

mod collect;
mod contents;
mod frames;
mod json;
#[cfg(feature = "inspect")]
mod live;
mod public;
mod text;
mod unregistered;

pub use self::contents::Dump;
pub use self::public::dump;
#[cfg(feature = "inspect")]
pub(crate) use self::{
    collect::{Clocks, look},
    contents::Deadlock,
    live::{Facts, OtherNow, ThreadNow},
};
