//! The input of the writers: stacks of code locations under a label, with their weights. Plain
//! data.

use std::sync::Arc;

/// Stacks and the locations that they name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stacks {
    /// No two have the same label, labels and frames.
    pub(crate) stacks: Vec<Stack>,
    pub(crate) locations: Vec<Location>,
    /// The program itself comes first, if known.
    pub(crate) modules: Vec<Module>,
}

/// Samples with the same label and the same frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    /// The path of the samples' thread: `main/crawler/fetcher-3`.
    pub(crate) label: Arc<str>,
    /// Indexes into [`Stacks::locations`], the leaf first. Never empty.
    pub(crate) frames: Vec<usize>,
    /// More labels, with their keys. Only pprof files have them.
    pub(crate) labels: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) samples: u64,
    /// Nanoseconds.
    pub(crate) weight: u64,
}

/// A place in the code, or a remark in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The address of the instruction; 0 for a remark.
    pub(crate) address: u64,
    /// Index into [`Stacks::modules`].
    pub(crate) module: Option<usize>,
    /// The function, and before it the functions inlined into it, the innermost first. Never empty.
    pub(crate) lines: Vec<Line>,
}

/// A function, and the line in it that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The name as in the source.
    pub(crate) function: Arc<str>,
    /// The linker's name.
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
    /// A remark in square brackets, for example `[truncated]`.
    pub(crate) fn remark(text: &str) -> Location {
        let text: Arc<str> = text.into();
        let line = Line { function: text.clone(), system_name: text, file: "".into(), line: 0 };
        Location { address: 0, module: None, lines: vec![line] }
    }
}
