//! Loom models of a thread's ring and of the table's turns: a thread stands for the signal handler. See
//! `model/loom_tests.rs`.

use super::ring::Ring;
use super::table::Entry;
use crate::model::Word;
use crate::model::loom_tests::check;
use crate::profile::engines::Ending;
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
                        writer.publish(*number, Ending::Deep);
                    }
                    fits
                })
                .collect::<Vec<_>>()
        });
        let (mut records, mut buffer) = (Vec::new(), Vec::new());
        let mut read = || {
            ring.read(&mut buffer, |clock, ending, addresses| {
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

/// What was taken is freed, which is a write here: an access by the handler that is not over is a failure.
#[test]
fn loom_table_what_was_taken_is_not_in_use_any_more() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::empty());
        let slot = Word::new(1);
        // SAFETY: it is freed below, after `take`.
        unsafe { entry.give(&slot) };
        let theirs = entry.clone();
        let handler = thread::spawn(move || {
            for _ in 0..2 {
                theirs.enter(|found| {
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
fn loom_table_a_question_is_its_askers_again_after_the_grace() {
    check(3, || {
        let entry = Arc::new(Entry::<Word, Word>::empty());
        let question = Word::new(1);
        let theirs = entry.clone();
        let handler = thread::spawn(move || {
            for _ in 0..2 {
                theirs.enter(|found| {
                    if let Some(question) = found.question {
                        question.set(question.get() + 1);
                    }
                });
            }
        });
        // SAFETY: it lives until the handler has been joined, and is used again only after the grace.
        unsafe { entry.ask(&question) };
        if entry.take_question().is_over() {
            assert!(question.get() >= 1);
        }
        handler.join().unwrap();
    });
}
