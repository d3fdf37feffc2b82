//! The books: which thread used how much CPU time where. Knows clocks and addresses, no signals and no locks, so that it can
//! be tested with numbers that are made up.
//!
//! Invariant: for each thread, the weights of its stacks and its `[unsampled]` remainder add up to what its clock went on
//! by, to the nanosecond, whatever was lost.

use crate::profile::engines::{Ending, Found, Nanos, Owner, RawSample, Stack};
use crate::profile::roster::Life;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Numbers of stacks.
type Numbers = HashMap<Arc<[u64]>, u32>;

#[derive(Clone, Default)]
pub(super) struct Books {
    accounts: Vec<Account>,
    /// Each stack is here once, however many threads were found with it, by its number.
    stacks: Numbers,
    /// The same of earlier generations of the loader's list, in which addresses meant something else.
    earlier: Vec<(u32, Numbers)>,
    generation: u32,
    numbers: u32,
}

#[derive(Clone)]
struct Account {
    life: Life,
    unsampled: u64,
    /// Samples and their weight.
    sums: HashMap<Place, (u64, u64)>,
}

/// Where a thread was met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    stack: u32,
    ending: Ending,
    waiting: Option<Arc<str>>,
}

/// For the wall clock: what is to be known of an OS thread from one tick to the next.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// The wall clock at the last tick.
    last: u64,
    /// Time that waits for the sample that was asked for.
    pending: u64,
    /// Where it was met last, and its CPU clock then.
    met: Option<(Place, u64)>,
}

/// What a thread uses of its CPU clock to return from the signal's handler and go back to where it waited, in nanoseconds: one
/// whose clock has gone on by no more has not done anything since.
const RETURN: u64 = 20_000;

/// What an OS thread's clock is compared with, and whose account it goes to.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    /// The clock when the account in charge was put in charge.
    since: u64,
    /// The clock at the last record.
    last: u64,
    /// Accounts of this OS thread, the one in charge last: a thread may be registered again, under another name.
    owners: Vec<usize>,
}

impl Books {
    /// A new account.
    pub(super) fn open(&mut self, path: Arc<str>, os_thread: Option<u64>, started: Nanos) -> usize {
        let life = Life { path, os_thread, started, ended: None, cpu: Duration::ZERO, lost: Some(0) };
        self.accounts.push(Account { life, unsampled: 0, sums: HashMap::new() });
        self.accounts.len() - 1
    }

    /// A record of the thread that `meter` belongs to.
    pub(super) fn record(&mut self, meter: &mut Meter, clock: u64, ending: Ending, addresses: &[u64]) {
        let place = Place { stack: self.stack(addresses), ending, waiting: None };
        let weight = meter.step(clock);
        self.add(meter.owner(), place, weight);
    }

    fn add(&mut self, account: usize, place: Place, weight: u64) {
        let sum = self.accounts[account].sums.entry(place).or_default();
        sum.0 += 1;
        sum.1 += weight;
    }

    fn stack(&mut self, addresses: &[u64]) -> u32 {
        if let Some(&stack) = self.stacks.get(addresses) {
            return stack;
        }
        let new = self.numbers;
        self.numbers += 1;
        self.stacks.insert(addresses.into(), new);
        new
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// From the next record on, addresses mean what they do in that generation of the loader's list.
    pub(super) fn begin_generation(&mut self, generation: u32) {
        self.earlier.push((self.generation, std::mem::take(&mut self.stacks)));
        self.generation = generation;
    }

    /// A tick of the wall clock, `clock` being the thread's CPU clock. True: the thread is to be asked where it is. False: it
    /// has not moved, and the time since the last tick is that place's.
    pub(super) fn tick(
        &mut self,
        meter: &Meter,
        watch: &mut Watch,
        now: u64,
        clock: u64,
        waiting: Option<Arc<str>>,
    ) -> bool {
        let elapsed = watch.step(now);
        match &mut watch.met {
            Some((place, met)) if watch.pending == 0 && clock.saturating_sub(*met) <= RETURN => {
                place.waiting = waiting;
                let place = place.clone();
                self.add(meter.owner(), place, elapsed);
                false
            }
            _ => {
                watch.pending += elapsed;
                true
            }
        }
    }

    /// The thread's answer: it has been there since it was asked.
    pub(super) fn met(
        &mut self,
        meter: &Meter,
        watch: &mut Watch,
        (clock, ending, addresses): (u64, Ending, &[u64]),
        waiting: Option<Arc<str>>,
    ) {
        let place = Place { stack: self.stack(addresses), ending, waiting };
        let weight = std::mem::take(&mut watch.pending);
        self.add(meter.owner(), place.clone(), weight);
        watch.met = Some((place, clock));
    }

    /// Samples of that thread that could not be kept.
    pub(super) fn lost(&mut self, meter: &Meter, samples: u64) {
        *self.accounts[meter.owner()].life.lost.get_or_insert_default() += samples;
    }

    /// What the thread has used up to now without a sample goes to `[unsampled]`, of the account in charge.
    pub(super) fn settle(&mut self, meter: &mut Meter, clock: u64) {
        let account = &mut self.accounts[meter.owner()];
        account.unsampled += meter.step(clock);
        account.count(meter);
    }

    /// The same by the wall clock: what has passed since the last tick, or waits for an answer.
    pub(super) fn settle_wall(&mut self, meter: &mut Meter, clock: u64, watch: &mut Watch, now: u64) {
        let account = &mut self.accounts[meter.owner()];
        account.unsampled += watch.step(now) + std::mem::take(&mut watch.pending);
        meter.step(clock);
        account.count(meter);
    }

    pub(super) fn end(&mut self, account: usize, ended: Nanos) {
        self.accounts[account].life.ended = Some(ended);
    }

    /// What a profile is made of.
    pub(super) fn found(self) -> Found {
        let mut stacks = vec![(0, Arc::<[u64]>::from([])); self.numbers as usize];
        for (generation, table) in self.earlier.into_iter().chain([(self.generation, self.stacks)]) {
            for (addresses, number) in table {
                stacks[number as usize] = (generation, addresses);
            }
        }
        let mut found = Found::default();
        for (index, account) in self.accounts.into_iter().enumerate() {
            let owner = Owner::Life(index);
            let sums = account.sums.into_iter().map(|(place, (samples, weight))| RawSample {
                owner: owner.clone(),
                stack: Stack::Of {
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
            found.lives.push(account.life);
        }
        found
    }
}

impl Account {
    /// The account has had the clock from `since` to `last`.
    fn count(&mut self, meter: &mut Meter) {
        self.life.cpu += Duration::from_nanos(meter.last - meter.since);
        meter.since = meter.last;
    }
}

impl Watch {
    pub(super) fn new(now: u64) -> Watch {
        Watch { last: now, pending: 0, met: None }
    }

    fn step(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.last);
        self.last += elapsed;
        elapsed
    }
}

impl Meter {
    pub(super) fn new(account: usize, clock: u64) -> Meter {
        Meter { since: clock, last: clock, owners: vec![account] }
    }

    fn owner(&self) -> usize {
        *self.owners.last().expect("a meter has an owner until its slot is gone")
    }

    fn step(&mut self, clock: u64) -> u64 {
        let weight = clock.saturating_sub(self.last);
        self.last += weight;
        weight
    }

    /// Puts that account in charge. Settled before.
    pub(super) fn put_in_charge(&mut self, account: usize) {
        self.owners.push(account);
    }

    /// That account is in charge no more, nor will be. Settled before. True: none is left.
    pub(super) fn remove(&mut self, account: usize) -> bool {
        self.owners.retain(|&owner| owner != account);
        self.owners.is_empty()
    }

    /// The clock when it was looked at last.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The accounts of this OS thread that have not ended.
    pub(super) fn owners(&self) -> &[usize] {
        &self.owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(found: &Found, life: usize) -> u64 {
        found.samples.iter().filter(|sample| sample.owner == Owner::Life(life)).map(|sample| sample.weight).sum()
    }

    fn weights(found: &Found, life: usize) -> Vec<(u64, u64, Vec<u64>)> {
        let mut weights: Vec<_> = found
            .samples
            .iter()
            .filter(|sample| sample.owner == Owner::Life(life))
            .map(|sample| match &sample.stack {
                Stack::Of { addresses, .. } => (sample.samples, sample.weight, addresses.to_vec()),
                Stack::Unsampled => (0, sample.weight, vec![]),
            })
            .collect();
        weights.sort_unstable();
        weights
    }

    #[test]
    fn weights_are_differences_of_the_clock_and_the_rest_is_unsampled() {
        let mut books = Books::default();
        let account = books.open("main/a".into(), Some(7), -5);
        let mut meter = Meter::new(account, 1_000);
        books.record(&mut meter, 1_300, Ending::Root, &[1, 2]);
        books.record(&mut meter, 1_301, Ending::Root, &[3]);
        // One that was lost leaves its time to the next.
        books.lost(&meter, 1);
        books.record(&mut meter, 9_000, Ending::Root, &[1, 2]);
        books.record(&mut meter, 9_100, Ending::Broken, &[1, 2]);
        books.settle(&mut meter, 9_107);
        books.end(account, 70);
        let found = books.found();
        let expected = vec![(0, 7, vec![]), (1, 1, vec![3]), (1, 100, vec![1, 2]), (2, 300 + 7_699, vec![1, 2])];
        assert_eq!(weights(&found, account), expected);
        assert_eq!(found.lives[account].cpu, Duration::from_nanos(8_107));
        assert_eq!(total(&found, account), 8_107);
        assert_eq!((found.lives[account].ended, found.lives[account].lost), (Some(70), Some(1)));
    }

    #[test]
    fn a_thread_registered_again_keeps_two_accounts_that_add_up_to_its_clock() {
        let mut books = Books::default();
        let outer = books.open("main/pool".into(), Some(7), 0);
        let mut meter = Meter::new(outer, 100);
        books.record(&mut meter, 150, Ending::Root, &[1]);
        books.settle(&mut meter, 160);
        let inner = books.open("main/job".into(), Some(7), 0);
        meter.put_in_charge(inner);
        books.record(&mut meter, 500, Ending::Root, &[1]);
        books.settle(&mut meter, 510);
        assert!(!meter.remove(inner));
        books.record(&mut meter, 700, Ending::Root, &[1]);
        books.settle(&mut meter, 705);
        assert!(meter.remove(outer));
        let found = books.found();
        assert_eq!(weights(&found, outer), [(0, 15, vec![]), (2, 240, vec![1])]);
        assert_eq!(weights(&found, inner), [(0, 10, vec![]), (1, 340, vec![1])]);
        assert_eq!(found.lives[outer].cpu.as_nanos() + found.lives[inner].cpu.as_nanos(), 605);
        assert_eq!(total(&found, outer) + total(&found, inner), 605);
    }

    #[test]
    fn closing_a_copy_leaves_the_books_as_they_were() {
        let mut books = Books::default();
        let account = books.open("main".into(), None, 0);
        let mut meter = Meter::new(account, 0);
        books.record(&mut meter, 10, Ending::Root, &[1]);
        let (mut copy, mut copied) = (books.clone(), meter.clone());
        copy.settle(&mut copied, 25);
        assert_eq!(total(&copy.found(), account), 25);
        books.record(&mut meter, 30, Ending::Root, &[1]);
        books.settle(&mut meter, 30);
        let found = books.found();
        assert_eq!(weights(&found, account), [(2, 30, vec![1])]);
    }

    #[test]
    fn the_same_addresses_in_another_generation_are_another_stack() {
        let mut books = Books::default();
        let account = books.open("main".into(), None, 0);
        let mut meter = Meter::new(account, 0);
        books.record(&mut meter, 10, Ending::Root, &[1]);
        books.begin_generation(2);
        books.record(&mut meter, 30, Ending::Root, &[1]);
        books.record(&mut meter, 60, Ending::Root, &[1]);
        let found = books.found();
        let mut weights: Vec<_> = found
            .samples
            .iter()
            .map(|sample| match &sample.stack {
                Stack::Of { addresses, generation, .. } => (*generation, addresses[0], sample.weight),
                Stack::Unsampled => panic!("there is no rest"),
            })
            .collect();
        weights.sort_unstable();
        assert_eq!(weights, [(0, 1, 10), (2, 1, 50)]);
    }

    #[test]
    fn a_clock_that_goes_back_weighs_nothing() {
        let mut books = Books::default();
        let account = books.open("main".into(), None, 0);
        let mut meter = Meter::new(account, 50);
        books.record(&mut meter, 40, Ending::Leaf, &[1]);
        books.record(&mut meter, 60, Ending::Leaf, &[1]);
        books.settle(&mut meter, 55);
        assert_eq!(weights(&books.found(), account), [(2, 10, vec![1])]);
    }

    #[test]
    fn by_the_wall_clock_who_has_not_moved_stays_where_it_was() {
        let mut books = Books::default();
        let account = books.open("main/a".into(), None, 0);
        let (mut meter, mut watch) = (Meter::new(account, 500), Watch::new(1_000));
        let queue: Option<Arc<str>> = Some("queue".into());
        assert!(books.tick(&meter, &mut watch, 1_100, 600, None), "nobody knows where it is");
        books.met(&meter, &mut watch, (700, Ending::Root, &[1]), queue.clone());
        assert!(!books.tick(&meter, &mut watch, 1_250, 700 + RETURN, queue.clone()), "it has gone back, no more");
        assert!(!books.tick(&meter, &mut watch, 1_300, 700 + RETURN, None));
        assert!(books.tick(&meter, &mut watch, 1_500, 701 + RETURN, None), "it has moved");
        assert!(books.tick(&meter, &mut watch, 1_600, 701 + RETURN, None), "and has not answered");
        books.met(&meter, &mut watch, (90_000, Ending::Root, &[2]), None);
        books.settle_wall(&mut meter, 90_500, &mut watch, 1_607);
        let found = books.found();
        let mut weights: Vec<_> = found
            .samples
            .iter()
            .map(|sample| match &sample.stack {
                Stack::Of { addresses, waiting, .. } => (sample.samples, sample.weight, addresses[0], waiting.clone()),
                Stack::Unsampled => (0, sample.weight, 0, None),
            })
            .collect();
        weights.sort_unstable();
        // 100 until it was met, 150 as it was; 50 without the wait; 300 until it answered again.
        assert_eq!(weights, [(0, 7, 0, None), (1, 50, 1, None), (1, 300, 2, None), (2, 250, 1, queue)]);
        assert_eq!(found.lives[account].cpu, Duration::from_nanos(90_000));
    }
}
