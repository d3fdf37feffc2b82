//! The books, with clocks and addresses that are made up.

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
    // A lost sample leaves its time to the next.
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
    // Early signals do not make up for later ones.
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
    // All but the sample that found no room came together with the next.
    assert_eq!(books.accounts[account].life.merged, 4);
    assert_eq!(total(&books.found(), account), 1_250);
}

#[test]
fn what_a_full_ring_has_lost_is_lost_once() {
    let mut books = Books::new(Duration::from_nanos(100));
    let account = books.open("main/a".into(), None, 0);
    let mut meter = Meter::new(account, 0);
    // Twenty came and filled it, thirty more found it full, and then the sampler came to read.
    books.lost(&mut meter, 30);
    (1..=20).for_each(|n| books.record(&mut meter, n * 100, Ending::Root, &[1]));
    assert_eq!(meter.missing(5_000, 100), 0);
    books.record(&mut meter, 5_100, Ending::Root, &[1]);
    books.settle(&mut meter, 5_200);
    assert_eq!((meter.given_up(), books.accounts[account].life.lost), (31, Some(31)));
}

#[test]
fn an_outer_account_that_was_removed_stays_so() {
    let mut meter = Meter::new(1, 0);
    meter.put_in_charge(2);
    meter.put_in_charge(3);
    assert_eq!(meter.owners().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(!meter.remove(2));
    assert!(!meter.remove(3));
    assert_eq!(meter.owners().collect::<Vec<_>>(), [1]);
    assert!(meter.remove(1), "none is left");
}
