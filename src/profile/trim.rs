//! Machinery: the frames at the root of a stack that call the user's code, and are not shown. The
//! name and the module decide together, since a user's function may have any name. Knows names, no
//! addresses.

use super::symbols::Role;
use crate::flame::{self, Line};

/// Follows a stack from its root as far as there is machinery.
#[derive(Default)]
pub(super) struct Machinery {
    last: Last,
}

/// The kind of the last line that was machinery.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Last {
    /// No line yet.
    #[default]
    Nothing,
    /// The program's first function: `_start`.
    Entry,
    /// The function that `_start` calls: `__libc_start_main`.
    LibraryMain,
    /// The first function of a new thread: `clone3`.
    Clone,
    Other,
}

impl Machinery {
    /// Returns `true` if this line is machinery. Called for each line from the root on, up to the
    /// first `false`; the same functions nearer to the leaf were called by the user. `callee`: the
    /// next line.
    pub(super) fn goes_on(&mut self, line: &Line, role: Role, callee: Option<&Line>) -> bool {
        let of_rust = is_rust(line) && has_name_of_machinery(&line.function) || has_file_of_machinery(&line.file);
        let next = if of_rust { Some(Last::Other) } else { self.of_c(&line.function, role, callee) };
        next.inspect(|next| self.last = *next).is_some()
    }

    /// The kind of a line of the C library's machinery. A C program may have functions of the same
    /// names. In a statically linked program the order of the lines decides.
    fn of_c(&self, function: &str, role: Role, callee: Option<&Line>) -> Option<Last> {
        let is_library = role == Role::CLibrary;
        let may_be_static = matches!(role, Role::Program | Role::Unknown);
        let after = |last| is_library || may_be_static && self.last == last;
        match function {
            // In the program, or in the loader.
            "_start" if after(Last::Nothing) => Some(Last::Entry),
            "__libc_start_main" | "__libc_start_main_impl" | "_start_c" if after(Last::Entry) => {
                Some(Last::LibraryMain)
            }
            "__libc_start_call_main" | "libc_start_main_stage2" if after(Last::LibraryMain) => Some(Last::Other),
            "clone" | "__clone" | "clone3" | "__clone3" if after(Last::Nothing) => Some(Last::Clone),
            "start_thread" | "start" if after(Last::Clone) => Some(Last::Other),
            // In the dynamic loader and the thread library of Apple's systems.
            "start" | "thread_start" if role == Role::Unknown && self.last == Last::Nothing => Some(Last::Clone),
            "_pthread_start" if role == Role::Unknown && self.last == Last::Clone => Some(Last::Other),
            // Made by the compiler: it only calls the standard library.
            "main"
                if callee
                    .is_some_and(|callee| is_rust(callee) && callee.function.starts_with("std::rt::lang_start")) =>
            {
                Some(Last::Other)
            }
            // The library has no symbols. No other code of it is nearer to the root than the
            // user's.
            unnamed if is_library && unnamed.starts_with('[') => Some(Last::Other),
            _ => None,
        }
    }
}

/// With `debug = "line-tables-only"`, inlined functions have lost their paths, and `{closure#0}`
/// may be any function. So the file decides.
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

/// Returns `true` for the functions of std and of this crate that call the user's code.
fn has_name_of_machinery(function: &str) -> bool {
    const STARTS: [&str; 8] = [
        "std::rt::",
        "std::sys_common::backtrace::__rust_begin_short_backtrace",
        "std::sys::thread::",
        "std::sys::pal::unix::thread::",
        "std::thread::Builder",
        "std::thread::lifecycle::",
        "selvedge::thread::",
        "selvedge::runtime::",
    ];
    // `<std::sys::thread::unix::Thread>::new`: newer symbols have a type in brackets.
    let path = function.trim_start_matches('<');
    STARTS.iter().any(|start| path.starts_with(start)) || flame::is_plumbing(function)
}

/// Returns `true` if the Rust compiler has made the name, as far as is known: C++ may have a
/// namespace `selvedge::thread` too.
fn is_rust(line: &Line) -> bool {
    // Legacy names end with a hash: `_ZN3std2rt10lang_start17h0123456789abcdefE`.
    let has_hash = |name: &str| {
        let hash = name.rsplit_once("17h").map(|(_, rest)| rest);
        hash.and_then(|rest| rest.get(..16)).is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    match &*line.system_name {
        // An inlined function may have lost its name.
        "" | "__rust_try" => true,
        name => name.starts_with("_R") || has_hash(name),
    }
}

/// Returns `true` for `selvedge::run`. The frames nearer to the root only lead to that call.
pub(super) fn is_run(line: &Line) -> bool {
    let name = line.function.strip_prefix("selvedge::runtime::run");
    name.is_some_and(|rest| rest.is_empty() || rest.starts_with(['<', ':'])) && is_rust(line)
}

/// Returns `true` for a function of this crate.
pub(super) fn is_ours(line: &Line) -> bool {
    line.function.trim_start_matches('<').starts_with("selvedge::") && is_rust(line)
}

/// The same, if it is known which functions are inlined there: then a function of the program that it
/// calls has a line of its own.
pub(super) fn is_ours_with_file(line: &Line) -> bool {
    is_ours(line) && !line.file.is_empty()
}

/// Returns `true` for a function of the standard library.
pub(super) fn is_std(line: &Line) -> bool {
    let path = line.function.trim_start_matches(['<', '[']);
    ["alloc::", "core::", "std::"].iter().any(|part| path.starts_with(part)) && is_rust(line)
}

/// Returns `true` for code of the rooms that threads are made with. None of it calls the program.
pub(super) fn is_below_threads(line: &Line) -> bool {
    const ROOMS: [&str; 4] = ["selvedge::model::", "selvedge::os::", "selvedge::wait::", "selvedge::error::"];
    let path = line.function.trim_start_matches('<');
    ROOMS.iter().any(|room| path.starts_with(room)) && is_rust(line)
}

/// Returns `true` for code of the standard library that is between functions of this crate when a
/// blocking call ends: it drops a guard, or calls a closure.
pub(super) fn is_between_ours(line: &Line) -> bool {
    const STARTS: [&str; 5] = [
        "core::ptr::drop_in_place",
        "core::mem::drop",
        "std::thread::local::",
        "core::option::Option",
        "core::result::",
    ];
    let path = line.function.trim_start_matches('<');
    STARTS.iter().any(|start| path.starts_with(start)) || flame::is_plumbing(&line.function)
}

/// Returns `true` for the engine's own work on a sampled thread: it makes its timer, or closes its
/// account.
pub(super) fn is_engine(line: &Line) -> bool {
    line.function.trim_start_matches('<').starts_with("selvedge::profile::engines::") && is_rust(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{CLibrary, Library, Program, Unknown};

    fn line(function: &str, file: &str) -> Line {
        Line { function: function.into(), system_name: "".into(), file: file.into(), line: 0 }
    }

    /// How many of these are machinery, the root first.
    fn machinery(stack: &[(&str, Role)]) -> usize {
        let lines: Vec<Line> = stack.iter().map(|(function, _)| line(function, "")).collect();
        let mut machinery = Machinery::default();
        let goes_on = |&place: &usize| machinery.goes_on(&lines[place], stack[place].1, lines.get(place + 1));
        (0..stack.len()).take_while(goes_on).count()
    }

    fn is_machinery(line: &Line) -> bool {
        Machinery::default().goes_on(line, Program, None)
    }

    #[test]
    fn rust_machinery_is_distinguished_from_code() {
        let machinery = [
            "std::rt::lang_start::{{closure}}",
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "<std::sys::thread::unix::Thread>::new::thread_start",
            "std::thread::lifecycle::spawn_unchecked::{{closure}}",
            "<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once",
            "<core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "core::ops::function::impls::<impl core::ops::function::FnOnce<A> for &F>::call_once",
            "selvedge::thread::spawn::body::{{closure}}",
            "<selvedge::runtime::Runtime as core::ops::drop::Drop>::drop",
        ];
        for function in machinery {
            assert!(is_machinery(&line(function, "")), "{function}");
        }
        let code = [
            "app::main",
            "main",
            "main_loop",
            "starter",
            "std::io::copy",
            "std::thread::sleep",
            "<std::io::Lines<B> as core::iter::traits::iterator::Iterator>::next",
            "app::apply::<dyn core::ops::function::Fn(u32)>",
            "selvedge::profile::recording::start",
            "selvedge_app::thread::run",
        ];
        for function in code {
            assert!(!is_machinery(&line(function, "")), "{function}");
        }
        // For names without paths, the file decides.
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/src/thread/spawn.rs");
        for file in
            ["/rustc/59807/library/std/src/thread/lifecycle.rs", "/rustc/59807/library/std/src/panicking.rs", own]
        {
            assert!(is_machinery(&line("{closure#0}", file)), "{file}");
        }
        for file in ["/rustc/59807/library/std/src/io/copy.rs", "/home/me/app/src/thread/spawn.rs", "src/main.rs", ""] {
            assert!(!is_machinery(&line("{closure#0}", file)), "{file}");
        }
    }

    #[test]
    fn roots_of_programs_and_threads_are_machinery() {
        let start = ("_start", Program);
        let main = [("__libc_start_main_impl", CLibrary), ("__libc_start_call_main", CLibrary)];
        let rust =
            [start, main[0], main[1], ("main", Program), ("std::rt::lang_start", Program), ("app::main", Program)];
        assert_eq!(machinery(&rust), 5);
        let thread = [("__clone3", CLibrary), ("start_thread", CLibrary), ("std::thread::lifecycle::x", Program)];
        assert_eq!(machinery(&thread), 3);
        let without_symbols =
            [("[libc.so.6+0x108a]", CLibrary), ("[libc.so.6+0x89]", CLibrary), ("[a.so+0x7]", Library)];
        assert_eq!(machinery(&without_symbols), 2);
        let of_musl = [("__clone", CLibrary), ("start", CLibrary), ("start", Library)];
        assert_eq!(machinery(&of_musl), 2);
    }

    /// A program in C may call its functions what the C library calls its own.
    #[test]
    fn names_of_machinery_in_other_modules_are_code() {
        for name in ["main", "start", "start_thread", "thread_start", "clone", "clone3", "__libc_start_main", "_start"]
        {
            for role in [Program, Library, Unknown] {
                let stack = [("clone3", CLibrary), ("start_thread", CLibrary), (name, role), ("work", role)];
                assert_eq!(machinery(&stack), 2, "{name} in {role:?}");
            }
        }
        let of_c = [("_start", Program), ("__libc_start_main_impl", CLibrary), ("main", Program), ("work", Program)];
        assert_eq!(machinery(&of_c), 2);
    }

    /// Where the C library is a part of the program, the order of its functions decides.
    #[test]
    fn in_a_static_program_each_root_is_machinery_once() {
        let main = [
            ("_start", Program),
            ("__libc_start_main", Program),
            ("__libc_start_call_main", Program),
            ("main", Program),
        ];
        assert_eq!(machinery(&main), 3);
        let thread = [("clone3", Program), ("start_thread", Program), ("start_thread", Program), ("clone", Program)];
        assert_eq!(machinery(&thread), 2);
        assert_eq!(machinery(&[("start_thread", Program)]), 0);
    }

    #[test]
    fn names_of_other_compilers_are_code() {
        let named = |system_name: &str| Line { system_name: system_name.into(), ..line("selvedge::thread::run", "") };
        assert!(is_machinery(&named("_ZN8selvedge6thread3run17h0123456789abcdefE")));
        assert!(is_machinery(&named("_RNvNtCs1_8selvedge6thread3run")));
        assert!(!is_machinery(&named("_ZN8selvedge6thread3runEv")));
    }
}
