//! The frames of waits. Keeps a bounded number of names, however many names the program gives to
//! its locks and queues.

use crate::profile::raw::wait_frames;
use crate::thread::pool_names::without_numbers;
use crate::wait::Label;
use std::collections::HashSet;
use std::sync::Arc;

/// The number of names that are kept whole. As many again are kept without their numbers; all
/// others are replaced by their kind.
const MOST: usize = 1024;

#[derive(Clone, Default)]
pub(super) struct WaitNames {
    known: HashSet<Arc<str>>,
}

impl WaitNames {
    pub(super) fn frames(&mut self, label: &Label) -> Arc<str> {
        self.keep(wait_frames(label), || format!("[waiting for {}]", label.kind()))
    }

    /// The name itself, without its numbers, or the kind: depending on how many names are kept
    /// already.
    fn keep(&mut self, name: Arc<str>, kind: impl FnOnce() -> String) -> Arc<str> {
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        let name = if self.known.len() < MOST { name } else { without_numbers(&name).into() };
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        // Kinds are few: their number is that of the blocking calls of this crate.
        let name = if self.known.len() < 2 * MOST { name } else { kind().into() };
        self.known.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_shortened() {
        let mut wait_names = WaitNames::default();
        let mut keep = |name: String| wait_names.keep(name.into(), || "[waiting for queue]".into()).to_string();
        for n in 0..MOST {
            assert_eq!(keep(format!("queue \"jobs-{n}\"")), format!("queue \"jobs-{n}\""));
        }
        assert_eq!(keep("queue \"jobs-77\"".into()), "queue \"jobs-77\"");
        assert_eq!(keep("queue \"jobs-5000\"".into()), "queue \"jobs-*\"");
        assert_eq!(keep("queue \"jobs-5001\"".into()), "queue \"jobs-*\"");
        let letters = |n: usize| -> String { n.to_string().bytes().map(|digit| (digit + 49) as char).collect() };
        for n in 0..10_000 {
            keep(format!("queue \"{}\"", letters(n)));
        }
        assert_eq!(keep("queue \"another\"".into()), "[waiting for queue]");
        assert!(wait_names.known.len() <= 2 * MOST + 1, "{}", wait_names.known.len());
    }
}
