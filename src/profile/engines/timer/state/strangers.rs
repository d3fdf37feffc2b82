//! Threads of the process that are not in the tree: nobody tells of them, so the sampler looks for them. Their stacks are read by
//! the kernel, as nobody says how long they last.
//!
//! Invariants
//! 1. A stranger is held with no thread of the tree in charge. Whoever of the tree comes with the same id takes its place.
//! 2. What a stranger has used since the recording began, or since it left the tree, is in its books from when it is held;
//!    what it used while it was not is `[unsampled]`.
//! 3. What the whole process has used, and nobody's books have, is of threads that lived between two looks, and of the beginnings
//!    and ends of others: one account has it, so that the books of the process close as well.

use super::super::slot::{Mapping, Stack};
use super::{Held, State, nanos};
use crate::os::tasks::Copied;
use crate::os::{CpuClock, tasks};
use crate::profile::engines::timer::books::{Books, Meter};
use crate::profile::engines::timer::table;
use crate::profile::engines::timer::triggers::Source;
use crate::profile::engines::{UNSEEN, label_of_other};
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

/// The sampler looks this often, or less, if a look takes long.
const PAUSE: Duration = Duration::from_millis(50);

/// A look may take this part of the time.
const EFFORT: u32 = 20;

/// CPU time, in nanoseconds, from which on a thread gets a slot: before, it is one of the tree's that is being born or dies, or
/// one that does nothing.
const WORTH: u64 = 1_000_000;

/// What is known of the threads that nobody tells of.
pub(super) struct Strangers {
    /// By kernel thread id, of those that are not held.
    seen: HashMap<i32, Seen>,
    /// Of the process, at the beginning.
    cpu: u64,
    /// `None`: those of the tree are still being listed.
    next: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Seen {
    /// The CPU clock from which on its time is the recording's and nobody's.
    since: u64,
    /// At how many looks it was there. 0: it has left the tree since the last one.
    times: u32,
}

impl Strangers {
    pub(super) fn new() -> Strangers {
        Strangers { seen: HashMap::new(), cpu: tasks::cpu_nanos_of_all(), next: None }
    }

    /// Who has left the tree since the last look may have come after the list was made, and is known for one look more.
    fn forget_who_is_gone(&mut self, living: &HashSet<i32>) {
        self.seen.retain(|id, seen| {
            let has_just_left = seen.times == 0;
            if has_just_left && !living.contains(id) {
                seen.times = 1;
            }
            has_just_left || living.contains(id)
        });
    }
}

impl State {
    /// All of the tree's threads are held by now: what else lives is a stranger.
    pub(in super::super) fn begin_to_look(&mut self) {
        let Some(strangers) = &mut self.strangers else { return };
        if let Err(cause) = Copied::probe() {
            self.refused.memory(cause);
        }
        let living = tasks::list().unwrap_or_else(|cause| {
            self.refused.list(cause);
            Vec::new()
        });
        for id in living.into_iter().filter(|id| !self.held.contains_key(id)) {
            let since = nanos(CpuClock::of_thread(id)).unwrap_or(0);
            strangers.seen.insert(id, Seen { since, times: 1 });
        }
        strangers.next = Some(Instant::now());
    }

    /// Whether it is time to look who lives.
    pub(in super::super) fn wants_to_look(&self) -> bool {
        let next = self.strangers.as_ref().and_then(|strangers| strangers.next);
        self.running && next.is_some_and(|next| Instant::now() >= next)
    }

    /// Finds the threads that are not in the tree, and the ends of those that were found: `living` were there just now, or could not
    /// be listed.
    pub(in super::super) fn look(&mut self, living: io::Result<Vec<i32>>) {
        let living = match living {
            Ok(living) => living,
            Err(cause) => {
                self.refused.list(cause);
                if let Some(strangers) = &mut self.strangers {
                    strangers.next = Some(Instant::now() + PAUSE);
                }
                return;
            }
        };
        let (began, living) = (Instant::now(), HashSet::from_iter(living));
        // Those are none.
        self.take_in_who_passes();
        self.end_strangers_but(&living);
        self.find_stacks();
        let Some(mut strangers) = self.strangers.take().filter(|_| self.running) else { return };
        strangers.forget_who_is_gone(&living);
        for id in living {
            let clock = CpuClock::of_thread(id);
            let Some(now) = nanos(clock).filter(|_| !self.held.contains_key(&id)) else { continue };
            // Of one that was not there before, all is the recording's.
            let seen = strangers.seen.entry(id).or_insert(Seen { since: 0, times: 0 });
            if now < seen.since {
                // Another thread has the id.
                *seen = Seen { since: 0, times: 0 };
            }
            seen.times += 1;
            let stays = self.triggers.source() == Source::Wall && seen.times > 1;
            if now - seen.since >= WORTH || stays {
                let since = seen.since;
                strangers.seen.remove(&id);
                self.hold_stranger(id, clock, since, now);
            }
        }
        strangers.next = Some(began + PAUSE.max(began.elapsed() * EFFORT));
        self.strangers = Some(strangers);
    }

    fn end_strangers_but(&mut self, living: &HashSet<i32>) {
        let strangers = self.held.iter().filter(|(_, held)| held.is_stranger());
        let ended: Vec<i32> = strangers.map(|(id, _)| *id).filter(|id| !living.contains(id)).collect();
        for id in ended {
            self.end_stranger(id);
        }
    }

    fn hold_stranger(&mut self, id: i32, clock: CpuClock, since: u64, now: u64) {
        let Some(entry) = table::claim(id) else { return };
        let account = self.books.open(label_of_other(&tasks::name(id)).into(), None, self.time(Instant::now()));
        let (meter, first) = (Meter::new(account, since), self.draw());
        self.hold(id, entry, clock, meter, Stack::Found(Mapping::unknown()), None, first);
        // What it has used before it was found.
        self.settle(id, Some(now));
    }

    /// A thread that has left the tree, its CPU clock being at `clock`: if it goes on, it is a stranger from here on.
    pub(super) fn has_left(&mut self, id: i32, clock: Option<u64>) {
        if let (Some(strangers), Some(since)) = (&mut self.strangers, clock) {
            strangers.seen.insert(id, Seen { since, times: 0 });
        }
    }

    /// A stranger that has ended, or joins the tree now. What it has used since its last sample is in the books in the latter case
    /// only: a clock that is gone cannot be read.
    pub(super) fn end_stranger(&mut self, id: i32) {
        let Some(held) = self.held.get_mut(&id) else { return };
        self.triggers.end(held.trigger.take());
        held.entry.take();
        self.empty(id, None, None);
        self.settle(id, None);
        if let Some(held) = self.let_go(id) {
            let ended = self.time(Instant::now());
            held.meter.owners().for_each(|account| self.books.end(account, ended));
        }
    }

    /// For strangers that were met where no stack was known: what is mapped there.
    fn find_stacks(&mut self) {
        // Listed once for all of them: it takes milliseconds where there are a thousand threads.
        let mut mappings = None;
        for (&id, held) in &self.held {
            if let Stack::Found(mapping) = held.slot.stack()
                && let Some(pointer) = mapping.asks_for()
                && let Some(range) = tasks::around(mappings.get_or_insert_with(tasks::mappings), pointer)
            {
                mapping.found(range, pointer);
                if held.watch.is_some() {
                    // By the wall clock, one that waits is not asked a second time otherwise.
                    self.refused.send(id);
                }
            }
        }
    }

    /// Books that are closed but for what the process has used and no thread of theirs.
    pub(super) fn close_process(&self, books: &mut Books) {
        let Some(strangers) = self.strangers.as_ref().filter(|_| self.triggers.source() != Source::Wall) else {
            return;
        };
        let used = tasks::cpu_nanos_of_all().saturating_sub(strangers.cpu);
        books.add_unsampled(label_of_other(UNSEEN).into(), used.saturating_sub(books.cpu()));
    }
}

impl Held {
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.slot.stack(), Stack::Found(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_left_the_tree_and_the_process_is_forgotten() {
        let mut strangers = Strangers::new();
        let ids = |strangers: &Strangers| {
            let mut ids: Vec<i32> = strangers.seen.keys().copied().collect();
            ids.sort_unstable();
            ids
        };
        for (id, times) in [(1, 0), (2, 0), (3, 5), (4, 5)] {
            strangers.seen.insert(id, Seen { since: 7, times });
        }
        strangers.forget_who_is_gone(&HashSet::from([1, 3]));
        assert_eq!(ids(&strangers), [1, 2, 3]);
        // The look counts those that live, the others it does not meet.
        for id in [1, 3] {
            strangers.seen.get_mut(&id).unwrap().times += 1;
        }
        strangers.forget_who_is_gone(&HashSet::from([1, 3]));
        assert_eq!(ids(&strangers), [1, 3]);
        strangers.forget_who_is_gone(&HashSet::new());
        assert!(ids(&strangers).is_empty());
    }
}
