//! Loom models of the spans of one thread, of which another one takes a copy. See
//! `model/loom_tests.rs`. Small, since each load may give each value: the thread closes one span,
//! or opens one.

use super::thread_spans::{Row, ThreadSpans};
use crate::model::loom_tests::check;
use loom::thread;
use std::sync::Arc;

fn counts(rows: &[Row]) -> Option<(u64, u64, u64)> {
    rows.first().map(|row| (row.calls, row.own, row.total))
}

/// The time of a span is either among the open ones or among the closed ones.
#[test]
fn loom_spans_a_copy_has_a_closed_span_once() {
    check(2, || {
        let spans = Arc::new(ThreadSpans::new(1, "main".into(), 0));
        let place = spans.open(spans.names().number("work", 0, || unreachable!()), || 10);
        let theirs = spans.clone();
        let reader = thread::spawn(move || {
            if let Some(rows) = theirs.try_copy(40) {
                assert_eq!(counts(&rows), Some((1, 30, 30)));
            }
        });
        spans.close(place, 40);
        reader.join().unwrap();
        assert_eq!(counts(&spans.try_copy(40).unwrap()), Some((1, 30, 30)));
    });
}

/// A span that is found is found whole, also in a frame that another span had before.
#[test]
fn loom_spans_a_copy_has_whole_frames() {
    check(2, || {
        let spans = Arc::new(ThreadSpans::new(1, "main".into(), 0));
        let number = spans.names().number("work", 0, || unreachable!());
        let place = spans.open(number, || 5);
        spans.close(place, 7);
        let theirs = spans.clone();
        let reader = thread::spawn(move || {
            if let Some(rows) = theirs.try_copy(40) {
                let found = counts(&rows);
                assert!(matches!(found, Some((1, 2, 2) | (2, 32, 32))), "{found:?}");
            }
        });
        spans.open(number, || 10);
        reader.join().unwrap();
        assert_eq!(counts(&spans.try_copy(40).unwrap()), Some((2, 32, 32)));
    });
}
