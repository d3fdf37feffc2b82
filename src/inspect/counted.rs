//! Stacks as text, with the number of threads that have them.

/// A frame, as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// How many threads have this stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// The path of the thread.
    pub(super) label: String,
    /// The leaf first.
    pub(super) frames: Vec<Frame>,
    pub(super) count: u64,
}
