//! Loom models of the rings of a thread. See `model/loom_tests.rs`.

use super::{Event, Rings, Store};
use crate::model::loom_tests::check;
use loom::thread;
use std::sync::Arc;

fn event(number: u64) -> Event {
    Event::Span { begin: number, end: number * 10, name: number as u32 }
}

/// The numbers of the events that the store has, each of which is whole.
fn numbers(store: &Store) -> Vec<u64> {
    let mut numbers = Vec::new();
    store.contents().each(|thread, found| {
        let Event::Span { begin, .. } = found else { panic!("{found:?}") };
        assert_eq!((thread, found), (7, event(begin)));
        numbers.push(begin);
    });
    numbers
}

/// Two events fit into each ring. The third makes the second ring, while the first may be being read.
/// No event is lost, doubled, torn, or out of order.
#[test]
fn loom_rings_events_are_whole_and_in_order() {
    check(3, || {
        let store = Arc::<Store>::default();
        let rings = Arc::new(Rings::new(7, store.clone()));
        let theirs = rings.clone();
        let writer = thread::spawn(move || (1..=3).for_each(|number| theirs.write(event(number))));
        rings.drain();
        rings.drain();
        writer.join().unwrap();
        rings.drain();
        assert_eq!((numbers(&store), rings.lost()), (vec![1, 2, 3], 0));
        assert!(rings.is_empty());
    });
}

/// A thread whose rings are full empties them itself, or loses the event if another thread reads now.
/// A lost event is counted.
#[test]
fn loom_rings_a_full_ring_is_read_by_one_thread_at_a_time() {
    check(3, || {
        let store = Arc::<Store>::default();
        let rings = Arc::new(Rings::new(7, store.clone()));
        (1..=4).for_each(|number| rings.write(event(number)));
        let theirs = rings.clone();
        let writer = thread::spawn(move || (5..=6).for_each(|number| theirs.write(event(number))));
        rings.drain();
        writer.join().unwrap();
        rings.drain();
        let found = numbers(&store);
        assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        assert_eq!(found.len() as u64 + rings.lost(), 6, "{found:?}");
        assert!(found.starts_with(&[1, 2, 3, 4]), "{found:?}");
    });
}
