//! What the writers write: stacks of code locations under a label, with their weights.

use std::sync::Arc;

/// Stacks and the locations that they name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stacks {
    /// No two have the same label and frames.
    pub(crate) stacks: Vec<Stack>,
    pub(crate) locations: Vec<Location>,
    /// The program itself comes first, if known.
    pub(crate) modules: Vec<Module>,
}

/// Samples that found the same code under the same label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Whose samples these are, as a path: `main/crawler/fetcher-3`.
    pub(crate) label: Arc<str>,
    /// Indexes into [`Stacks::locations`], leaf first. Never empty.
    pub(crate) frames: Vec<usize>,
    pub(crate) samples: u64,
    /// Nanoseconds.
    pub(crate) weight: u64,
}

/// A place in the code, or a remark that stands in a stack like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Of the instruction; 0 for a remark.
    pub(crate) address: u64,
    /// Index into [`Stacks::modules`].
    pub(crate) module: Option<usize>,
    /// The function, and before it those inlined into it, innermost first. Never empty.
    pub(crate) lines: Vec<Line>,
}

/// A function, and the line in it that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// As people write it.
    pub(crate) function: Arc<str>,
    /// As the linker knows it.
    pub(crate) system_name: Arc<str>,
    /// Empty if unknown.
    pub(crate) file: Arc<str>,
    /// 0 if unknown.
    pub(crate) line: u32,
}

/// A file that is mapped into memory, with the addresses of its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file_offset: u64,
    pub(crate) file: String,
    /// In hexadecimal digits; empty if unknown.
    pub(crate) build_id: String,
}

impl Location {
    /// A remark in square brackets, such as `[truncated]`.
    pub(crate) fn remark(text: &str) -> Location {
        let text: Arc<str> = text.into();
        let line = Line { function: text.clone(), system_name: text, file: "".into(), line: 0 };
        Location { address: 0, module: None, lines: vec![line] }
    }
}
