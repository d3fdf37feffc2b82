//! The books: which thread used how much CPU time where. Knows clocks and addresses, no signals and
//! no locks, so that it can be tested with numbers that are made up.
//!
//! Invariants
//! 1. For each thread, the weights of its stacks and its `[unsampled]` remainder add up to what its
//!    clock went on by, to the nanosecond, whatever was lost.
//! 2. By the CPU clock, a thread's samples and its lost ones are no fewer than the whole periods
//!    that its clock has had, whatever was to send the signals: a timer that merged them, a clock
//!    that was attached late, a full ring.

mod pools;
mod wait_names;
mod wall;

use super::stacks::Stacks;
use crate::profile::engines::{Ending, Found, Nanos, Owner, RawSample, Stack};
use crate::profile::lifetimes::Lifetime;
use crate::wait::Label;
use std::collections::HashMap;
use std::hash::RandomState;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use wait_names::WaitNames;

pub(super) use wall::{ThreadSnapshot, WallState};

#[derive(Clone, Default)]
pub(super) struct Accounting {
    /// Nanoseconds of the CPU clock after which a sample is due. 0: by the wall clock, where a
    /// thread is asked.
    period: u64,
    accounts: Vec<Account>,
    /// Indexes of accounts that were folded into others.
    unused: Vec<usize>,
    /// Accounts that have ended and are not folded yet, pools included.
    ended: usize,
    wait_names: WaitNames,
    stacks: Stacks,
    /// Of all accounts: a new one of its own, on a new thread, would be a system call.
    hasher: RandomState,
}

#[derive(Clone)]
struct Account {
    /// It was not folded into another one.
    is_used: bool,
    lifetime: Lifetime,
    /// The call that spawned its thread.
    spawned_at: Option<&'static Location<'static>>,
    unsampled: u64,
    /// Samples and their weight.
    sums: HashMap<SampleKey, (u64, u64), RandomState>,
}

/// Where a thread was met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SampleKey {
    stack: u32,
    ending: Ending,
    waiting: Option<Arc<str>>,
}

/// What an OS thread's clock is compared with, and whose account it goes to.
#[derive(Clone, Debug)]
pub(super) struct ThreadClock {
    /// The clock when the account in charge was put in charge.
    since: u64,
    /// The clock at the last record.
    last: u64,
    /// The clock when it was looked at first: samples are due from there on.
    first: u64,
    /// The samples that have come and the samples that were found to be lost.
    counted: u64,
    /// The samples that were found to be lost.
    lost: u64,
    /// Losses already reported whose due time the CPU clock has not reached; not yet in `counted`.
    told: u64,
    /// The account in charge. `outer` has the accounts before it that have not ended, the last of
    /// them last: a thread may be registered again, under another name.
    owner: usize,
    outer: Vec<usize>,
}

impl Accounting {
    /// Of threads that are sampled after each `period` of their CPU clocks.
    pub(super) fn new(period: Duration) -> Accounting {
        Accounting { period: period.as_nanos() as u64, ..Accounting::default() }
    }

    /// A new account.
    pub(super) fn open(&mut self, path: Arc<str>, os_thread: Option<u64>, started: Nanos) -> usize {
        let mut account = Account::unused(self.hasher.clone());
        account.is_used = true;
        account.lifetime = Lifetime { path, os_thread, started, ..account.lifetime };
        match self.unused.pop() {
            Some(index) => {
                self.accounts[index] = account;
                index
            }
            None => {
                self.accounts.push(account);
                self.accounts.len() - 1
            }
        }
    }

    /// Tells which call spawned the account's thread: with its path, that says which pool it is of.
    pub(super) fn is_spawned_at(&mut self, account: usize, place: Option<&'static Location<'static>>) {
        self.accounts[account].spawned_at = place;
    }

    /// What a thread waits for in this crate, as a frame.
    pub(super) fn frame(&mut self, label: &Label) -> Arc<str> {
        self.wait_names.frame(label)
    }

    /// A record of the thread that `thread_clock` belongs to.
    pub(super) fn record(&mut self, thread_clock: &mut ThreadClock, clock: u64, ending: Ending, addresses: &[u64]) {
        let place = SampleKey { stack: self.stacks.number(addresses), ending, waiting: None };
        let weight = thread_clock.step(clock);
        self.add(thread_clock.owner(), place, 1, weight);
        thread_clock.count(self.period);
        self.miss(thread_clock, clock);
    }

    /// What was due by now and has not come is lost.
    fn miss(&mut self, thread_clock: &mut ThreadClock, clock: u64) {
        let due = thread_clock.due(clock, self.period);
        let missing = thread_clock.missing(clock, self.period);
        thread_clock.told -= thread_clock.told.min(due.saturating_sub(thread_clock.counted));
        thread_clock.counted = thread_clock.counted.max(due);
        self.give_up(thread_clock, missing);
        self.accounts[thread_clock.owner()].lifetime.merged += missing;
    }

    fn add(&mut self, account: usize, place: SampleKey, samples: u64, weight: u64) {
        let sum = self.accounts[account].sums.entry(place).or_default();
        sum.0 += samples;
        sum.1 += weight;
    }

    /// From the next record on, addresses mean what they do in that generation of the loader's
    /// list.
    pub(super) fn begin_generation(&mut self, generation: u32) {
        self.stacks.begin_generation(generation);
    }

    pub(super) fn generation(&self) -> u32 {
        self.stacks.generation()
    }

    /// Counts samples of that thread that could not be kept. They are younger than the samples that
    /// filled its ring, which are accounted after this: so samples that were due then keep their
    /// time.
    pub(super) fn lost(&mut self, thread_clock: &mut ThreadClock, samples: u64) {
        thread_clock.told += samples;
        self.give_up(thread_clock, samples);
    }

    fn give_up(&mut self, thread_clock: &mut ThreadClock, samples: u64) {
        thread_clock.lost += samples;
        *self.accounts[thread_clock.owner()].lifetime.lost.get_or_insert_default() += samples;
    }

    /// What the thread has used up to now without a sample goes to `[unsampled]`, of the account in
    /// charge.
    pub(super) fn settle(&mut self, thread_clock: &mut ThreadClock, clock: u64) {
        self.miss(thread_clock, clock);
        let account = &mut self.accounts[thread_clock.owner()];
        account.unsampled += thread_clock.step(clock);
        account.count(thread_clock);
    }

    /// What the clocks of all closed accounts have gone on by.
    pub(super) fn cpu(&self) -> u64 {
        self.accounts.iter().map(|account| account.lifetime.cpu.as_nanos() as u64).sum()
    }

    /// A separate account for time that was not seen.
    pub(super) fn add_unsampled(&mut self, path: Arc<str>, weight: u64) {
        let account = self.open(path, None, 0);
        self.accounts[account].unsampled = weight;
        self.accounts[account].lifetime.cpu = Duration::from_nanos(weight);
    }

    pub(super) fn end(&mut self, account: usize, ended: Nanos) {
        self.accounts[account].lifetime.ended = Some(ended);
        self.fold_if_many();
    }

    /// What a profile is made of.
    pub(super) fn found(self) -> Found {
        let stacks = self.stacks.in_order();
        let mut found = Found::default();
        for account in self.accounts.into_iter().filter(|account| account.is_used) {
            let owner = Owner::Lifetime(found.lifetimes.len());
            let sums = account.sums.into_iter().map(|(place, (samples, weight))| RawSample {
                owner: owner.clone(),
                stack: Stack::Sampled {
                    addresses: stacks[place.stack as usize].1.clone(),
                    ending: place.ending,
                    generation: stacks[place.stack as usize].0,
                    waiting: place.waiting,
                },
                samples,
                weight,
            });
            found.samples.extend(sums);
            if account.unsampled > 0 {
                found.samples.push(RawSample { owner, stack: Stack::Unsampled, samples: 0, weight: account.unsampled });
            }
            found.lifetimes.push(account.lifetime);
        }
        found
    }
}

impl Account {
    fn unused(hasher: RandomState) -> Account {
        let lifetime = Lifetime {
            path: Arc::default(),
            os_thread: None,
            started: 0,
            ended: None,
            cpu: Duration::ZERO,
            lost: Some(0),
            merged: 0,
            pool: None,
        };
        Account { is_used: false, lifetime, spawned_at: None, unsampled: 0, sums: HashMap::with_hasher(hasher) }
    }

    /// The account has had the clock from `since` to `last`.
    fn count(&mut self, thread_clock: &mut ThreadClock) {
        self.lifetime.cpu += Duration::from_nanos(thread_clock.last - thread_clock.since);
        thread_clock.since = thread_clock.last;
    }
}

impl ThreadClock {
    pub(super) fn new(account: usize, clock: u64) -> ThreadClock {
        ThreadClock {
            since: clock,
            last: clock,
            first: clock,
            counted: 0,
            lost: 0,
            told: 0,
            owner: account,
            outer: Vec::new(),
        }
    }

    fn owner(&self) -> usize {
        self.owner
    }

    fn step(&mut self, clock: u64) -> u64 {
        let weight = clock.saturating_sub(self.last);
        self.last += weight;
        weight
    }

    /// Counts one more sample. Ticks may find a thread that often sleeps more or less often than is
    /// due. But early samples do not make up for many that are lost later.
    fn count(&mut self, period: u64) {
        let due = self.due(self.last, period);
        self.counted = (self.counted + 1).min(due + 1 + due / 8);
    }

    /// Whole periods up to that clock.
    pub(super) fn due(&self, clock: u64, period: u64) -> u64 {
        clock.saturating_sub(self.first).checked_div(period).unwrap_or(0)
    }

    /// How many of those due by that clock have neither come nor been given up.
    pub(super) fn missing(&self, clock: u64, period: u64) -> u64 {
        self.due(clock, period).saturating_sub(self.counted + self.told)
    }

    /// Samples given up so far.
    pub(super) fn given_up(&self) -> u64 {
        self.lost
    }

    /// Puts that account in charge. Settled before.
    pub(super) fn put_in_charge(&mut self, account: usize) {
        self.outer.push(std::mem::replace(&mut self.owner, account));
    }

    /// That account is in charge no more, nor will be. Settled before. True: none is left.
    pub(super) fn remove(&mut self, account: usize) -> bool {
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

    /// The clock when it was looked at last.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The accounts of this OS thread that have not ended, the one in charge last.
    pub(super) fn owners(&self) -> impl Iterator<Item = usize> {
        self.outer.iter().copied().chain([self.owner])
    }
}

#[cfg(test)]
mod tests;
