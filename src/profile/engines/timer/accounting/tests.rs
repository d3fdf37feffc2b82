//! Accounting by the CPU clock, with made-up clocks and addresses.

use super::accounts::Accounting;
use super::cpu::ThreadClock;
use crate::profile::raw::{Ending, Owner, RawProfile, Stack};
use std::time::Duration;

fn total(found: &RawProfile, lifetime: usize) -> u64 {
    found.samples.iter().filter(|sample| sample.owner == Owner::Lifetime(lifetime)).map(|sample| sample.weight).sum()
}

fn weights(found: &RawProfile, lifetime: usize) -> Vec<(u64, u64, Vec<u64>)> {
    let mut weights: Vec<_> = found
        .samples
        .iter()
        .filter(|sample| sample.owner == Owner::Lifetime(lifetime))
        .map(|sample| match &sample.stack {
            Stack::Sampled { addresses, .. } => (sample.samples, sample.weight, addresses.to_vec()),
            Stack::Unsampled | Stack::Others { .. } => (0, sample.weight, vec![]),
        })
        .collect();
    weights.sort_unstable();
    weights
}

#[test]
fn weights_are_differences_of_the_clock_and_the_rest_is_unsampled() {
    let mut accounting = Accounting::default();
    let account = accounting.open("main/a".into(), Some(7), -5);
    let mut thread_clock = ThreadClock::new(account, 1_000);
    accounting.record(&mut thread_clock, 1_300, Ending::Root, &[1, 2]);
    accounting.record(&mut thread_clock, 1_301, Ending::Root, &[3]);
    // A lost sample leaves its time to the next.
    accounting.add_lost(&mut thread_clock, 1);
    accounting.record(&mut thread_clock, 9_000, Ending::Root, &[1, 2]);
    accounting.record(&mut thread_clock, 9_100, Ending::Broken, &[1, 2]);
    accounting.close(&mut thread_clock, 9_107);
    accounting.end(account, 70);
    let found = accounting.into_raw_profile();
    let expected = vec![(0, 7, vec![]), (1, 1, vec![3]), (1, 100, vec![1, 2]), (2, 300 + 7_699, vec![1, 2])];
    assert_eq!(weights(&found, account), expected);
    assert_eq!(found.lifetimes[account].cpu, Duration::from_nanos(8_107));
    assert_eq!(total(&found, account), 8_107);
    assert_eq!((found.lifetimes[account].ended, found.lifetimes[account].lost), (Some(70), Some(1)));
}

#[test]
fn a_thread_registered_again_keeps_two_accounts_that_add_up_to_its_clock() {
    let mut accounting = Accounting::default();
    let outer = accounting.open("main/pool".into(), Some(7), 0);
    let mut thread_clock = ThreadClock::new(outer, 100);
    accounting.record(&mut thread_clock, 150, Ending::Root, &[1]);
    accounting.close(&mut thread_clock, 160);
    let inner = accounting.open("main/job".into(), Some(7), 0);
    thread_clock.put_in_charge(inner);
    accounting.record(&mut thread_clock, 500, Ending::Root, &[1]);
    accounting.close(&mut thread_clock, 510);
    assert!(!thread_clock.remove(inner));
    accounting.record(&mut thread_clock, 700, Ending::Root, &[1]);
    accounting.close(&mut thread_clock, 705);
    assert!(thread_clock.remove(outer));
    let found = accounting.into_raw_profile();
    assert_eq!(weights(&found, outer), [(0, 15, vec![]), (2, 240, vec![1])]);
    assert_eq!(weights(&found, inner), [(0, 10, vec![]), (1, 340, vec![1])]);
    assert_eq!(found.lifetimes[outer].cpu.as_nanos() + found.lifetimes[inner].cpu.as_nanos(), 605);
    assert_eq!(total(&found, outer) + total(&found, inner), 605);
}

#[test]
fn closing_a_copy_leaves_the_original_unchanged() {
    let mut accounting = Accounting::default();
    let account = accounting.open("main".into(), None, 0);
    let mut thread_clock = ThreadClock::new(account, 0);
    accounting.record(&mut thread_clock, 10, Ending::Root, &[1]);
    let (mut copy, mut copied) = (accounting.copy_to_close(), thread_clock.clone());
    copy.close(&mut copied, 25);
    assert_eq!(total(&copy.into_raw_profile(), account), 25);
    accounting.record(&mut thread_clock, 30, Ending::Root, &[1]);
    accounting.close(&mut thread_clock, 30);
    let found = accounting.into_raw_profile();
    assert_eq!(weights(&found, account), [(2, 30, vec![1])]);
}

#[test]
fn a_clock_that_goes_back_weighs_nothing() {
    let mut accounting = Accounting::default();
    let account = accounting.open("main".into(), None, 0);
    let mut thread_clock = ThreadClock::new(account, 50);
    accounting.record(&mut thread_clock, 40, Ending::Leaf, &[1]);
    accounting.record(&mut thread_clock, 60, Ending::Leaf, &[1]);
    accounting.close(&mut thread_clock, 55);
    assert_eq!(weights(&accounting.into_raw_profile(), account), [(2, 10, vec![1])]);
}

#[test]
fn a_due_sample_that_never_came_is_lost() {
    let lost = |accounting: &Accounting, account: usize| accounting.accounts[account].lifetime.lost.unwrap();
    let mut accounting = Accounting::new(Duration::from_nanos(100));
    let account = accounting.open("main/a".into(), None, 0);
    let mut thread_clock = ThreadClock::new(account, 1_000);
    // A bit late each time, as at a tick: nothing is lost.
    for clock in [1_090, 1_195, 1_280, 1_390] {
        accounting.record(&mut thread_clock, clock, Ending::Root, &[1]);
    }
    assert_eq!(lost(&accounting, account), 0);
    // Those due at 1 490, 1 590 and 1 690 came as one, the first of them late.
    accounting.record(&mut thread_clock, 1_700, Ending::Root, &[1]);
    assert_eq!(lost(&accounting, account), 2);
    // Early signals do not make up for later ones.
    for clock in 1_701..1_750 {
        accounting.record(&mut thread_clock, clock, Ending::Root, &[1]);
    }
    assert_eq!(
        (lost(&accounting, account), thread_clock.missing(1_899, 100), thread_clock.missing(2_250, 100)),
        (2, 0, 4)
    );
    // A record that found no room is lost once.
    accounting.add_lost(&mut thread_clock, 1);
    accounting.record(&mut thread_clock, 1_990, Ending::Root, &[1]);
    assert_eq!(lost(&accounting, account), 3);
    accounting.close(&mut thread_clock, 2_250);
    assert_eq!((lost(&accounting, account), thread_clock.lost_so_far()), (5, 5));
    // All but the sample that found no room came together with the next.
    assert_eq!(accounting.accounts[account].lifetime.merged, 4);
    assert_eq!(total(&accounting.into_raw_profile(), account), 1_250);
}

#[test]
fn a_full_rings_losses_are_counted_once() {
    let mut accounting = Accounting::new(Duration::from_nanos(100));
    let account = accounting.open("main/a".into(), None, 0);
    let mut thread_clock = ThreadClock::new(account, 0);
    // Twenty came and filled it, thirty more found it full, and then the sampler came to read.
    accounting.add_lost(&mut thread_clock, 30);
    for n in 1..=20 {
        accounting.record(&mut thread_clock, n * 100, Ending::Root, &[1]);
    }
    assert_eq!(thread_clock.missing(5_000, 100), 0);
    accounting.record(&mut thread_clock, 5_100, Ending::Root, &[1]);
    accounting.close(&mut thread_clock, 5_200);
    assert_eq!((thread_clock.lost_so_far(), accounting.accounts[account].lifetime.lost), (31, Some(31)));
}

#[test]
fn an_outer_account_that_was_removed_stays_so() {
    let mut thread_clock = ThreadClock::new(1, 0);
    thread_clock.put_in_charge(2);
    thread_clock.put_in_charge(3);
    assert_eq!(thread_clock.owners().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(!thread_clock.remove(2));
    assert!(!thread_clock.remove(3));
    assert_eq!(thread_clock.owners().collect::<Vec<_>>(), [1]);
    assert!(thread_clock.remove(1), "none is left");
}
