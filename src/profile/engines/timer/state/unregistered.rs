//! What the sampler remembers about threads that are neither in the tree nor sampled, from one scan
//! of the kernel's list of threads to the next. No sampling; `scan.rs` does that.

use crate::os::tasks;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// What is known of unregistered threads.
pub(super) struct Unregistered {
    /// The threads that are not sampled, by kernel thread id.
    pub(super) candidates: HashMap<i32, Candidate>,
    /// The CPU time of the process when the recording began, in nanoseconds.
    pub(super) process_cpu: u64,
    /// When the next scan is due. `None`: the threads of the tree are still being listed.
    pub(super) next_scan: Option<Instant>,
}

/// A thread that is sampled once it has used enough CPU time.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    /// Its CPU clock where its time begins to belong to the recording and to no other account.
    pub(super) since: u64,
    /// The number of scans that have found it. 0: it has left the tree since the last scan.
    pub(super) scans: u32,
}

impl Unregistered {
    pub(super) fn new() -> Unregistered {
        Unregistered { candidates: HashMap::new(), process_cpu: tasks::cpu_nanos_of_all(), next_scan: None }
    }

    /// Forgets threads that have ended. A thread that has left the tree since the last scan may
    /// have come after the list was made, so it is kept for one scan more.
    pub(super) fn forget_ended(&mut self, living: &HashSet<i32>) {
        self.candidates.retain(|id, candidate| {
            let has_just_left = candidate.scans == 0;
            if has_just_left && !living.contains(id) {
                candidate.scans = 1;
            }
            has_just_left || living.contains(id)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_left_tree_and_process_is_forgotten() {
        let mut unregistered = Unregistered::new();
        let ids = |unregistered: &Unregistered| {
            let mut ids: Vec<i32> = unregistered.candidates.keys().copied().collect();
            ids.sort_unstable();
            ids
        };
        for (id, scans) in [(1, 0), (2, 0), (3, 5), (4, 5)] {
            unregistered.candidates.insert(id, Candidate { since: 7, scans });
        }
        unregistered.forget_ended(&HashSet::from([1, 3]));
        assert_eq!(ids(&unregistered), [1, 2, 3]);
        // The scan counts the living threads. It does not find the others.
        for id in [1, 3] {
            unregistered.candidates.get_mut(&id).unwrap().scans += 1;
        }
        unregistered.forget_ended(&HashSet::from([1, 3]));
        assert_eq!(ids(&unregistered), [1, 3]);
        unregistered.forget_ended(&HashSet::new());
        assert!(ids(&unregistered).is_empty());
    }
}
