//! What threads wait for, as frames: a bounded number of names, whatever the program calls its
//! things.

use super::pools::without_numbers;
use crate::profile::build;
use crate::wait::Label;
use std::collections::HashSet;
use std::sync::Arc;

/// Names that are kept as they are. As many again are kept without their numbers; of all others the
/// kind is what remains.
const MOST: usize = 1024;

#[derive(Clone, Default)]
pub(super) struct WaitNames {
    known: HashSet<Arc<str>>,
}

impl WaitNames {
    pub(super) fn frame(&mut self, label: &Label) -> Arc<str> {
        self.keep(build::waiting(label), || format!("[waiting for {}]", label.kind()))
    }

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
