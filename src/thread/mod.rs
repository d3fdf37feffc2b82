//! The thread tree.

pub(crate) mod observe;
mod stub;

pub use stub::Thread;
