//! Accounting by the CPU clock. Each record carries the thread's CPU clock, so each sample gets
//! exactly the time since the one before. Samples that were due and did not come are lost.

use super::accounts::{Accounting, SampleAccount, SampleKey};
use crate::profile::engines::timer::ring::Record;
use std::time::Duration;

/// The CPU clock of an OS thread, as accounted so far, and the accounts that its time goes to.
#[derive(Clone, Debug)]
pub(in super::super) struct ThreadClock {
    /// The clock when the account in charge was put in charge, or was closed last.
    since: u64,
    /// The clock at the last record, or when the account was closed last.
    last: u64,
    /// The clock when it was read first: samples are due from there on.
    first: u64,
    /// The samples that have come, and those known to be lost whose due time has passed.
    counted: u64,
    /// The samples known to be lost.
    lost: u64,
    /// Losses already reported whose due time the CPU clock has not reached; not yet in `counted`.
    reported_early: u64,
    /// The account in charge.
    owner: usize,
    /// The accounts in charge before, the last of them last, without those that have ended. A
    /// thread has several if it is registered again under another name.
    outer: Vec<usize>,
}

impl Accounting {
    /// Accounts a record of the thread with that clock. Returns the number of its stack.
    pub(in super::super) fn account_record(
        &mut self,
        thread_clock: &mut ThreadClock,
        Record { clock, ending, context, addresses, .. }: Record<'_>,
    ) -> u32 {
        let context = self.context(context);
        let key = SampleKey { stack: self.stack(addresses), ending, waiting: None, context };
        let (stack, weight) = (key.stack, thread_clock.step(clock));
        self.add(thread_clock.owner(), key, 1, weight);
        thread_clock.count(self.period);
        self.count_missing(thread_clock, clock);
        stack
    }

    /// Counts the samples that were due by `clock` and have not come as lost.
    fn count_missing(&mut self, thread_clock: &mut ThreadClock, clock: u64) {
        let due = thread_clock.due(clock, self.period);
        let missing = thread_clock.missing(clock, self.period);
        thread_clock.reported_early -= thread_clock.reported_early.min(due.saturating_sub(thread_clock.counted));
        thread_clock.counted = thread_clock.counted.max(due);
        self.count_lost(thread_clock, missing);
        // The rest found no room in a ring that threads share.
        let unplaced = missing.min(self.unplaced);
        self.unplaced -= unplaced;
        self.accounts[thread_clock.owner()].lifetime.merged += missing - unplaced;
    }

    /// Counts samples for which the thread's ring had no room. The samples that filled it are
    /// older, and are accounted after this call; so they keep the time of the samples that were due
    /// then.
    pub(in super::super) fn add_lost(&mut self, thread_clock: &mut ThreadClock, samples: u64) {
        thread_clock.reported_early += samples;
        self.count_lost(thread_clock, samples);
    }

    /// Samples found no room in a ring that threads share: it is not known whose they were. Each of
    /// them is missing where the samples of its thread are counted, and is lost there, not merged.
    pub(in super::super) fn add_unplaced(&mut self, samples: u64) {
        self.unplaced += samples;
    }

    fn count_lost(&mut self, thread_clock: &mut ThreadClock, samples: u64) {
        thread_clock.lost += samples;
        *self.accounts[thread_clock.owner()].lifetime.lost.get_or_insert_default() += samples;
    }

    /// Closes the account in charge at `clock`: the time since the last record is `[unsampled]`.
    pub(in super::super) fn close(&mut self, thread_clock: &mut ThreadClock, clock: u64) {
        self.count_missing(thread_clock, clock);
        let account = &mut self.accounts[thread_clock.owner()];
        account.unsampled += thread_clock.step(clock);
        account.count(thread_clock);
    }
}

impl SampleAccount {
    /// Adds the CPU time since the account was put in charge, or was closed last.
    pub(super) fn count(&mut self, thread_clock: &mut ThreadClock) {
        self.lifetime.cpu += Duration::from_nanos(thread_clock.last - thread_clock.since);
        thread_clock.since = thread_clock.last;
    }
}

impl ThreadClock {
    /// Returns `true` if the thread began while this recording ran.
    pub(in super::super) fn is_of_new_thread(&self) -> bool {
        self.first == 0
    }

    /// The clock of a thread with that account, now at `clock`.
    pub(in super::super) fn new(account: usize, clock: u64) -> ThreadClock {
        ThreadClock {
            since: clock,
            last: clock,
            first: clock,
            counted: 0,
            lost: 0,
            reported_early: 0,
            owner: account,
            outer: Vec::new(),
        }
    }

    pub(super) fn owner(&self) -> usize {
        self.owner
    }

    /// Moves on to `clock`, and returns the time since the last step.
    pub(super) fn step(&mut self, clock: u64) -> u64 {
        let weight = clock.saturating_sub(self.last);
        self.last += weight;
        weight
    }

    /// Counts one more sample. The kernel's ticks may find a thread that often sleeps more, or
    /// less, often than a sample is due. Samples that came early do not make up for many that are
    /// lost later.
    fn count(&mut self, period: u64) {
        let due = self.due(self.last, period);
        self.counted = (self.counted + 1).min(due + 1 + due / 8);
    }

    /// The number of samples due by `clock`: its whole periods.
    pub(in super::super) fn due(&self, clock: u64, period: u64) -> u64 {
        clock.saturating_sub(self.first).checked_div(period).unwrap_or(0)
    }

    /// The number of samples due by `clock` that have neither come nor been counted as lost.
    pub(in super::super) fn missing(&self, clock: u64, period: u64) -> u64 {
        self.due(clock, period).saturating_sub(self.counted + self.reported_early)
    }

    /// The number of samples lost so far.
    pub(in super::super) fn lost_so_far(&self) -> u64 {
        self.lost
    }

    /// Puts that account in charge. The one before was closed by the caller.
    pub(in super::super) fn put_in_charge(&mut self, account: usize) {
        self.outer.push(std::mem::replace(&mut self.owner, account));
    }

    /// Removes that account, which the caller has closed. Returns `true` if none is left.
    pub(in super::super) fn remove(&mut self, account: usize) -> bool {
        self.outer.retain(|&outer| outer != account);
        if self.owner != account {
            return false;
        }
        match self.outer.pop() {
            Some(outer) => self.owner = outer,
            None => return true,
        }
        false
    }

    /// The clock at the last record, or when the account was closed last.
    pub(in super::super) fn last(&self) -> u64 {
        self.last
    }

    /// The accounts of this OS thread that have not ended, the one in charge last.
    pub(in super::super) fn owners(&self) -> impl Iterator<Item = usize> {
        self.outer.iter().copied().chain([self.owner])
    }
}
