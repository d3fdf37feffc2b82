//! Scans for unregistered threads: threads of the process that are not in the tree. They do not
//! report their start, so the sampler reads the kernel's list. The kernel copies their stacks for
//! the handler, since a stack may be unmapped at any time.
//!
//! Invariants
//! 1. An unregistered thread is sampled without a handle of the tree. A thread of the tree with the
//!    same id takes its place.
//! 2. The CPU time that an unregistered thread has used since the recording began, or since it left
//!    the tree, is in its account once it is sampled. What it used before its first signal is
//!    `[unsampled]`.
//! 3. Process CPU time that no account covers goes to one extra account, so that the process total
//!    balances: the time of threads that lived between two scans, and of the beginnings and ends of
//!    others.

use super::data::{State, cpu_nanos};
use super::threads::NewThread;
use super::unregistered::Candidate;
use crate::os::task::is_hidden;
use crate::os::tasks::Copied;
use crate::os::{CpuClock, tasks};
use crate::profile::engines::timer::accounting::{Accounting, ThreadClock};
use crate::profile::engines::timer::slot::StackBounds;
use crate::profile::engines::timer::table;
use crate::profile::engines::timer::triggers::Source;
use crate::profile::raw::UNSEEN;
use crate::wait::path_outside;
use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

/// The least time between two scans.
const SCAN_PAUSE: Duration = Duration::from_millis(50);

/// A scan may take up to one part in this many of the time.
const SCAN_SHARE: u32 = 20;

/// A thread is sampled once it has used this much CPU time, in nanoseconds. Before that it may be
/// a thread of the tree that starts or ends, or a thread that does nothing.
const MIN_CPU: u64 = 1_000_000;

/// The path of the threads of this crate that are not in the tree: pictures that hide the runtime's
/// threads hide these too.
const OWN_HELPERS: &str = "main/selvedge/helpers";

impl State {
    /// Called when all threads of the tree are sampled: each other living thread is unregistered.
    pub(in super::super) fn begin_scans(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.is_listing = false;
        }
        let Some(unregistered) = &mut self.unregistered else { return };
        if self.ring.is_none()
            && let Err(cause) = Copied::probe()
        {
            self.obstacles.note_unreadable_memory(cause);
        }
        let living = tasks::list().unwrap_or_else(|cause| {
            self.obstacles.note_unlisted(cause);
            Vec::new()
        });
        for id in living.into_iter().filter(|id| !self.sampled.contains_key(id)) {
            let since = cpu_nanos(CpuClock::of_thread(id)).unwrap_or(0);
            unregistered.candidates.insert(id, Candidate { since, scans: 1 });
        }
        unregistered.next_scan = Some(Instant::now());
    }

    /// Returns `true` if the next scan is due.
    pub(in super::super) fn is_scan_due(&self) -> bool {
        let next = self.unregistered.as_ref().and_then(|unregistered| unregistered.next_scan);
        self.running && next.is_some_and(|next| Instant::now() >= next)
    }

    /// Finds unregistered threads, and the ends of those found before. `living`: the kernel ids of
    /// all threads of the process, or why they could not be listed.
    pub(in super::super) fn scan(&mut self, living: io::Result<Vec<i32>>) {
        let living = match living {
            Ok(living) => living,
            Err(cause) => {
                self.obstacles.note_unlisted(cause);
                if let Some(unregistered) = &mut self.unregistered {
                    unregistered.next_scan = Some(Instant::now() + SCAN_PAUSE);
                }
                return;
            }
        };
        let (began, living) = (Instant::now(), HashSet::from_iter(living));
        // They are in the tree, and must not be taken for unregistered threads.
        self.attach_deferred();
        self.end_unregistered_except(&living);
        self.find_stacks();
        let Some(mut unregistered) = self.unregistered.take().filter(|_| self.running) else { return };
        unregistered.forget_ended(&living);
        for id in living {
            let clock = CpuClock::of_thread(id);
            let Some(now) = cpu_nanos(clock).filter(|_| !self.sampled.contains_key(&id)) else { continue };
            // All CPU time of a thread that was not there before belongs to the recording.
            let candidate = unregistered.candidates.entry(id).or_insert(Candidate { since: 0, scans: 0 });
            if now < candidate.since {
                // Another thread has the id.
                *candidate = Candidate { since: 0, scans: 0 };
            }
            candidate.scans += 1;
            let stays = self.triggers.source() == Source::Wall && candidate.scans > 1;
            if now - candidate.since >= MIN_CPU || stays {
                let since = candidate.since;
                unregistered.candidates.remove(&id);
                // A thread of the tree may have started meanwhile.
                self.admit_newcomers();
                let is_deferred = || self.deferred.values().any(|deferred| deferred.id == id);
                if !self.sampled.contains_key(&id) && !is_deferred() {
                    self.add_unregistered(id, clock, since, now);
                }
            }
        }
        unregistered.next_scan = Some(began + SCAN_PAUSE.max(began.elapsed() * SCAN_SHARE));
        self.unregistered = Some(unregistered);
    }

    /// Ends the sampling of all unregistered threads that are not in `living`.
    fn end_unregistered_except(&mut self, living: &HashSet<i32>) {
        let unregistered = self.sampled.iter().filter(|(_, sampled)| sampled.is_unregistered());
        let ended: Vec<i32> = unregistered.map(|(id, _)| *id).filter(|id| !living.contains(id)).collect();
        for id in ended {
            self.end_unregistered(id);
        }
    }

    /// Starts to sample an unregistered thread, whose time belongs to the recording from its CPU
    /// clock `since` on; it is at `now`.
    fn add_unregistered(&mut self, id: i32, clock: CpuClock, since: u64, now: u64) {
        let entry = table::claim(id).filter(|_| self.ring.is_none());
        let path = if is_hidden(id) { OWN_HELPERS.to_owned() } else { path_outside(&tasks::name(id)) };
        let account = self.accounting.open(path.into(), None, self.nanos_since_start(Instant::now()));
        let (thread_clock, first) = (ThreadClock::new(account, since), self.cpu.draw_first_expiry(&self.triggers));
        self.add_sampled(NewThread { id, entry, clock, thread_clock, stack: None, first }, None);
        // So that the time before it was found is `[unsampled]`.
        self.close_account(id, Some(now));
    }

    /// A thread has left the tree, with its CPU clock at `clock`. If it goes on, it is an
    /// unregistered thread from there on.
    pub(super) fn expect_unregistered(&mut self, id: i32, clock: Option<u64>) {
        if let (Some(unregistered), Some(since)) = (&mut self.unregistered, clock) {
            unregistered.candidates.insert(id, Candidate { since, scans: 0 });
        }
    }

    /// Ends the sampling of an unregistered thread that has ended or joins the tree now. Only in
    /// the latter case is its time since the last sample accounted: a clock that is gone cannot be
    /// read.
    pub(super) fn end_unregistered(&mut self, id: i32) {
        let Some(sampled) = self.sampled.get_mut(&id) else { return };
        self.triggers.end(sampled.trigger.take());
        if let Some(by_signal) = &sampled.by_signal {
            by_signal.entry.clear_slot();
        }
        self.account_records(id, None, None);
        self.close_account(id, None);
        if let Some(sampled) = self.remove_sampled(id) {
            let ended = self.nanos_since_start(Instant::now());
            sampled.thread_clock.owners().for_each(|account| self.accounting.end(account, ended));
        }
    }

    /// Finds the mapping around each stack pointer at which a handler knew no stack.
    fn find_stacks(&mut self) {
        // Listed once for all threads: it takes milliseconds where there are a thousand threads.
        let mut mappings = None;
        for (&id, sampled) in &self.sampled {
            if let Some(by_signal) = &sampled.by_signal
                && let StackBounds::Found(mapping) = by_signal.slot.stack()
                && let Some(pointer) = mapping.take_missed_pointer()
                && let Some(range) = tasks::around(mappings.get_or_insert_with(tasks::mappings), pointer)
            {
                mapping.set_range(range, pointer);
                if sampled.wall_state.is_some() {
                    // By the wall clock, a waiting thread would not be sent a second signal.
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
        let used = tasks::cpu_nanos_of_all().saturating_sub(unregistered.process_cpu);
        accounting.add_unsampled(path_outside(UNSEEN).into(), used.saturating_sub(accounting.cpu()));
    }
}
