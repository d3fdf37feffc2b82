//! Loom models of a thread's ring and of an entry of the table. A thread plays the signal handler.
//! See `model/loom_tests.rs`.

use super::entry::Entry;
use super::ring::{Record, Ring};
use super::sample_flags::SampleFlags;
use crate::model::Word;
use crate::model::loom_tests::check;
use crate::profile::raw::Ending;
use crate::wait::Shown;
use loom::thread;
use std::sync::Arc;

#[test]
fn loom_ring_records_are_whole_and_in_order() {
    check(3, || {
        let ring = Arc::new(Ring::default());
        let theirs = ring.clone();
        // Two records fit; the third one wraps around the end.
        let handler = thread::spawn(move || {
            (1..=3)
                .filter(|number| {
                    let Some(mut writer) = theirs.writer(false, 7) else { return false };
                    let fits = writer.push(number * 10);
                    if fits {
                        writer.publish(*number, 0, Ending::Deep, Shown::default());
                    }
                    fits
                })
                .collect::<Vec<_>>()
        });
        let (mut records, mut buffer) = (Vec::new(), Vec::new());
        let mut read = || {
            ring.read(&mut buffer, |Record { clock, ending, addresses, context, .. }| {
                assert_eq!((ending, addresses, context), (Ending::Deep, &[clock * 10][..], 7));
                records.push(clock);
            });
        };
        read();
        read();
        let written = handler.join().unwrap();
        read();
        assert_eq!(records, written);
        assert!(written.len() >= 2);
    });
}

/// A sample that the sampler has not read has a raised flag, once the handler has raised it. A sampler
/// that sees the flag sees the samples before it.
#[test]
fn loom_sample_flag_tells_of_each_sample() {
    check(3, || {
        let (ring, mut flags) = (Arc::new(Ring::default()), SampleFlags::default());
        let number = flags.add(5);
        let (theirs, flag) = (ring.clone(), flags.flag(number));
        let handler = thread::spawn(move || {
            for number in 1..=2 {
                let mut writer = theirs.writer(false, 7).expect("two fit");
                assert!(writer.push(number * 10));
                writer.publish(number, 0, Ending::Deep, Shown::default());
                flag.raise();
            }
        });
        let (mut seen, mut buffer) = (0, Vec::new());
        let mut round = || {
            let mut is_raised = false;
            flags.drain(|id| is_raised = id == 5);
            if is_raised {
                ring.read(&mut buffer, |_| seen += 1);
            }
            seen
        };
        round();
        round();
        handler.join().unwrap();
        assert_eq!(round(), 2, "a sample without a flag");
    });
}

/// A cleared slot is freed, which is a write here. So an access by a handler that is still at work
/// is a failure.
#[test]
fn loom_entry_a_cleared_slot_is_not_in_use() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::new(1));
        let slot = Word::new(1);
        // SAFETY: it is freed below, after `clear_slot`.
        unsafe { entry.set_slot(&slot) };
        let theirs = entry.clone();
        let handler = thread::spawn(move || {
            for _ in 0..2 {
                theirs.enter(1, |found| {
                    if let Some(slot) = found.slot {
                        assert_eq!(slot.get(), 1);
                    }
                });
            }
        });
        entry.clear_slot();
        slot.set(0);
        handler.join().unwrap();
    });
}

#[test]
fn loom_entry_a_request_is_free_after_the_grace() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::new(1));
        let request = Word::new(1);
        let theirs = entry.clone();
        let handler = thread::spawn(move || {
            for _ in 0..2 {
                theirs.enter(1, |found| {
                    if let Some(request) = found.request {
                        request.set(request.get() + 1);
                    }
                });
            }
        });
        // SAFETY: it lives until the handler has been joined, and is used again only after the
        // grace.
        unsafe { entry.set_request(&request) };
        let seen = entry.clear_request();
        if entry.is_over(seen) {
            assert!(request.get() >= 1);
        }
        handler.join().unwrap();
    });
}

/// The entry is reassigned while the first thread's handler is anywhere. That handler never finds
/// the other thread's slot, and its end is not taken for the end of the other thread's handler.
#[test]
fn loom_entry_a_reassigned_entry_is_not_entered() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::new(1));
        let (first, second) = (Word::new(1), Word::new(2));
        // SAFETY: it is freed below, after `clear_slot`.
        unsafe { entry.set_slot(&first) };
        let handler = |id: i32| {
            let theirs = entry.clone();
            thread::spawn(move || {
                if theirs.belongs_to(id) {
                    theirs.enter(id, |found| {
                        if let Some(slot) = found.slot {
                            assert_eq!(slot.get(), id as u64);
                        }
                    });
                }
            })
        };
        let handlers = [handler(1), handler(2)];
        entry.clear_slot();
        first.set(0);
        entry.free();
        if entry.assign_to(2) {
            // SAFETY: it is freed below, after `clear_slot`.
            unsafe { entry.set_slot(&second) };
            entry.clear_slot();
            second.set(0);
        }
        handlers.into_iter().for_each(|handler| handler.join().unwrap());
    });
}
