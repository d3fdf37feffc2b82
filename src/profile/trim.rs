//! Which frames at the root of a stack belong to the machinery that calls the user's code, and are not shown.

use crate::flame::{self, Line};

/// Whether a function at the root of a stack, or above others that are machinery, is machinery itself.
///
/// Only to be asked from the root on, up to the first `false`: the same functions called by a user are the user's doing.
pub(super) fn is_machinery(line: &Line) -> bool {
    has_name_of_machinery(&line.function) || has_file_of_machinery(&line.file)
}

/// With `debug = "line-tables-only"`, inlined functions have lost their paths: `{closure#0}` can be anyone's.
fn has_file_of_machinery(file: &str) -> bool {
    const LIBRARY: [&str; 8] = [
        "/library/std/src/rt.rs",
        "/library/std/src/panic.rs",
        "/library/std/src/panicking.rs",
        "/library/std/src/sys/backtrace.rs",
        "/library/std/src/thread/",
        "/library/core/src/panic/unwind_safe.rs",
        "/library/core/src/ops/function.rs",
        "/library/alloc/src/boxed.rs",
    ];
    const OURS: [&str; 2] =
        [concat!(env!("CARGO_MANIFEST_DIR"), "/src/thread/"), concat!(env!("CARGO_MANIFEST_DIR"), "/src/runtime/")];
    let in_library = file.find("/library/").is_some_and(|at| LIBRARY.iter().any(|part| file[at..].starts_with(part)));
    in_library || OURS.iter().any(|part| file.starts_with(part))
}

fn has_name_of_machinery(function: &str) -> bool {
    const EXACT: [&str; 12] = [
        "_start",
        "start",
        "main",
        "clone",
        "__clone",
        "clone3",
        "__clone3",
        "start_thread",
        "thread_start",
        "_pthread_start",
        "__libc_start_main",
        "__libc_start_call_main",
    ];
    const STARTS: [&str; 10] = [
        "__libc_start_main_impl",
        "__libc_start_main@",
        "std::rt::",
        "std::sys_common::backtrace::__rust_begin_short_backtrace",
        "std::sys::thread::",
        "std::sys::pal::unix::thread::",
        "std::thread::Builder",
        "std::thread::lifecycle::",
        "selvedge::thread::",
        "selvedge::runtime::",
    ];
    // `<std::sys::thread::unix::Thread>::new`: newer symbols put a type into brackets.
    let path = function.trim_start_matches('<');
    EXACT.contains(&function) || STARTS.iter().any(|start| path.starts_with(start)) || flame::is_plumbing(function)
}

/// Whether this is `selvedge::run`: what is below it, towards the root, is how the program came to call it.
pub(super) fn is_run(line: &Line) -> bool {
    line.function
        .strip_prefix("selvedge::runtime::run")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['<', ':']))
}

/// Whether this is a function of this crate.
pub(super) fn is_ours(line: &Line) -> bool {
    line.function.trim_start_matches('<').starts_with("selvedge::")
}

/// Whether this is the engine at work on a thread that it samples: giving it its timer, or closing its books.
pub(super) fn is_engine(line: &Line) -> bool {
    line.function.trim_start_matches('<').starts_with("selvedge::profile::engines::")
}
