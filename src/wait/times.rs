//! How long one thread has waited, and for what. The thread counts it itself, each time that what
//! it waits for changes, while a recording by the wall clock asks for it. Knows neither the
//! recording nor the thread.
//!
//! Invariants
//! 1. Time is counted once: under the innermost wait of that time. Time outside of all waits is not
//!    counted.
//! 2. An index stays its label's from one reading to the next. So the reader of a reading knows
//!    each index that was shown since the reading before.

use std::sync::Arc;
use std::time::Instant;

/// More labels than this between two readings lose their holders, and twice as many their names:
/// each change looks through them.
const MAX_LABELS: usize = 64;

/// What a stretch of waiting is counted under: what was known when the wait was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(super) kind: &'static str,
    /// `None`: left out, since there were too many.
    pub(super) name: Option<Arc<str>>,
    /// The number of the thread that held what is waited for; 0 if none did.
    pub(super) holder: u64,
}

/// One label's part of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waited {
    pub(crate) index: usize,
    pub(crate) label: Label,
    pub(crate) nanos: u64,
}

#[derive(Debug)]
pub(super) struct Times {
    /// By index. `None`: free.
    entries: Vec<Option<Entry>>,
    /// The index of the innermost wait.
    current: Option<usize>,
    /// Up to here all is counted.
    since: Instant,
    /// When the recording that asks began.
    recording: Instant,
}

#[derive(Debug)]
struct Entry {
    label: Label,
    nanos: u64,
    /// It was current since the last reading.
    is_used: bool,
}

impl Label {
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Times {
    pub(super) fn new(since: Instant, recording: Instant) -> Times {
        Times { entries: Vec::new(), current: None, since, recording }
    }

    /// Returns `true` if the recording that began then has asked for them.
    pub(super) fn are_of(&self, recording: Instant) -> bool {
        self.recording == recording
    }

    /// Counts the time up to `at`.
    pub(super) fn count(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.since);
        self.since += passed;
        if let Some(Some(entry)) = self.current.and_then(|current| self.entries.get_mut(current)) {
            entry.nanos += passed.as_nanos() as u64;
        }
    }

    /// From where the count has come to, time is that label's. Returns its index.
    pub(super) fn enter(&mut self, label: Option<Label>) -> Option<usize> {
        self.current = label.map(|label| self.index(label));
        self.current
    }

    fn known(&self, label: &Label) -> Option<usize> {
        self.entries.iter().position(|entry| entry.as_ref().is_some_and(|entry| entry.label == *label))
    }

    fn index(&mut self, mut label: Label) -> usize {
        let mut found = self.known(&label);
        let is_full = |times: &Times, most| times.entries.iter().flatten().count() >= most;
        if found.is_none() && is_full(self, MAX_LABELS) {
            label.holder = 0;
            found = self.known(&label);
        }
        if found.is_none() && is_full(self, 2 * MAX_LABELS) {
            label.name = None;
            found = self.known(&label);
        }
        let index = found.unwrap_or_else(|| {
            let free = self.entries.iter().position(Option::is_none).unwrap_or(self.entries.len());
            if free == self.entries.len() {
                self.entries.push(None);
            }
            self.entries[free] = Some(Entry { label, nanos: 0, is_used: true });
            free
        });
        if let Some(entry) = &mut self.entries[index] {
            entry.is_used = true;
        }
        index
    }

    /// What was counted since the last reading goes into `waited`. Labels that were not current
    /// since then are forgotten.
    pub(super) fn read(&mut self, waited: &mut Vec<Waited>) {
        for (index, place) in self.entries.iter_mut().enumerate() {
            let Some(entry) = place else { continue };
            if !entry.is_used {
                *place = None;
                continue;
            }
            let nanos = std::mem::take(&mut entry.nanos);
            entry.is_used = self.current == Some(index);
            waited.push(Waited { index, label: entry.label.clone(), nanos });
        }
    }

    /// The label of that index, which was shown since the last reading.
    pub(super) fn label(&self, index: usize) -> Option<&Label> {
        self.entries.get(index)?.as_ref().map(|entry| &entry.label)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn label(name: &str, holder: u64) -> Label {
        Label { kind: "lock", name: Some(name.into()), holder }
    }

    fn read(times: &mut Times) -> Vec<(usize, Option<String>, u64)> {
        let mut waited = Vec::new();
        times.read(&mut waited);
        waited.into_iter().map(|one| (one.index, one.label.name.map(|name| name.to_string()), one.nanos)).collect()
    }

    #[test]
    fn each_moment_is_counted_once_under_its_label() {
        let begun = Instant::now();
        let at = |nanos| begun + Duration::from_nanos(nanos);
        let mut times = Times::new(begun, begun);
        times.count(at(10));
        assert_eq!(times.enter(Some(label("a", 0))), Some(0));
        times.count(at(30));
        assert_eq!(times.enter(Some(label("b", 0))), Some(1));
        // A wait that says it began before the last count.
        times.count(at(25));
        times.enter(Some(label("a", 0)));
        times.count(at(37));
        times.enter(None);
        times.count(at(100));
        assert_eq!(read(&mut times), [(0, Some("a".into()), 27), (1, Some("b".into()), 0)]);
        assert_eq!(read(&mut times), []);
        // Its place was free again, and stays its own while it is current.
        assert_eq!(times.enter(Some(label("c", 0))), Some(0));
        assert_eq!(read(&mut times), [(0, Some("c".into()), 0)]);
        times.count(at(105));
        assert_eq!(read(&mut times), [(0, Some("c".into()), 5)]);
        assert_eq!(times.label(0), Some(&label("c", 0)));
    }

    #[test]
    fn a_label_that_is_current_again_is_read_again() {
        let begun = Instant::now();
        let mut times = Times::new(begun, begun);
        for round in 1..=3 {
            times.enter(Some(label("a", 0)));
            times.count(begun + Duration::from_nanos(round * 10));
            times.enter(None);
            assert_eq!(read(&mut times), [(0, Some("a".into()), 10)], "{round}");
        }
        assert_eq!(read(&mut times), []);
    }

    #[test]
    fn too_many_labels_lose_their_holders_then_their_names_and_no_time() {
        let begun = Instant::now();
        let mut times = Times::new(begun, begun);
        for n in 0..10_000u64 {
            times.enter(Some(label(&format!("lock-{}", n % 300), n % 7)));
            times.count(begun + Duration::from_nanos((n + 1) * 10));
        }
        times.enter(None);
        let waited = read(&mut times);
        assert!(waited.len() <= 2 * MAX_LABELS + 1, "{}", waited.len());
        assert_eq!(waited.iter().map(|(_, _, nanos)| nanos).sum::<u64>(), 100_000);
        assert!(waited.iter().any(|(_, name, _)| name.is_none()));
    }
}
