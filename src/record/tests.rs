//! What rings and the store keep, lose and count.

use super::{Event, Rings, SleepEvent, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn sleep(begin: u64) -> Event {
    Event::Sleep(SleepEvent { begin, ended: begin + 5, runs_again: begin + 6, ..SleepEvent::default() })
}

/// The begins of the sleeps that the store has of the thread.
fn begins(store: &Store, of: u64) -> Vec<u64> {
    let mut begins = Vec::new();
    store.contents().each(|thread, event| {
        if let (true, Event::Sleep(sleep)) = (thread == of, event) {
            begins.push(sleep.begin);
        }
    });
    begins
}

#[test]
fn a_storm_without_a_reader_loses_nothing() {
    let store = Arc::<Store>::default();
    let rings = Rings::new(1, store.clone());
    (0..100_000).for_each(|n| rings.write(sleep(n)));
    rings.drain();
    assert_eq!(rings.lost(), 0);
    assert!(begins(&store, 1).into_iter().eq(0..100_000));
}

#[test]
fn events_without_room_are_counted() {
    let store = Arc::<Store>::default();
    let rings = Rings::new(1, store.clone());
    let blocked = store.block();
    (0..2_000).for_each(|n| rings.write(sleep(n)));
    let lost = rings.lost();
    assert!((1..2_000).contains(&lost), "{lost}");
    drop(blocked);
    (2_000..2_010).for_each(|n| rings.write(sleep(n)));
    rings.drain();
    let kept = begins(&store, 1);
    assert_eq!((kept.len() as u64 + lost, rings.lost()), (2_010, lost));
    assert!(kept.into_iter().eq((0..2_000 - lost).chain(2_000..2_010)));
}

#[test]
fn a_week_is_kept_in_the_memory_of_minutes() {
    const BUDGET: usize = 1 << 20;
    let store = Arc::new(Store::with_budget(BUDGET));
    let rings = Rings::new(1, store.clone());
    let mut forgotten_threads = 0;
    // In each second one thread waits and lives on, and another thread waits and ends.
    let week = 7 * 24 * 3_600;
    for second in 0..week {
        let at = second * 1_000_000_000;
        rings.write(sleep(at));
        rings.drain();
        store.add(second + 2, [sleep(at), Event::Sample { at, cpu: 1, stack: 2, ending: 0 }].into_iter());
        store.end(second + 2, at + 10, 300);
        assert!(store.bytes() <= BUDGET);
        if second % 1_000 == 0 {
            forgotten_threads += store.take_forgotten_threads().len() as u64;
        }
    }
    forgotten_threads += store.take_forgotten_threads().len() as u64;
    let (contents, mut events, mut oldest, mut newest) = (store.contents(), 0, u64::MAX, 0);
    contents.each(|_, event| {
        events += 1;
        oldest = oldest.min(event.end());
        newest = newest.max(event.end());
    });
    assert_eq!(events + contents.forgotten, 3 * week);
    assert!(events > 3_000 && oldest >= contents.forgotten_until.saturating_sub(20), "{events}");
    assert_eq!(newest, (week - 1) * 1_000_000_000 + 6);
    assert!(forgotten_threads > week - 3_000 && forgotten_threads < week, "{forgotten_threads}");
}

#[test]
fn concurrent_readers_find_each_event_once() {
    const EVENTS: u64 = 100_000;
    let store = Arc::<Store>::default();
    let (rings, is_over) = (Rings::new(1, store.clone()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    rings.drain();
                }
            });
        }
        (0..EVENTS).for_each(|n| rings.write(sleep(n)));
        is_over.store(true, Ordering::Relaxed);
    });
    rings.drain();
    let kept = begins(&store, 1);
    assert!(kept.is_sorted_by(|a, b| a < b));
    assert_eq!(kept.len() as u64 + rings.lost(), EVENTS);
}

#[test]
fn rings_take_little_memory_until_they_are_needed() {
    let words = |rings: &Rings| rings.words() * size_of::<u64>();
    let rings = Rings::new(1, Arc::default());
    assert!(words(&rings) < 4 << 10);
    (0..1_000).for_each(|n| rings.write(sleep(n)));
    assert!(words(&rings) < 40 << 10);
}
