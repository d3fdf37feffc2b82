//! Decides which part of a label is shown: folds pools, selects a subtree, hides the runtime's
//! threads. Knows paths, not threads.

use super::FlameOptions;
use super::options::Pools;
use crate::thread::pool_names::without_numbers;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The first part of the labels of the runtime's own threads.
const RUNTIME: &str = "main/selvedge";

/// How frames begin that name a thread. They end with a bracket.
const NAMING: [&str; 2] = ["[held by ", "[ended by "];

/// How the options show the labels of some stacks.
pub(super) struct Labels<'a> {
    options: &'a FlameOptions,
    /// The names in each pool. The key is the pool's path, with the pools above it folded.
    pools: HashMap<String, HashSet<&'a str>>,
}

impl<'a> Labels<'a> {
    /// Counts the names of each pool in these stacks.
    pub(super) fn new(options: &'a FlameOptions, labels: impl Iterator<Item = &'a str>) -> Labels<'a> {
        let mut pools: HashMap<String, HashSet<&str>> = HashMap::new();
        for label in labels.filter(|_| options.pools != Pools::None) {
            let mut path = String::new();
            for part in label.split('/') {
                let pool = without_numbers(part);
                path.push('/');
                path.push_str(&pool);
                if pool != part {
                    pools.entry(path.clone()).or_default().insert(part);
                }
            }
        }
        Labels { options, pools }
    }

    /// Returns `true` if the label is hidden only because it is a thread of the runtime.
    pub(super) fn is_hidden(&self, label: &str) -> bool {
        let subtree = self.options.subtree.as_deref();
        let is_asked_for = subtree.is_some_and(|subtree| is_at_or_below(subtree, RUNTIME));
        let is_meant = subtree.is_none_or(|subtree| is_at_or_below(label, subtree));
        self.options.hides_runtime == Some(true) && !is_asked_for && is_meant && is_at_or_below(label, RUNTIME)
    }

    /// The parts of the label that are shown. `None`: its stacks are not shown.
    pub(super) fn shown(&self, label: &str) -> Option<Vec<String>> {
        let is_elsewhere = |subtree: &String| !is_at_or_below(label, subtree);
        if self.options.subtree.as_ref().is_some_and(is_elsewhere) || self.is_hidden(label) {
            return None;
        }
        if self.options.threads_dropped {
            return Some(Vec::new());
        }
        Some(self.folded(label))
    }

    /// The frame as it is shown: the thread that it names, as the holder of a lock for example, is
    /// folded as that thread's own frame is.
    pub(super) fn frame<'f>(&self, frame: &'f str) -> Cow<'f, str> {
        let named = |before: &'static str| Some((before, frame.strip_prefix(before)?.strip_suffix(']')?));
        match NAMING.into_iter().find_map(named) {
            Some((before, thread)) if !self.pools.is_empty() => {
                Cow::Owned(format!("{before}{}]", self.folded(thread).join("/")))
            }
            _ => Cow::Borrowed(frame),
        }
    }

    /// The parts of the label, with its pools folded.
    fn folded(&self, label: &str) -> Vec<String> {
        let mut path = String::new();
        let part = |part: &str| {
            let pool = without_numbers(part);
            path.push('/');
            path.push_str(&pool);
            let is_pool = self.pools.get(&path).is_some_and(|names| self.options.pools.folds(names.len()));
            if is_pool { pool } else { part.to_owned() }
        };
        label.split('/').map(part).collect()
    }
}

fn is_at_or_below(label: &str, above: &str) -> bool {
    label.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 7] = [
        "main",
        "main/crawler",
        "main/pool-1/reader-1",
        "main/pool-1/reader-2",
        "main/pool-2/reader-1",
        "main/sha256",
        "main/7",
    ];

    fn shown(options: &FlameOptions) -> Vec<String> {
        let labels = Labels::new(options, LABELS.into_iter());
        LABELS.iter().filter_map(|label| labels.shown(label)).map(|parts| parts.join("/")).collect()
    }

    #[test]
    fn pools_are_folded_where_there_is_more_than_one() {
        assert_eq!(shown(&FlameOptions::new()), LABELS);
        let folded =
            ["main", "main/crawler"].into_iter().chain(["main/pool-*/reader-*"; 3]).chain(["main/sha256", "main/7"]);
        assert_eq!(shown(&FlameOptions::new().fold_pools()), folded.collect::<Vec<_>>());
    }

    #[test]
    fn names_with_several_numbers_are_a_pool() {
        let peers: Vec<String> = (0..40).map(|n| format!("main/peer {n}.0.0.1:{}", 40_000 + n)).collect();
        let options = FlameOptions::new();
        let labels = Labels::new(&options, peers.iter().map(String::as_str));
        assert!(peers.iter().all(|label| labels.shown(label).unwrap() == ["main", "peer *.*.*.*:*"]));
    }

    #[test]
    fn a_frame_that_names_a_thread_of_a_pool_is_folded_with_it() {
        let options = FlameOptions::new().fold_pools();
        let labels = Labels::new(&options, LABELS.into_iter());
        for (frame, shown) in [
            ("[held by main/pool-1/reader-2]", "[held by main/pool-*/reader-*]"),
            ("[ended by main/crawler]", "[ended by main/crawler]"),
            ("[ended by the clock]", "[ended by the clock]"),
            ("[waiting for queue \"reader-1\"]", "[waiting for queue \"reader-1\"]"),
            ("main/pool-1/reader-2", "main/pool-1/reader-2"),
        ] {
            assert_eq!(labels.frame(frame), shown);
        }
        let unfolded = FlameOptions::new().keep_pools();
        let frame = "[held by main/pool-1/reader-2]";
        assert_eq!(Labels::new(&unfolded, LABELS.into_iter()).frame(frame), frame);
    }

    #[test]
    fn a_subtree_is_a_thread_and_all_below_it() {
        let subtree = FlameOptions::new().subtree("main/pool-1");
        assert_eq!(shown(&subtree), ["main/pool-1/reader-1", "main/pool-1/reader-2"]);
        assert_eq!(shown(&FlameOptions::new().subtree("main/crawl")), Vec::<String>::new());
        assert_eq!(shown(&FlameOptions::new().subtree("main/crawler").without_threads()), [""]);
    }

    #[test]
    fn runtime_threads_are_hidden_by_default() {
        let labels = ["main", "main/selvedge/watcher", "main/selvedge_/watcher", "main/watcher"];
        let shown = |options: FlameOptions| -> Vec<&str> {
            let shown = Labels::new(&options, labels.into_iter());
            labels.into_iter().filter(|label| shown.shown(label).is_some()).collect()
        };
        let hidden = FlameOptions::new().hide_runtime();
        assert_eq!(shown(hidden.clone()), ["main", "main/selvedge_/watcher", "main/watcher"]);
        assert_eq!(shown(hidden.clone().subtree("main/selvedge")), ["main/selvedge/watcher"]);
        assert_eq!(shown(hidden.show_runtime().hide_runtime_if(true)), labels);
        assert_eq!(shown(FlameOptions::new().hide_runtime_if(true)).len(), 3);
        assert_eq!(shown(FlameOptions::new()), labels);
    }
}
