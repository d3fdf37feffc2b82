//! Loom models of a thread's ring and of an entry of the table: a thread stands for the signal
//! handler. See `model/loom_tests.rs`.

use super::entry::Entry;
use super::ring::{Record, Ring};
use crate::model::Word;
use crate::model::loom_tests::check;
use crate::profile::engines::Ending;
use crate::wait::Shown;
use loom::thread;
use std::sync::Arc;

#[test]
fn loom_ring_records_are_whole_and_in_order() {
    check(3, || {
        let ring = Arc::new(Ring::default());
        let theirs = ring.clone();
        // Two fit; the third goes round the end.
        let handler = thread::spawn(move || {
            (1..=3)
                .filter(|number| {
                    let Some(mut writer) = theirs.writer() else { return false };
                    let fits = writer.push(number * 10);
                    if fits {
                        writer.publish(*number, Ending::Deep, Shown::default());
                    }
                    fits
                })
                .collect::<Vec<_>>()
        });
        let (mut records, mut buffer) = (Vec::new(), Vec::new());
        let mut read = || {
            ring.read(&mut buffer, |Record { clock, ending, addresses, .. }| {
                assert_eq!((ending, addresses), (Ending::Deep, &[clock * 10][..]));
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

/// What was taken is freed, which is a write here: an access by the handler that is not over is a
/// failure.
#[test]
fn loom_entry_what_was_taken_is_not_in_use_any_more() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::new(1));
        let slot = Word::new(1);
        // SAFETY: it is freed below, after `take`.
        unsafe { entry.give(&slot) };
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
        entry.take();
        slot.set(0);
        handler.join().unwrap();
    });
}

#[test]
fn loom_entry_a_question_is_its_askers_again_after_the_grace() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::new(1));
        let question = Word::new(1);
        let theirs = entry.clone();
        let handler = thread::spawn(move || {
            for _ in 0..2 {
                theirs.enter(1, |found| {
                    if let Some(question) = found.question {
                        question.set(question.get() + 1);
                    }
                });
            }
        });
        // SAFETY: it lives until the handler has been joined, and is used again only after the
        // grace.
        unsafe { entry.ask(&question) };
        let seen = entry.take_question();
        if entry.is_over(seen) {
            assert!(question.get() >= 1);
        }
        handler.join().unwrap();
    });
}

/// The entry becomes another thread's while the first one's handler is anywhere: that one never
/// finds what is the other's, and the end of its stay is not taken for that of the other's.
#[test]
fn loom_entry_of_another_thread_is_not_entered() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::new(1));
        let (first, second) = (Word::new(1), Word::new(2));
        // SAFETY: it is freed below, after `take`.
        unsafe { entry.give(&first) };
        let handler = |id: i32| {
            let theirs = entry.clone();
            thread::spawn(move || {
                if theirs.is_of(id) {
                    theirs.enter(id, |found| {
                        if let Some(slot) = found.slot {
                            assert_eq!(slot.get(), id as u64);
                        }
                    });
                }
            })
        };
        let handlers = [handler(1), handler(2)];
        entry.take();
        first.set(0);
        entry.free();
        if entry.become_of(2) {
            // SAFETY: it is freed below, after `take`.
            unsafe { entry.give(&second) };
            entry.take();
            second.set(0);
        }
        handlers.into_iter().for_each(|handler| handler.join().unwrap());
    });
}
