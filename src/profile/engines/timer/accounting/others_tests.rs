//! Ever new stacks, with made-up clocks and addresses: what is kept is bounded, and nothing else changes.

use super::accounts::Accounting;
use super::cpu::ThreadClock;
use super::room::Limits;
use crate::profile::engines::timer::ids::Ids;
use crate::profile::raw::{Ending, Owner, RawProfile, Stack};
use std::collections::BTreeMap;
use std::sync::Arc;

const LIMITS: Limits = Limits { stacks: 64, addresses: 512, sums: 256 };

/// A recording of some threads, which the test samples.
struct Sampled {
    accounting: Accounting,
    clocks: Vec<ThreadClock>,
    now: u64,
}

impl Sampled {
    fn new(limits: Option<Limits>, threads: u64) -> Sampled {
        let mut accounting = limits.map_or_else(Accounting::default, |limits| Accounting::with_room_for(limits.stacks));
        let path = |n: u64| Arc::from(format!("main/thread-{n}"));
        let clocks = (0..threads).map(|n| ThreadClock::new(accounting.open(path(n), Some(n), 0), 0)).collect();
        Sampled { accounting, clocks, now: 0 }
    }

    /// Each sample has the nanoseconds since the one before.
    fn sample(&mut self, thread: usize, ending: Ending, addresses: &[u64]) {
        self.now += 1 + addresses[0] % 7;
        self.accounting.record(&mut self.clocks[thread], self.now, ending, addresses);
    }

    /// The end of a round of the sampler.
    fn end_round(&mut self) -> Option<String> {
        self.accounting.is_fold_due().then(|| self.accounting.fold_stacks(&Ids::default())).flatten()
    }

    /// All threads' clocks are at `now`.
    fn read(&mut self) -> RawProfile {
        let mut copy = self.accounting.copy_to_close();
        self.clocks.iter().for_each(|clock| copy.close(&mut clock.clone(), self.now));
        copy.into_raw_profile()
    }

    fn sums(&self) -> usize {
        self.accounting.accounts.iter().map(|account| account.sums.len()).sum()
    }
}

/// Samples and weights by thread and ending of the stacks.
fn totals(found: &RawProfile) -> BTreeMap<(usize, Option<Ending>), (u64, u64)> {
    let mut totals = BTreeMap::new();
    for sample in &found.samples {
        let Owner::Lifetime(thread) = sample.owner else { panic!("{sample:?}") };
        let ending = match &sample.stack {
            Stack::Sampled { ending, .. } | Stack::Others { ending, .. } => Some(*ending),
            Stack::Unsampled => None,
        };
        let sum: &mut (u64, u64) = totals.entry((thread, ending)).or_default();
        *sum = (sum.0 + sample.samples, sum.1 + sample.weight);
    }
    totals
}

/// The leaf of each stack that is kept, with its samples.
fn kept(found: &RawProfile) -> BTreeMap<u64, u64> {
    let mut kept = BTreeMap::new();
    for sample in &found.samples {
        if let Stack::Sampled { addresses, .. } = &sample.stack {
            *kept.entry(addresses[0]).or_default() += sample.samples;
        }
    }
    kept
}

fn others(found: &RawProfile) -> u64 {
    let others = found.samples.iter().filter(|sample| matches!(sample.stack, Stack::Others { .. }));
    others.map(|sample| sample.samples).sum()
}

#[test]
fn ever_new_stacks_take_bounded_memory_and_all_totals_stay() {
    let (mut bounded, mut unbounded) = (Sampled::new(Some(LIMITS), 5), Sampled::new(None, 5));
    for n in 0..20_000_u64 {
        let ending = [Ending::Root, Ending::Deep, Ending::Broken, Ending::Leaf][n as usize / 3 % 4];
        let addresses = &[n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13][..1 + n as usize % 14];
        for sampled in [&mut bounded, &mut unbounded] {
            sampled.sample(n as usize % 5, ending, addresses);
            if n % 10 == 0 {
                sampled.end_round();
            }
        }
        let (stacks, sums) = (&bounded.accounting.stacks, bounded.sums());
        assert!(stacks.len() <= LIMITS.stacks && stacks.addresses() <= LIMITS.addresses, "after {n}");
        assert!(sums <= LIMITS.sums + 5 * 4, "{sums} sums after {n}");
    }
    let (bounded, unbounded) = (bounded.read(), unbounded.read());
    assert_eq!(totals(&bounded), totals(&unbounded));
    assert_eq!((kept(&unbounded).len(), others(&unbounded)), (20_000, 0));
    assert_eq!(kept(&bounded).values().sum::<u64>() + others(&bounded), 20_000);
    assert!(bounded.stacks.len() <= LIMITS.stacks + 1, "{}", bounded.stacks.len());
}

#[test]
fn many_sums_of_few_stacks_are_bounded_too() {
    let mut sampled = Sampled::new(Some(LIMITS), 50);
    for n in 0..50 * 60_u64 {
        sampled.sample(n as usize % 50, Ending::Root, &[n / 50]);
        assert!(sampled.sums() <= LIMITS.sums + 50);
        sampled.end_round();
    }
    let found = sampled.read();
    assert_eq!(kept(&found).values().sum::<u64>() + others(&found), 50 * 60);
    assert!(kept(&found).contains_key(&59), "the newest has room");
}

#[test]
fn without_a_round_sums_that_are_too_many_are_others() {
    let mut sampled = Sampled::new(Some(LIMITS), 50);
    (0..50 * 60_u64).for_each(|n| sampled.sample(n as usize % 50, Ending::Root, &[n / 50]));
    assert!(sampled.sums() <= LIMITS.sums + 50);
    let found = sampled.read();
    let (kept, others) = (kept(&found).values().sum::<u64>(), others(&found));
    assert_eq!((kept, kept + others), (LIMITS.sums as u64, 50 * 60));
}

#[test]
fn stacks_with_many_samples_and_new_ones_are_kept() {
    let mut sampled = Sampled::new(Some(LIMITS), 1);
    for n in 0..10_000 {
        sampled.sample(0, Ending::Root, &[1_000_000 + n % 8]);
        sampled.sample(0, Ending::Root, &[n]);
        sampled.end_round();
    }
    let found = sampled.read();
    let kept = kept(&found);
    assert!((0..8).all(|hot| kept[&(1_000_000 + hot)] == 1_250), "{kept:?}");
    assert!((9_990..10_000).all(|new| kept[&new] == 1), "{kept:?}");
}

#[test]
fn stacks_without_samples_since_the_last_readings_are_folded_first() {
    let mut sampled = Sampled::new(Some(LIMITS), 1);
    for _ in 0..100 {
        (0..20).for_each(|old| sampled.sample(0, Ending::Root, &[old]));
    }
    (0..2).for_each(|_| drop(sampled.read()));
    (100..150).for_each(|new| sampled.sample(0, Ending::Root, &[new]));
    assert!(sampled.end_round().is_some(), "it is full");
    let kept = kept(&sampled.read());
    assert!((0..20).all(|old| !kept.contains_key(&old)), "{kept:?}");
    assert_eq!(kept.len(), LIMITS.stacks / 2);
}

#[test]
fn a_stack_with_a_great_share_of_all_samples_is_kept() {
    let mut sampled = Sampled::new(Some(LIMITS), 1);
    (0..1_000).for_each(|_| sampled.sample(0, Ending::Root, &[7]));
    (0..3).for_each(|_| drop(sampled.read()));
    for n in 0..1_000 {
        sampled.sample(0, Ending::Root, &[100 + n]);
        sampled.end_round();
    }
    assert_eq!(kept(&sampled.read())[&7], 1_000);
}

#[test]
fn a_stack_that_is_in_use_is_kept_and_one_warning_comes() {
    let mut sampled = Sampled::new(Some(LIMITS), 1);
    let mut warnings = 0;
    for n in 0..1_000 {
        sampled.sample(0, Ending::Root, &[n]);
        if sampled.accounting.is_fold_due() {
            warnings += usize::from(sampled.accounting.fold_stacks(&Ids::from_iter([0])).is_some());
        }
    }
    assert!(kept(&sampled.read()).contains_key(&0));
    assert_eq!(warnings, 1);
}

#[test]
fn stacks_that_are_all_in_use_are_seldom_searched() {
    let mut sampled = Sampled::new(Some(LIMITS), 1);
    let in_use: Ids<u32> = (0..LIMITS.stacks as u32).collect();
    let mut folds = 0;
    for n in 0..10_000 {
        sampled.sample(0, Ending::Root, &[n]);
        if sampled.accounting.is_fold_due() {
            sampled.accounting.fold_stacks(&in_use);
            folds += 1;
        }
    }
    assert!((1..=10_000 * 4 / LIMITS.stacks).contains(&folds), "{folds} folds");
    let found = sampled.read();
    assert_eq!((kept(&found).len(), others(&found)), (LIMITS.stacks, 10_000 - LIMITS.stacks as u64));
}

#[test]
fn without_a_round_of_the_sampler_new_stacks_have_no_room() {
    let mut sampled = Sampled::new(Some(LIMITS), 1);
    (0..1_000).for_each(|n| sampled.sample(0, Ending::Root, &[n]));
    let found = sampled.read();
    assert_eq!((kept(&found).len(), others(&found)), (LIMITS.stacks, 1_000 - LIMITS.stacks as u64));
    sampled.end_round();
    sampled.sample(0, Ending::Root, &[999]);
    assert_eq!(kept(&sampled.read())[&999], 1);
}

#[cfg(any(feature = "inspect", feature = "push"))]
mod differences {
    use super::*;
    use crate::flame::{Line, Location, Module, Stack, Stacks};
    use crate::profile::model::{Profile, Session};
    use crate::profile::raw::Effective;
    use crate::profile::symbols::{Resolve, Role};
    use crate::profile::{Clock, Engine, build, difference};
    use std::time::{Duration, UNIX_EPOCH};

    /// The function at the address 7 is `f7`.
    struct Names;

    impl Resolve for Names {
        fn resolve(&mut self, address: u64, _: bool, _: u32) -> Location {
            let name: Arc<str> = format!("f{address}").into();
            let line = Line { function: name.clone(), system_name: name, file: "".into(), line: 0 };
            Location { address: 1 + address, module: Some(0), lines: vec![line] }
        }

        fn modules(&mut self) -> Vec<Module> {
            vec![Module { start: 0, end: 9, file_offset: 0, file: "/program".into(), build_id: String::new() }]
        }

        fn role(&self, _: Option<usize>) -> Role {
            Role::Program
        }
    }

    fn profile(found: RawProfile) -> Profile {
        let effective = Effective { engine: Engine::Timer, clock: Clock::Cpu, period: Duration::from_millis(1) };
        let (trouble, unread, process_cpu) = (None, Vec::new(), None);
        let session =
            Session { effective, started: UNIX_EPOCH, duration: Duration::ZERO, trouble, unread, process_cpu };
        build::profile(found.samples, &found.lifetimes, &[], session, &mut Names)
    }

    /// Samples and weights by thread and leaf.
    fn sums(stacks: &Stacks) -> BTreeMap<(String, String), (u64, u64)> {
        let name = |stack: &Stack| stacks.locations[stack.frames[0]].lines[0].function.to_string();
        let row = |stack: &Stack| ((stack.label.to_string(), name(stack)), (stack.samples, stack.weight));
        stacks.stacks.iter().map(row).collect()
    }

    /// Threads that run some usual code and ever new code, in intervals of which each is a difference of two
    /// readings, as for a server.
    #[test]
    fn no_time_is_counted_in_two_intervals() {
        let mut sampled = Sampled::new(Some(LIMITS), 3);
        let (mut before, mut next) = (Stacks::default(), 0);
        let mut folds = 0;
        for interval in 0..200_u64 {
            // What this interval has.
            let mut added: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
            let mut clocks = [0; 3].map(|_: u64| sampled.now);
            for n in 0..30 {
                let thread = (n % 3) as usize;
                let address = if n % 5 < 2 { 1_000_000 + n % 10 } else { next };
                next += 1;
                sampled.sample(thread, Ending::Root, &[address]);
                let name = (format!("main/thread-{thread}"), format!("f{address}"));
                let sum = added.entry(name).or_default();
                *sum = (sum.0 + 1, sum.1 + sampled.now - clocks[thread]);
                clocks[thread] = sampled.now;
                if sampled.accounting.is_fold_due() {
                    sampled.end_round();
                    folds += 1;
                }
            }
            let found = {
                // Each thread's clock stands at its last sample, so nothing is without one.
                for clock in &mut sampled.clocks {
                    clock.step(sampled.now);
                }
                sampled.accounting.copy_to_close().into_raw_profile()
            };
            let after = profile(found).names.stacks().clone();
            let mut since = after.clone();
            difference::subtract(&mut since, &before);
            before = after;
            let since = sums(&since);
            for thread in (0..3).map(|n| format!("main/thread-{n}")) {
                let total = |all: &BTreeMap<(String, String), (u64, u64)>| {
                    let own = all.iter().filter(|((label, _), _)| *label == thread);
                    own.fold((0, 0), |sum, (_, more)| (sum.0 + more.0, sum.1 + more.1))
                };
                assert_eq!(total(&since), total(&added), "{thread} in interval {interval}");
            }
            for (name, sum) in since.iter().filter(|((_, function), _)| function != "[others]") {
                assert_eq!(Some(sum), added.get(name), "{name:?} in interval {interval}");
            }
        }
        assert!(folds > 20, "{folds}");
    }

    #[test]
    fn the_summary_tells_how_many_samples_have_lost_their_stacks() {
        let mut sampled = Sampled::new(Some(LIMITS), 2);
        for n in 0..100 {
            sampled.sample(n as usize % 2, Ending::Root, &[n]);
        }
        let profile = profile(sampled.read());
        assert_eq!((profile.samples(), profile.others()), (100, 36));
        let summary = profile.summary();
        assert!(summary.contains(" · 36 of stacks that were too many, as [others]"), "{summary}");
        let mut folded = Vec::new();
        profile.write_folded(&mut folded).unwrap();
        let folded = String::from_utf8(folded).unwrap();
        assert!(folded.contains("main;thread-1;[others] "), "{folded}");
    }
}
