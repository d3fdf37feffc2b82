//! Unregistered threads: threads of the process that are not in the tree. They do not report their
//! start, so the sampler looks for them. The kernel copies their stacks, since a stack may be
//! unmapped at any time.
//!
//! Invariants
//! 1. An unregistered thread is held without a thread of the tree in charge. A thread of the tree
//!    with the same id takes its place.
//! 2. The CPU time that an unregistered thread has used since the recording began, or since it left
//!    the tree, is in its account once it is held. What it used before that is `[unsampled]`.
//! 3. Process CPU time that no account covers goes to one extra account, so that the process total
//!    balances: that of threads that lived between two looks, and of the beginnings and ends of
//!    others.

use super::super::slot::{Mapping, StackBounds};
use super::{SampledThread, State, nanos};
use crate::os::tasks::Copied;
use crate::os::{CpuClock, tasks};
use crate::profile::engines::timer::accounting::{Accounting, ThreadClock};
use crate::profile::engines::timer::table;
use crate::profile::engines::timer::triggers::Source;
use crate::profile::engines::{UNSEEN, label_of_unregistered};
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

/// The sampler looks this often, or less, if a look takes long.
const SCAN_PAUSE: Duration = Duration::from_millis(50);

/// A look may take this part of the time.
const EFFORT: u32 = 20;

/// A thread gets a slot once it has used this much CPU time, in nanoseconds. Before that it may be
/// a thread of the tree that starts or ends, or a thread that does nothing.
const WORTH: u64 = 1_000_000;

/// What is known of unregistered threads.
pub(super) struct Unregistered {
    /// By kernel thread id: the threads that are not held.
    candidates: HashMap<i32, Candidate>,
    /// Of the process, at the beginning.
    cpu: u64,
    /// `None`: the threads of the tree are still being listed.
    next: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Candidate {
    /// The CPU clock from which on its time belongs to the recording and to no account yet.
    since: u64,
    /// The number of looks at which it was there. 0: it has left the tree since the last look.
    times: u32,
}

impl Unregistered {
    pub(super) fn new() -> Unregistered {
        Unregistered { candidates: HashMap::new(), cpu: tasks::cpu_nanos_of_all(), next: None }
    }

    /// Forgets threads that are gone. A thread that has left the tree since the last look may have
    /// come after the list was made, so it is kept for one look more.
    fn forget_gone(&mut self, living: &HashSet<i32>) {
        self.candidates.retain(|id, candidates| {
            let has_just_left = candidates.times == 0;
            if has_just_left && !living.contains(id) {
                candidates.times = 1;
            }
            has_just_left || living.contains(id)
        });
    }
}

impl State {
    /// By now all threads of the tree are held: each other living thread is unregistered.
    pub(in super::super) fn begin_scans(&mut self) {
        let Some(unregistered) = &mut self.unregistered else { return };
        if let Err(cause) = Copied::probe() {
            self.obstacles.memory(cause);
        }
        let living = tasks::list().unwrap_or_else(|cause| {
            self.obstacles.list(cause);
            Vec::new()
        });
        for id in living.into_iter().filter(|id| !self.sampled.contains_key(id)) {
            let since = nanos(CpuClock::of_thread(id)).unwrap_or(0);
            unregistered.candidates.insert(id, Candidate { since, times: 1 });
        }
        unregistered.next = Some(Instant::now());
    }

    /// Returns `true` if it is time for the next look.
    pub(in super::super) fn is_scan_due(&self) -> bool {
        let next = self.unregistered.as_ref().and_then(|unregistered| unregistered.next);
        self.running && next.is_some_and(|next| Instant::now() >= next)
    }

    /// Finds unregistered threads, and the ends of those found before. `living` are the threads of
    /// the process, or why they could not be listed.
    pub(in super::super) fn scan(&mut self, living: io::Result<Vec<i32>>) {
        let living = match living {
            Ok(living) => living,
            Err(cause) => {
                self.obstacles.list(cause);
                if let Some(unregistered) = &mut self.unregistered {
                    unregistered.next = Some(Instant::now() + SCAN_PAUSE);
                }
                return;
            }
        };
        let (began, living) = (Instant::now(), HashSet::from_iter(living));
        // Those are none.
        self.attach_deferred();
        self.end_unregistered_but(&living);
        self.find_stacks();
        let Some(mut unregistered) = self.unregistered.take().filter(|_| self.running) else { return };
        unregistered.forget_gone(&living);
        for id in living {
            let clock = CpuClock::of_thread(id);
            let Some(now) = nanos(clock).filter(|_| !self.sampled.contains_key(&id)) else { continue };
            // All CPU time of a thread that was not there before belongs to the recording.
            let candidates = unregistered.candidates.entry(id).or_insert(Candidate { since: 0, times: 0 });
            if now < candidates.since {
                // Another thread has the id.
                *candidates = Candidate { since: 0, times: 0 };
            }
            candidates.times += 1;
            let stays = self.triggers.source() == Source::Wall && candidates.times > 1;
            if now - candidates.since >= WORTH || stays {
                let since = candidates.since;
                unregistered.candidates.remove(&id);
                self.add_unregistered(id, clock, since, now);
            }
        }
        unregistered.next = Some(began + SCAN_PAUSE.max(began.elapsed() * EFFORT));
        self.unregistered = Some(unregistered);
    }

    fn end_unregistered_but(&mut self, living: &HashSet<i32>) {
        let unregistered = self.sampled.iter().filter(|(_, sampled)| sampled.is_unregistered());
        let ended: Vec<i32> = unregistered.map(|(id, _)| *id).filter(|id| !living.contains(id)).collect();
        for id in ended {
            self.end_unregistered(id);
        }
    }

    fn add_unregistered(&mut self, id: i32, clock: CpuClock, since: u64, now: u64) {
        let Some(entry) = table::claim(id) else { return };
        let account =
            self.accounting.open(label_of_unregistered(&tasks::name(id)).into(), None, self.time(Instant::now()));
        let (thread_clock, first) = (ThreadClock::new(account, since), self.draw_first_expiry());
        self.add_sampled(id, entry, clock, thread_clock, StackBounds::Found(Mapping::unknown()), None, first);
        // What it has used before it was found.
        self.settle(id, Some(now));
    }

    /// A thread that has left the tree, its CPU clock being at `clock`: if it goes on, it is a
    /// unregistered thread from here on.
    pub(super) fn has_left_tree(&mut self, id: i32, clock: Option<u64>) {
        if let (Some(unregistered), Some(since)) = (&mut self.unregistered, clock) {
            unregistered.candidates.insert(id, Candidate { since, times: 0 });
        }
    }

    /// A unregistered thread that has ended, or joins the tree now. What it has used since its last sample is
    /// in the books in the latter case only: a clock that is gone cannot be read.
    pub(super) fn end_unregistered(&mut self, id: i32) {
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        self.triggers.end(sampled.trigger.take());
        sampled.entry.clear_slot();
        self.empty(id, None, None);
        self.settle(id, None);
        if let Some(sampled) = self.remove_sampled(id) {
            let ended = self.time(Instant::now());
            sampled.thread_clock.owners().for_each(|account| self.accounting.end(account, ended));
        }
    }

    /// For unregistered that were met where no stack was known: what is mapped there.
    fn find_stacks(&mut self) {
        // Listed once for all of them: it takes milliseconds where there are a thousand threads.
        let mut mappings = None;
        for (&id, sampled) in &self.sampled {
            if let StackBounds::Found(mapping) = sampled.slot.stack()
                && let Some(pointer) = mapping.take_missed_pointer()
                && let Some(range) = tasks::around(mappings.get_or_insert_with(tasks::mappings), pointer)
            {
                mapping.set_range(range, pointer);
                if sampled.wall_state.is_some() {
                    // By the wall clock, a waiting thread would not be asked a second time.
                    self.obstacles.send(id);
                }
            }
        }
    }

    /// Adds the extra account of invariant 3 to accounts that are otherwise closed.
    pub(super) fn close_process(&self, accounting: &mut Accounting) {
        let Some(unregistered) = self.unregistered.as_ref().filter(|_| self.triggers.source() != Source::Wall) else {
            return;
        };
        let used = tasks::cpu_nanos_of_all().saturating_sub(unregistered.cpu);
        accounting.add_unsampled(label_of_unregistered(UNSEEN).into(), used.saturating_sub(accounting.cpu()));
    }
}

impl SampledThread {
    pub(super) fn is_unregistered(&self) -> bool {
        matches!(self.slot.stack(), StackBounds::Found(_))
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
        for (id, times) in [(1, 0), (2, 0), (3, 5), (4, 5)] {
            unregistered.candidates.insert(id, Candidate { since: 7, times });
        }
        unregistered.forget_gone(&HashSet::from([1, 3]));
        assert_eq!(ids(&unregistered), [1, 2, 3]);
        // The look counts the living threads. It does not meet the others.
        for id in [1, 3] {
            unregistered.candidates.get_mut(&id).unwrap().times += 1;
        }
        unregistered.forget_gone(&HashSet::from([1, 3]));
        assert_eq!(ids(&unregistered), [1, 3]);
        unregistered.forget_gone(&HashSet::new());
        assert!(ids(&unregistered).is_empty());
    }
}
