//! Shortens the names of functions, and leaves out frames, that the compiler has added and that no
//! reader needs. Knows names, not addresses.

use super::collapse::Collapse;
use super::{FlameOptions, Stack, Stacks};
use std::collections::HashMap;
use std::sync::Arc;

/// The names of some stacks' frames as they are shown.
pub(crate) struct Names<'a> {
    stacks: &'a Stacks,
    /// The shown name, by the whole name. `None`: the frame is not shown. Empty: all names are
    /// shown whole.
    abridged: HashMap<&'a str, Option<Arc<str>>>,
    collapse: Option<Collapse>,
}

impl<'a> Names<'a> {
    /// All frames, with their whole names.
    pub(crate) fn unabridged(stacks: &'a Stacks) -> Names<'a> {
        Names { stacks, abridged: HashMap::new(), collapse: None }
    }

    /// Short names, without plumbing.
    pub(crate) fn abridged(stacks: &'a Stacks) -> Names<'a> {
        let lines = stacks.locations.iter().flat_map(|location| &location.lines);
        let mut abridged = HashMap::new();
        for line in lines {
            let name = || (!is_plumbing(&line.function)).then(|| Arc::from(short(&line.function)));
            abridged.entry(&*line.function).or_insert_with(name);
        }
        Names { stacks, abridged, collapse: None }
    }

    /// The names as a picture with these options shows them.
    pub(super) fn shown(stacks: &'a Stacks, options: &FlameOptions) -> Names<'a> {
        if options.unabridged {
            return Names::unabridged(stacks);
        }
        let collapse = Some(Collapse::new(options.collapse.as_deref()));
        Names { collapse, ..Names::abridged(stacks) }
    }

    /// The functions of a stack, root first; inlined functions are frames of their own. Never
    /// empty.
    pub(crate) fn of(&self, stack: &'a Stack) -> Vec<&Arc<str>> {
        let shown = self.without_plumbing(stack);
        match &self.collapse {
            Some(collapse) => collapse.collapse(shown),
            None => shown,
        }
    }

    /// Leaves out plumbing, unless the stack has nothing else.
    fn without_plumbing(&self, stack: &'a Stack) -> Vec<&Arc<str>> {
        let locations = stack.frames.iter().rev().map(|&frame| &self.stacks.locations[frame]);
        let all = || locations.clone().flat_map(|location| location.lines.iter().rev().map(|line| &line.function));
        if self.abridged.is_empty() {
            return all().collect();
        }
        let shown: Vec<_> = all().filter_map(|function| self.abridged[&**function].as_ref()).collect();
        // The stack is plumbing only, so plumbing is the code that ran.
        if shown.is_empty() { all().collect() } else { shown }
    }
}

/// Returns `true` for plumbing: a function that only calls a closure, by one of the many forms of
/// `FnOnce::call_once`, or code that may panic. Its own time goes to its caller.
pub(crate) fn is_plumbing(function: &str) -> bool {
    const EXACT: [&str; 3] = ["__rust_try", "std::panicking::try", "std::panic::catch_unwind"];
    const STARTS: [&str; 6] = [
        "std::panicking::try::",
        "std::panicking::try<",
        "std::panicking::catch_unwind",
        "std::panic::catch_unwind<",
        "std::panic::catch_unwind::",
        "std::sys::backtrace::__rust_begin_short_backtrace",
    ];
    // Inlined functions without paths, as with `debug = "line-tables-only"`.
    const ENDS: [&str; 2] = [" (ops/function.rs)", " (panic/unwind_safe.rs)"];
    EXACT.contains(&function)
        || STARTS.iter().any(|start| function.starts_with(start))
        || ENDS.iter().any(|end| function.ends_with(end))
        || is_call_of_closure(function)
}

/// `FnOnce::call_once` and the like: shims, boxes, references, `AssertUnwindSafe`.
fn is_call_of_closure(function: &str) -> bool {
    let Some(at) = function.find("core::ops::function::Fn") else { return false };
    let rest = &function[at..];
    let ends = |after: &str| after.is_empty() || ["::{", "{{", "::<"].iter().any(|more| after.starts_with(more));
    let calls = ["::call_once", "::call_mut", "::call"];
    calls.iter().any(|call| rest.match_indices(call).any(|(at, _)| ends(&rest[at + call.len()..])))
}

/// The name without type parameters, numbers of closures, and the linker's additions.
pub(crate) fn short(name: &str) -> String {
    // A remark, or a C++ operator, whose name may contain a `<`.
    if name.starts_with('[') || name.contains("operator") {
        return name.into();
    }
    let mut short = String::with_capacity(name.len());
    let mut rest = without_suffix(name);
    while let Some(at) = rest.find(['<', '{']) {
        let (before, group) = rest.split_at(at);
        let Some(length) = closing(group) else { break };
        let inner = &group[1..length - 1];
        short.push_str(before);
        rest = &group[length..];
        if group.starts_with('{') {
            push_braces(&mut short, inner);
        } else if short.ends_with("drop_in_place") || short.ends_with("drop_in_place::") {
            // The dropped part is the whole name.
            short.push_str(&format!("<{}>", self::short(inner)));
        } else if short.is_empty() {
            short.push_str(&implementor(inner));
        } else {
            short.truncate(short.trim_end_matches(':').len());
        }
    }
    short.push_str(rest);
    short
}

/// Closures lose their numbers: all closures of a function, nested ones too, are shown as one.
fn push_braces(short: &mut String, inner: &str) {
    let inner = inner.trim_matches(['{', '}']);
    if inner.starts_with("closure") {
        if !short.ends_with("{closure}::") {
            short.push_str("{closure}");
            return;
        }
    } else if !inner.contains("shim") {
        short.push_str(&format!("{{{inner}}}"));
        return;
    }
    short.truncate(short.trim_end_matches(':').len());
}

/// The shown part of `A as B`: the type, or the trait if the type is only a parameter or has no
/// name.
fn implementor(inner: &str) -> String {
    let (kind, of_trait) = match top_level_as(inner) {
        Some(at) => (&inner[..at], Some(&inner[at + 4..])),
        None => (inner, None),
    };
    let is_named = kind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !["dyn ", "impl ", "fn("].iter().any(|start| kind.starts_with(start));
    let is_parameter = kind.len() <= 2 || kind == "Self";
    match of_trait {
        Some(of_trait) if !is_named || is_parameter => short(of_trait),
        None if !is_named => format!("<{kind}>"),
        _ => short(kind),
    }
}

/// The place of ` as ` outside of all groups.
fn top_level_as(inner: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (at, c) in inner.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if inner[..at].ends_with(['-', '=']) => {}
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && inner[at..].starts_with(" as ") => return Some(at),
            _ => {}
        }
    }
    None
}

/// The length of the group in `<>` or `{}` at the beginning of the text. The `>` of an arrow closes
/// no group.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (at, c) in text.char_indices() {
        match c {
            '<' | '{' => depth += 1,
            '>' if text[..at].ends_with(['-', '=']) => {}
            '>' | '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The name without Rust's hash, and without the suffixes of a function's parts and copies.
fn without_suffix(name: &str) -> &str {
    const COPIES: [&str; 6] = [".llvm.", ".constprop.", ".isra.", ".part.", ".lto_priv.", ".cold"];
    let end = COPIES.iter().filter_map(|copy| name.find(copy)).min().unwrap_or(name.len());
    let name = &name[..end];
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_compiler_decorations() {
        let names = [
            ("app::parse", "app::parse"),
            ("alloc::vec::Vec<T,A>::push", "alloc::vec::Vec::push"),
            ("alloc::vec::Vec::<u8>::push", "alloc::vec::Vec::push"),
            ("<alloc::vec::Vec<T,A> as core::ops::drop::Drop>::drop", "alloc::vec::Vec::drop"),
            ("<app::Walk<F> as core::iter::Iterator>::fold::<(), fn(u8) -> u8>", "app::Walk::fold"),
            ("<T as core::convert::Into<U>>::into", "core::convert::Into::into"),
            ("<&mut W as std::io::Write>::write_all", "std::io::Write::write_all"),
            ("<[T] as core::fmt::Debug>::fmt", "core::fmt::Debug::fmt"),
            ("<dyn app::Job as core::any::Any>::type_id", "core::any::Any::type_id"),
            ("<app::Reader>::next", "app::Reader::next"),
            ("<[u8]>::sort", "<[u8]>::sort"),
            ("core::slice::<impl [T]>::sort_unstable_by", "core::slice::sort_unstable_by"),
            ("core::str::<impl str>::trim", "core::str::trim"),
            ("core::ptr::drop_in_place<alloc::vec::Vec<u8>>", "core::ptr::drop_in_place<alloc::vec::Vec>"),
            ("app::main::{{closure}}", "app::main::{closure}"),
            ("app::main::{{closure}}::{{closure}}::inner", "app::main::{closure}::inner"),
            ("app::main::{closure#0}::{closure#12}", "app::main::{closure}"),
            ("app::<impl app::A<fn(u8) -> u8> for app::B>::go", "app::go"),
            ("app::work::h0123456789abcdef", "app::work"),
            ("app::work::here", "app::work::here"),
            ("work.constprop.0.isra.3", "work"),
            ("std::vector<int, std::allocator<int> >::push_back", "std::vector::push_back"),
            ("std::operator<< <std::char_traits<char> >", "std::operator<< <std::char_traits<char> >"),
            ("app::less<", "app::less<"),
            ("app::odd>", "app::odd>"),
            ("[libfoo.so+0x12]", "[libfoo.so+0x12]"),
            ("lt (src/main.rs)", "lt (src/main.rs)"),
            ("", ""),
        ];
        for (name, expected) in names {
            assert_eq!(short(name), expected, "{name}");
        }
    }

    #[test]
    fn plumbing_is_distinguished_from_code() {
        let plumbing = [
            "core::ops::function::FnOnce::call_once",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "core::ops::function::FnOnce::call_once::{shim:vtable#0}",
            "<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once",
            "<alloc::boxed::Box<F,A> as core::ops::function::FnMut<Args>>::call_mut",
            "<&F as core::ops::function::Fn<A>>::call",
            "<core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once",
            "core::ops::function::impls::<impl core::ops::function::FnOnce<A> for &F>::call_once",
            "<app::main::{closure#0} as core::ops::function::FnOnce<()>>::call_once::<()>",
            "std::panicking::try",
            "std::panicking::try::do_call",
            "std::panicking::catch_unwind::<(), app::F>",
            "std::panic::catch_unwind",
            "__rust_try",
            "call_once (ops/function.rs)",
        ];
        for name in plumbing {
            assert!(is_plumbing(name), "{name}");
        }
        let code = [
            "app::main",
            "app::apply::<dyn core::ops::function::Fn(u32)>",
            "std::panicking::try_lock",
            "std::panic::catch_unwinding",
            "app::call_once",
            "call_once (app/function.rs)",
        ];
        for name in code {
            assert!(!is_plumbing(name), "{name}");
        }
    }
}
