//! Draws the machinery of executors and frameworks as one frame. Between a program's call of a
//! framework and the program's code that the framework calls, there are dozens of frames that no
//! reader needs. Knows names, not addresses.

use std::sync::Arc;

/// The crates of an executor or framework that are collapsed under one name.
const KNOWN: [(&str, &[&str]); 3] = [
    ("rayon", &["rayon", "rayon_core", "crossbeam_deque", "crossbeam_epoch"]),
    (
        "tokio",
        &[
            "tokio",
            "tokio_util",
            "mio",
            "futures",
            "futures_channel",
            "futures_core",
            "futures_executor",
            "futures_util",
        ],
    ),
    ("serde", &["serde", "serde_core", "serde_json"]),
];

/// A run of fewer frames is not collapsed.
const FEWEST: usize = 2;

/// The machinery to collapse.
pub(super) struct Collapse(Vec<Group>);

struct Group {
    /// `[rayon]`, the frame in place of the frames that are not shown.
    mark: Arc<str>,
    crates: Vec<String>,
    /// Code of derive macros belongs to the group if it stands between frames of the group.
    has_derived: bool,
}

impl Collapse {
    /// All known machinery if `names` is `None`; otherwise the named machinery: each a known name,
    /// or the name of a crate.
    pub(super) fn new(names: Option<&[String]>) -> Collapse {
        let known = || KNOWN.iter().map(|(name, _)| (*name).to_owned()).collect();
        let names: Vec<String> = names.map_or_else(known, <[String]>::to_vec);
        Collapse(names.iter().map(|name| Group::of(name)).collect())
    }

    /// The frames that stand for collapsed frames.
    pub(super) fn marks(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().map(|group| &group.mark)
    }

    /// The functions of a stack, root first, with each run of frames of one group replaced by its
    /// first frame and the group's mark. The program has called the first frame. A
    /// leaf stays too, since it is the code that ran.
    pub(super) fn collapse<'a>(&'a self, functions: Vec<&'a Arc<str>>) -> Vec<&'a Arc<str>> {
        let mut shown = Vec::with_capacity(functions.len());
        let mut rest = functions.as_slice();
        while let Some(&first) = rest.first() {
            let Some(group) = self.0.iter().find(|group| group.has(first)) else {
                shown.push(first);
                rest = &rest[1..];
                continue;
            };
            let length = group.run(rest);
            let is_leaf = length == rest.len();
            let hidden = length - 1 - usize::from(is_leaf && length > 1);
            if hidden < FEWEST {
                shown.extend(&rest[..length]);
            } else {
                shown.extend([first, &group.mark]);
                shown.extend(is_leaf.then(|| rest[length - 1]));
            }
            rest = &rest[length..];
        }
        shown
    }
}

impl Group {
    fn of(name: &str) -> Group {
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        let crates =
            known.map_or_else(|| vec![name.to_owned()], |(_, crates)| crates.iter().map(|&c| c.into()).collect());
        Group { mark: Arc::from(format!("[{name}]")), crates, has_derived: name == "serde" }
    }

    /// Returns `true` if the function is in one of the group's crates.
    fn has(&self, function: &str) -> bool {
        let path = function.trim_start_matches(['<', '&']);
        self.crates.iter().any(|name| path.strip_prefix(&**name).is_some_and(|rest| rest.starts_with("::")))
    }

    /// The length of the run that begins with the first of the frames. It ends with the last frame
    /// of the group; frames of the standard library between two frames of the group belong to it.
    fn run(&self, functions: &[&Arc<str>]) -> usize {
        let mut length = 1;
        for (place, function) in functions.iter().enumerate().skip(1) {
            if self.has(function) {
                length = place + 1;
            } else if !(is_standard(function) || self.has_derived && is_derived(function)) {
                break;
            }
        }
        length
    }
}

fn is_standard(function: &str) -> bool {
    let path = function.trim_start_matches(['<', '&', '[']);
    ["std::", "core::", "alloc::", "__rust_"].iter().any(|start| path.starts_with(start))
}

/// The code of `#[derive(Deserialize)]` is in a constant without a name.
fn is_derived(function: &str) -> bool {
    function.contains("::_::") && (function.contains("serialize") || function.contains("__Visitor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collapsed(names: Option<&[&str]>, functions: &[&str]) -> Vec<String> {
        let names: Option<Vec<String>> = names.map(|names| names.iter().map(|&name| name.into()).collect());
        let collapse = Collapse::new(names.as_deref());
        let functions: Vec<Arc<str>> = functions.iter().map(|&function| function.into()).collect();
        collapse.collapse(functions.iter().collect()).into_iter().map(|function| function.to_string()).collect()
    }

    #[test]
    fn a_collapsed_run_is_its_first_frame_and_a_mark() {
        let stack = [
            "app::main",
            "rayon_core::thread_pool::ThreadPool::install",
            "rayon_core::registry::Registry::in_worker",
            "core::iter::Iterator::for_each",
            "rayon::iter::plumbing::bridge",
            "app::main::{closure}",
            "core::iter::Iterator::sum",
        ];
        let expected = [stack[0], stack[1], "[rayon]", stack[5], stack[6]];
        assert_eq!(collapsed(None, &stack), expected);
        assert_eq!(collapsed(Some(&[]), &stack), stack);
        assert_eq!(collapsed(Some(&["tokio"]), &stack), stack);
    }

    #[test]
    fn a_leaf_stays_and_so_do_short_runs() {
        let waits = [
            "rayon_core::registry::main_loop",
            "rayon_core::a",
            "rayon_core::b",
            "rayon_core::sleep::Sleep::sleep",
            "syscall",
        ];
        assert_eq!(collapsed(None, &waits), [waits[0], "[rayon]", waits[4]]);
        assert_eq!(collapsed(None, &waits[..4]), [waits[0], "[rayon]", waits[3]]);
        for few in [&waits[..1], &waits[..2], &waits[..3]] {
            assert_eq!(collapsed(None, few), few);
        }
        let alone = ["app::f", "tokio::spawn", "app::g"];
        assert_eq!(collapsed(None, &alone), alone);
    }

    #[test]
    fn derived_code_belongs_to_serde_only_between_its_frames() {
        let stack = [
            "app::read",
            "serde_json::de::from_slice",
            "app::_::deserialize",
            "serde_json::de::Deserializer::deserialize_struct",
            "app::_::deserialize::__Visitor::visit_map",
            "serde_json::de::MapAccess::next_value",
            "app::_::deserialize::__Visitor::visit_str",
            "app::Date::parse",
        ];
        let expected = [stack[0], stack[1], "[serde]", stack[6], stack[7]];
        assert_eq!(collapsed(None, &stack), expected);
    }

    #[test]
    fn groups_end_where_another_begins_and_crates_can_be_named() {
        let stack = ["tokio::a", "tokio::b", "mio::c", "tower::a", "tower::b", "tower::c", "towering::d", "app::e"];
        assert_eq!(collapsed(None, &stack)[..3], ["tokio::a", "[tokio]", "tower::a"]);
        let named = collapsed(Some(&["tokio", "tower"]), &stack);
        assert_eq!(named, ["tokio::a", "[tokio]", "tower::a", "[tower]", "towering::d", "app::e"]);
    }
}
