//! Selects the frames of a stack that a person wants to see: the program's own, and the call by
//! which they came to block. Knows only functions and files; the stacks come from `profile`.

use super::contents::Frame;
use std::path::{Path, PathBuf};

/// More than this many are shown as the innermost, a count, and the outermost.
const MOST: usize = 20;
const OUTERMOST: usize = 5;

/// The folder that the process is in: files below it are named from there.
pub(super) struct Here(Option<PathBuf>);

impl Here {
    pub(super) fn new() -> Here {
        Here(std::env::current_dir().ok())
    }
}

/// The frames worth showing, leaf first, as lines. `is_ours`: what the innermost do is known
/// already, a wait in this crate.
pub(super) fn shown(frames: &[Frame], is_ours: bool, here: &Here) -> Vec<String> {
    let line = |frame: &Frame| line(frame, here);
    let Some(first) = frames.iter().position(is_programs) else {
        // None of the program's: all of it, unless it is our own way of waiting. In a program without
        // names, no frame can be told from ours.
        let has_names = frames.iter().any(|frame| frame.function.contains("::"));
        return if is_ours && has_names { Vec::new() } else { cut(frames.iter().map(line).collect()) };
    };
    // The call that the program made, and where that ended up.
    let leaf = (first > 1 && !is_ours).then(|| &frames[0]);
    let call = first.checked_sub(1).map(|call| &frames[call]);
    let own = frames[first..].iter().filter(|frame| !is_standard(frame));
    cut(leaf.into_iter().chain(call).chain(own).map(line).collect())
}

fn cut(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MOST {
        let end = lines.len() - OUTERMOST;
        let left_out = end - (MOST - OUTERMOST);
        lines.splice(MOST - OUTERMOST..end, [format!("… {left_out} more")]);
    }
    lines
}

fn line(frame: &Frame, here: &Here) -> String {
    let (function, file) = (&frame.function, &frame.file);
    if file.is_empty() || !is_programs(frame) {
        return function.to_string();
    }
    let file = Path::new(&**file);
    let file = here.0.as_ref().and_then(|here| file.strip_prefix(here).ok()).unwrap_or(file).display();
    match frame.line {
        0 => format!("{function} ({file})"),
        line => format!("{function} ({file}:{line})"),
    }
}

/// Returns `false` for functions of the standard library, of this crate and the crates that it
/// blocks with, and of C.
fn is_programs(frame: &Frame) -> bool {
    const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
    let path = path(&frame.function);
    let is_c = !path.contains("::") && !frame.file.ends_with(".rs");
    let blocks = ["selvedge", "parking_lot", "parking_lot_core", "lock_api", "crossbeam_channel", "crossbeam_utils"];
    let of_ours = blocks.iter().any(|name| path.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")));
    !(is_c || of_ours || is_standard(frame) || frame.file.starts_with(OURS))
}

fn is_standard(frame: &Frame) -> bool {
    let path = path(&frame.function);
    let of_std = ["std::", "core::", "alloc::", "__rust_"].iter().any(|start| path.starts_with(start));
    of_std || frame.file.contains("/library/std/src/") || frame.file.contains("/library/core/src/")
}

/// Without what stands before the path of a method's type: `<&mut alloc::vec::Vec<u8> as …`.
fn path(function: &str) -> &str {
    let function = function.trim_start_matches(['<', '&', '*', '(', '[']);
    ["mut ", "dyn ", "const "].iter().find_map(|word| function.strip_prefix(word)).unwrap_or(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(functions: &[&str]) -> Vec<Frame> {
        let frame = |&function: &&str| Frame {
            function: function.into(),
            file: if function.contains("::") { "/there/x.rs".into() } else { "".into() },
            line: 7,
        };
        functions.iter().map(frame).collect()
    }

    #[test]
    fn a_blocking_call_shows_both_its_ends() {
        let read = stack(&[
            "read",
            "<std::sys::fd::FileDesc>::read",
            "<std::fs::File as std::io::Read>::read",
            "service::load",
            "<core::iter::Map<I, F> as core::iter::Iterator>::next",
            "service::worker",
        ]);
        let programs = ["service::load (/there/x.rs:7)", "service::worker (/there/x.rs:7)"];
        let expected = [&["read", "<std::fs::File as std::io::Read>::read"][..], &programs].concat();
        assert_eq!(shown(&read, false, &Here(None)), expected);
        let lock =
            stack(&["syscall", "parking_lot::Condvar::wait", "<selvedge::sync::Lock<T>>::lock", "service::load"]);
        let expected = ["<selvedge::sync::Lock<T>>::lock", "service::load (/there/x.rs:7)"];
        assert_eq!(shown(&lock, true, &Here(None)), expected);
        assert_eq!(shown(&stack(&["service::spin"]), false, &Here(Some("/there".into()))), ["service::spin (x.rs:7)"]);
    }

    #[test]
    fn a_stack_without_own_frames_is_whole() {
        assert_eq!(shown(&stack(&["read", "pump"]), false, &Here(None)), ["read", "pump"]);
        assert!(shown(&[], false, &Here(None)).is_empty());
        let ending = stack(&["syscall", "selvedge::runtime::Up::end", "core::option::Option<T>::map_or"]);
        assert!(shown(&ending, true, &Here(None)).is_empty(), "main, as it waits for its children");
    }

    #[test]
    fn a_program_without_names_shows_addresses() {
        let stripped = ["syscall", "[service+0x51a0]", "[service+0x1f30]"];
        assert_eq!(shown(&stack(&stripped), true, &Here(None)), stripped);
    }

    #[test]
    fn a_deep_stack_shows_both_of_its_ends() {
        let names: Vec<String> = (0..100).map(|n| format!("service::f{n}")).collect();
        let lines = shown(&stack(&names.iter().map(String::as_str).collect::<Vec<_>>()), false, &Here(None));
        assert_eq!((lines.len(), &*lines[15]), (21, "… 80 more"));
        assert!(lines[14].starts_with("service::f14 ") && lines[20].starts_with("service::f99 "));
    }
}
