//! The books: which thread used how much CPU time where. Knows clocks and addresses, no signals and no locks, so that it can
//! be tested with numbers that are made up.
//!
//! Invariants
//! 1. For each thread, the weights of its stacks and its `[unsampled]` remainder add up to what its clock went on by, to the
//!    nanosecond, whatever was lost.
//! 2. By the CPU clock, a thread's samples and its lost ones are no fewer than the whole periods that its clock has had,
//!    whatever was to send the signals: a timer that merged them, a clock that was attached late, a full ring.

use super::rota::{Still, Tick};
use super::stacks::Stacks;
use crate::profile::engines::{Ending, Found, Nanos, Owner, RawSample, Stack};
use crate::profile::roster::Life;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Default)]
pub(super) struct Books {
    /// Nanoseconds of the CPU clock after which a sample is due. 0: by the wall clock, where a thread is asked.
    period: u64,
    accounts: Vec<Account>,
    stacks: Stacks,
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
    /// The wall clock up to which its time is in the books, or in `pending`.
    last: u64,
    /// The number of the tick at which its books were closed or it was looked at last: it has been passed over since.
    looked: u64,
    /// And at which it was looked at last. Books are closed in the middle of a tick too.
    ticked: u64,
    /// Time that waits for the sample that was asked for.
    pending: u64,
    /// Where it was met last, and its CPU clock then.
    met: Option<(Place, u64)>,
    still: Still,
    /// It is the sampler's own thread, which looks from the same place each time: it is asked once.
    looks: bool,
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
    /// The clock when it was looked at first: samples are due from there on.
    first: u64,
    /// Samples that have come, and those that were found to be lost.
    counted: u64,
    /// The latter.
    lost: u64,
    /// Accounts of this OS thread, the one in charge last: a thread may be registered again, under another name.
    owners: Vec<usize>,
}

impl Books {
    /// Of threads that are sampled after each `period` of their CPU clocks.
    pub(super) fn new(period: Duration) -> Books {
        Books { period: period.as_nanos() as u64, ..Books::default() }
    }

    /// A new account.
    pub(super) fn open(&mut self, path: Arc<str>, os_thread: Option<u64>, started: Nanos) -> usize {
        let life = Life { path, os_thread, started, ended: None, cpu: Duration::ZERO, lost: Some(0) };
        self.accounts.push(Account { life, unsampled: 0, sums: HashMap::new() });
        self.accounts.len() - 1
    }

    /// A record of the thread that `meter` belongs to.
    pub(super) fn record(&mut self, meter: &mut Meter, clock: u64, ending: Ending, addresses: &[u64]) {
        let place = Place { stack: self.stacks.number(addresses), ending, waiting: None };
        let weight = meter.step(clock);
        self.add(meter.owner(), place, 1, weight);
        meter.count(self.period);
        self.miss(meter, clock);
    }

    /// What was due by now and has not come is lost.
    fn miss(&mut self, meter: &mut Meter, clock: u64) {
        let missing = meter.missing(clock, self.period);
        if missing > 0 {
            self.lost(meter, missing);
        }
    }

    fn add(&mut self, account: usize, place: Place, samples: u64, weight: u64) {
        let sum = self.accounts[account].sums.entry(place).or_default();
        sum.0 += samples;
        sum.1 += weight;
    }

    /// From the next record on, addresses mean what they do in that generation of the loader's list.
    pub(super) fn begin_generation(&mut self, generation: u32) {
        self.stacks.begin_generation(generation);
    }

    pub(super) fn generation(&self) -> u32 {
        self.stacks.generation()
    }

    /// A tick at which the thread is looked at, `clock` being its CPU clock. `waiting` is what it has published, read before the
    /// clock was. If it has moved, it is to be asked where it is; else its time up to now is that place's.
    pub(super) fn tick(
        &mut self,
        meter: &Meter,
        watch: &mut Watch,
        tick: Tick,
        clock: u64,
        waiting: Option<Arc<str>>,
    ) -> Still {
        let passed = (tick.number.saturating_sub(watch.looked + 1), tick.before);
        let stays = self.account_for(meter, watch, passed, tick.now, clock, waiting.as_ref());
        (watch.looked, watch.ticked) = (tick.number, tick.number);
        if stays {
            watch.still = match waiting {
                _ if watch.looks => Still::Looks,
                Some(_) => Still::Waits,
                None => Still::Elsewhere,
            };
        } else {
            watch.still = Still::No;
            watch.pending += watch.step(tick.now);
        }
        watch.still
    }

    /// At that tick, which has passed, the thread was where it had been: its time up to then is that place's.
    pub(super) fn stayed(&mut self, meter: &Meter, watch: &mut Watch, tick: Tick) {
        let Some((place, _)) = watch.met.clone().filter(|_| watch.pending == 0) else { return };
        let ticks = tick.number.saturating_sub(watch.looked);
        watch.looked += ticks;
        let weight = watch.step(tick.now);
        self.add(meter.owner(), place, ticks, weight);
    }

    /// What is known of the time up to now. All of it, if the thread has not moved. Else up to the last tick at which it was passed
    /// over, after so many of them: in a wait that it had published, it was where it was; in a foreign call too, but for as
    /// long as its CPU clock has moved, and nobody knows where that was.
    fn account_for(
        &mut self,
        meter: &Meter,
        watch: &mut Watch,
        (ticks, until): (u64, u64),
        now: u64,
        clock: u64,
        waiting: Option<&Arc<str>>,
    ) -> bool {
        let Some((mut place, met)) = watch.met.clone().filter(|_| watch.pending == 0) else { return false };
        let moved = clock.saturating_sub(met);
        if moved <= RETURN || watch.looks {
            if place.waiting.as_ref() != waiting {
                place.waiting = waiting.cloned();
                watch.met = Some((place.clone(), met));
            }
            let weight = watch.step(now);
            self.add(meter.owner(), place, ticks + 1, weight);
            return true;
        }
        if ticks > 0 {
            let passed = watch.step(until);
            let unseen = if watch.still == Still::Elsewhere { moved.min(passed) } else { 0 };
            self.accounts[meter.owner()].unsampled += unseen;
            self.add(meter.owner(), place, ticks, passed - unseen);
        }
        false
    }

    /// The thread's answer: it has been there since it was asked.
    pub(super) fn met(
        &mut self,
        meter: &Meter,
        watch: &mut Watch,
        (clock, ending, addresses): (u64, Ending, &[u64]),
        waiting: Option<Arc<str>>,
    ) {
        let place = Place { stack: self.stacks.number(addresses), ending, waiting };
        let weight = std::mem::take(&mut watch.pending);
        self.add(meter.owner(), place.clone(), 1, weight);
        watch.met = Some((place, clock));
    }

    /// Samples of that thread that could not be kept.
    pub(super) fn lost(&mut self, meter: &mut Meter, samples: u64) {
        meter.counted += samples;
        meter.lost += samples;
        *self.accounts[meter.owner()].life.lost.get_or_insert_default() += samples;
    }

    /// What the thread has used up to now without a sample goes to `[unsampled]`, of the account in charge.
    pub(super) fn settle(&mut self, meter: &mut Meter, clock: u64) {
        self.miss(meter, clock);
        let account = &mut self.accounts[meter.owner()];
        account.unsampled += meter.step(clock);
        account.count(meter);
    }

    /// The same by the wall clock: what waits for an answer, or has passed since it moved.
    pub(super) fn settle_wall(
        &mut self,
        meter: &mut Meter,
        clock: u64,
        watch: &mut Watch,
        (now, last): (u64, Tick),
        waiting: Option<&Arc<str>>,
    ) {
        self.account_for(meter, watch, (last.number - watch.looked, last.now), now, clock, waiting);
        watch.looked = last.number;
        let account = &mut self.accounts[meter.owner()];
        account.unsampled += watch.step(now) + std::mem::take(&mut watch.pending);
        meter.step(clock);
        account.count(meter);
    }

    /// What the clocks of all closed accounts have gone on by.
    pub(super) fn cpu(&self) -> u64 {
        self.accounts.iter().map(|account| account.life.cpu.as_nanos() as u64).sum()
    }

    /// An account of its own for time that nobody saw.
    pub(super) fn add_unsampled(&mut self, path: Arc<str>, weight: u64) {
        let account = self.open(path, None, 0);
        self.accounts[account].unsampled = weight;
        self.accounts[account].life.cpu = Duration::from_nanos(weight);
    }

    pub(super) fn end(&mut self, account: usize, ended: Nanos) {
        self.accounts[account].life.ended = Some(ended);
    }

    /// What a profile is made of.
    pub(super) fn found(self) -> Found {
        let stacks = self.stacks.in_order();
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
    /// Of a thread that is new after that tick.
    pub(super) fn new(now: u64, tick: Tick) -> Watch {
        Watch {
            last: now,
            looked: tick.number,
            ticked: tick.number,
            pending: 0,
            met: None,
            still: Still::No,
            looks: false,
        }
    }

    /// It is that of the one who looks.
    pub(super) fn looks(&mut self) {
        self.looks = true;
    }

    /// What its CPU clock, which is at `clock`, will say as long as it is where it was met.
    pub(super) fn still(&self, clock: u64) -> RangeInclusive<u64> {
        clock..=self.met.as_ref().map_or(clock, |(_, met)| met + RETURN)
    }

    /// Whether it was looked at with that tick already.
    pub(super) fn was_looked_at(&self, tick: Tick) -> bool {
        self.ticked == tick.number
    }

    /// The time since the last step.
    fn step(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.last);
        self.last += elapsed;
        elapsed
    }
}

impl Meter {
    pub(super) fn new(account: usize, clock: u64) -> Meter {
        Meter { since: clock, last: clock, first: clock, counted: 0, lost: 0, owners: vec![account] }
    }

    fn owner(&self) -> usize {
        *self.owners.last().expect("a meter has an owner until its slot is gone")
    }

    fn step(&mut self, clock: u64) -> u64 {
        let weight = clock.saturating_sub(self.last);
        self.last += weight;
        weight
    }

    /// One sample more. Ticks find a thread that often sleeps more often or less often than is due; but signals that nobody waited
    /// for do not make up for many that are lost later.
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
        self.due(clock, period).saturating_sub(self.counted)
    }

    /// Samples given up so far.
    pub(super) fn given_up(&self) -> u64 {
        self.lost
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
        books.lost(&mut meter, 1);
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
    fn a_clock_that_goes_back_weighs_nothing() {
        let mut books = Books::default();
        let account = books.open("main".into(), None, 0);
        let mut meter = Meter::new(account, 50);
        books.record(&mut meter, 40, Ending::Leaf, &[1]);
        books.record(&mut meter, 60, Ending::Leaf, &[1]);
        books.settle(&mut meter, 55);
        assert_eq!(weights(&books.found(), account), [(2, 10, vec![1])]);
    }

    fn wall_weights(found: &Found) -> Vec<(u64, u64, u64, Option<&str>)> {
        let mut weights: Vec<_> = found
            .samples
            .iter()
            .map(|sample| match &sample.stack {
                Stack::Of { addresses, waiting, .. } => {
                    (sample.samples, sample.weight, addresses[0], waiting.as_deref())
                }
                Stack::Unsampled => (0, sample.weight, 0, None),
            })
            .collect();
        weights.sort_unstable();
        weights
    }

    #[test]
    fn by_the_wall_clock_who_has_not_moved_stays_where_it_was() {
        let mut books = Books::default();
        let account = books.open("main/a".into(), None, 0);
        let tick = |number, now, before| Tick { number, now, before };
        let (mut meter, mut watch) = (Meter::new(account, 500), Watch::new(1_000, tick(4, 990, 0)));
        let queue: Arc<str> = "queue".into();
        assert_eq!(
            books.tick(&meter, &mut watch, tick(5, 1_100, 990), 600, None),
            Still::No,
            "nobody knows where it is"
        );
        books.met(&meter, &mut watch, (700, Ending::Root, &[1]), Some(queue.clone()));
        let published = Some(queue.clone());
        let found = books.tick(&meter, &mut watch, tick(6, 1_250, 1_100), 700 + RETURN, published);
        assert_eq!(found, Still::Waits, "it has gone back, no more");
        // Passed over for forty ticks, the last of them at 1300, then it has moved.
        assert_eq!(books.tick(&meter, &mut watch, tick(47, 1_500, 1_300), 701 + RETURN, None), Still::No);
        assert_eq!(books.tick(&meter, &mut watch, tick(48, 1_600, 1_500), 701 + RETURN, None), Still::No, "no answer");
        books.met(&meter, &mut watch, (90_000, Ending::Root, &[2]), None);
        books.settle_wall(&mut meter, 90_001 + RETURN, &mut watch, (1_607, tick(48, 1_600, 1_500)), None);
        // 100 until it was met and 200 as it was, in 42 ticks; 300 until it answered again.
        let found = books.found();
        let expected = [(0, 7, 0, None), (1, 300, 2, None), (42, 300, 1, Some("queue"))];
        assert_eq!(wall_weights(&found), expected);
        assert_eq!(found.lives[account].cpu, Duration::from_nanos(89_501 + RETURN));
    }

    #[test]
    fn by_the_wall_clock_one_whose_books_were_closed_in_the_middle_of_a_tick_is_still_looked_at() {
        let mut books = Books::default();
        let account = books.open("main/a".into(), None, 0);
        let tick = |number: u64| Tick { number, now: number * 100, before: number * 100 - 100 };
        let (mut meter, mut watch) = (Meter::new(account, 0), Watch::new(0, Tick::default()));
        assert_eq!(books.tick(&meter, &mut watch, tick(1), 0, None), Still::No);
        books.met(&meter, &mut watch, (10, Ending::Root, &[1]), None);
        // The second tick has begun when the thread is registered again, and it has not been looked at.
        books.settle_wall(&mut meter, 10, &mut watch, (203, tick(2)), None);
        assert!(!watch.was_looked_at(tick(2)), "it would be in nobody's list any more");
        assert_eq!(books.tick(&meter, &mut watch, tick(2), 10, None), Still::Elsewhere);
        assert!(watch.was_looked_at(tick(2)));
        books.settle_wall(&mut meter, 10, &mut watch, (250, tick(2)), None);
        assert_eq!(total(&books.found(), account), 250);
    }

    #[test]
    fn by_the_wall_clock_what_one_in_a_foreign_call_has_run_between_its_turns_is_unsampled() {
        const MS: u64 = 1_000_000;
        let mut books = Books::default();
        let account = books.open("main/a".into(), None, 0);
        let tick = |number| Tick { number, now: number * 10 * MS, before: (number - 1) * 10 * MS };
        let (mut meter, mut watch) = (Meter::new(account, 0), Watch::new(0, Tick::default()));
        assert_eq!(books.tick(&meter, &mut watch, tick(1), 0, None), Still::No);
        books.met(&meter, &mut watch, (100, Ending::Root, &[1]), None);
        assert_eq!(books.tick(&meter, &mut watch, tick(2), 100, None), Still::Elsewhere);
        assert_eq!(books.tick(&meter, &mut watch, tick(9), 100, None), Still::Elsewhere);
        // Eleven ticks later it has moved for 12 ms, nobody knows where.
        assert_eq!(books.tick(&meter, &mut watch, tick(20), 12 * MS + 100, None), Still::No);
        books.met(&meter, &mut watch, (13 * MS, Ending::Root, &[2]), None);
        // It is there at the end too: nothing more is unsampled.
        books.settle_wall(&mut meter, 13 * MS + RETURN, &mut watch, (205 * MS, tick(20)), None);
        let expected = [(0, 12 * MS, 0, None), (2, 15 * MS, 2, None), (19, 178 * MS, 1, None)];
        assert_eq!(wall_weights(&books.found()), expected);
    }

    #[test]
    fn what_was_due_and_did_not_come_is_lost_whatever_was_to_send_it() {
        let lost = |books: &Books, account: usize| books.accounts[account].life.lost.unwrap();
        let mut books = Books::new(Duration::from_nanos(100));
        let account = books.open("main/a".into(), None, 0);
        let mut meter = Meter::new(account, 1_000);
        // A bit late each time, as at a tick: nothing is lost.
        for clock in [1_090, 1_195, 1_280, 1_390] {
            books.record(&mut meter, clock, Ending::Root, &[1]);
        }
        assert_eq!(lost(&books, account), 0);
        // Those due at 1 490, 1 590 and 1 690 came as one, the first of them late.
        books.record(&mut meter, 1_700, Ending::Root, &[1]);
        assert_eq!(lost(&books, account), 2);
        // Signals that nobody waited for do not make up for later ones.
        for clock in 1_701..1_750 {
            books.record(&mut meter, clock, Ending::Root, &[1]);
        }
        assert_eq!((lost(&books, account), meter.missing(1_899, 100), meter.missing(2_250, 100)), (2, 0, 4));
        // A record that found no room is lost once.
        books.lost(&mut meter, 1);
        books.record(&mut meter, 1_990, Ending::Root, &[1]);
        assert_eq!(lost(&books, account), 3);
        books.settle(&mut meter, 2_250);
        assert_eq!((lost(&books, account), meter.given_up()), (5, 5));
        assert_eq!(total(&books.found(), account), 1_250);
    }
}
