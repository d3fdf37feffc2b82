//! The spans of one thread, with made-up clocks: each count to the tick.

use super::thread_spans::{MAX_OPEN, Row, ThreadSpans, UNTIMED};
use std::sync::atomic::{AtomicBool, Ordering};

/// A thread whose clock the test sets.
struct Subject {
    spans: ThreadSpans,
    now: u64,
}

impl Subject {
    fn new() -> Subject {
        Subject { spans: ThreadSpans::new(1, "main".into(), 0), now: 1_000 }
    }

    /// Opens a span after `pause` ticks.
    fn open(&mut self, pause: u64, name: &'static str) -> u32 {
        self.now += pause;
        self.spans.open(self.spans.names().number(name, 0, || unreachable!()), || self.now)
    }

    /// Closes a span after `pause` ticks.
    fn close(&mut self, pause: u64, place: u32) {
        self.now += pause;
        self.spans.close(place, self.now);
    }

    fn row(&self, name: &str) -> (u64, u64, u64, u64) {
        let rows = self.spans.try_copy(self.now).unwrap();
        let row = rows.iter().find(|row| row.name == name);
        row.map_or((0, 0, 0, 0), |row| (row.calls, row.own, row.total, row.longest))
    }
}

#[test]
fn time_in_an_inner_span_is_not_self_time() {
    let mut thread = Subject::new();
    let outer = thread.open(5, "outer");
    let inner = thread.open(10, "inner");
    thread.close(100, inner);
    let inner = thread.open(20, "inner");
    thread.close(300, inner);
    thread.close(40, outer);
    assert_eq!(thread.row("outer"), (1, 70, 470, 470));
    assert_eq!(thread.row("inner"), (2, 400, 400, 300));
}

#[test]
fn recursion_is_counted_once_in_the_total() {
    let mut thread = Subject::new();
    let outer = thread.open(0, "walk");
    let other = thread.open(10, "read");
    let inner = thread.open(1, "walk");
    thread.close(100, inner);
    thread.close(2, other);
    thread.close(20, outer);
    assert_eq!(thread.row("walk"), (2, 130, 133, 133));
    assert_eq!(thread.row("read"), (1, 3, 103, 103));
}

#[test]
fn open_spans_count_up_to_the_copy_and_go_on() {
    let mut thread = Subject::new();
    let outer = thread.open(0, "outer");
    let inner = thread.open(10, "inner");
    thread.now += 5;
    assert_eq!((thread.row("outer"), thread.row("inner")), ((1, 10, 15, 15), (1, 5, 5, 5)));
    thread.now += 5;
    assert_eq!((thread.row("outer"), thread.row("inner")), ((1, 10, 20, 20), (1, 10, 10, 10)));
    thread.close(1, inner);
    thread.close(1, outer);
    assert_eq!((thread.row("outer"), thread.row("inner")), ((1, 11, 22, 22), (1, 11, 11, 11)));
}

#[test]
fn guards_dropped_out_of_order_end_their_own_spans() {
    let mut thread = Subject::new();
    let around = thread.open(0, "around");
    let first = thread.open(10, "first");
    let second = thread.open(10, "second");
    let third = thread.open(10, "third");
    thread.close(10, second);
    assert_eq!(thread.row("second"), (1, 10, 20, 20));
    thread.close(10, first);
    assert_eq!(thread.row("first"), (1, 10, 40, 40));
    thread.close(10, third);
    assert_eq!(thread.row("third"), (1, 30, 30, 30));
    thread.close(10, around);
    // Each tick is the self time of one span.
    assert_eq!(thread.row("around"), (1, 20, 70, 70));
}

#[test]
fn a_recursion_that_ends_from_the_outside_is_counted_once() {
    let mut thread = Subject::new();
    let outer = thread.open(0, "walk");
    let inner = thread.open(10, "walk");
    thread.close(10, outer);
    thread.close(10, inner);
    assert_eq!(thread.row("walk"), (2, 30, 30, 20));
}

#[test]
fn guards_that_follow_each_other_take_no_more_room() {
    let mut thread = Subject::new();
    let mut last = thread.open(0, "step");
    for _ in 0..10 * MAX_OPEN {
        let next = thread.open(1, "step");
        thread.close(1, last);
        last = next;
    }
    thread.close(0, last);
    assert!(last < 2);
    let ticks = 20 * MAX_OPEN as u64;
    assert_eq!(thread.row("step"), (ticks / 2 + 1, ticks, ticks, 3));
}

#[test]
fn deep_recursion_is_timed_up_to_the_limit_and_counted_beyond() {
    let mut thread = Subject::new();
    let mut places: Vec<u32> = (0..MAX_OPEN + 10).map(|_| thread.open(1, "down")).collect();
    assert!(places.split_off(MAX_OPEN).iter().all(|&place| place == UNTIMED));
    assert_eq!(thread.spans.untimed(), 10);
    let calls = MAX_OPEN as u64 + 10;
    assert_eq!(thread.row("down"), (calls, calls - 1, calls - 1, calls - 1));
    for place in places.into_iter().rev() {
        thread.close(1, place);
    }
    assert_eq!(thread.row("down").2, calls - 1 + MAX_OPEN as u64);
}

#[test]
fn leaked_spans_end_with_the_thread() {
    let mut thread = Subject::new();
    let outer = thread.open(0, "outer");
    thread.open(1, "leaked");
    thread.close(10, outer);
    let next = thread.open(5, "next");
    thread.close(5, next);
    assert_eq!((thread.row("outer"), thread.row("leaked")), ((1, 1, 11, 11), (1, 15, 20, 20)));
    thread.now += 100;
    thread.spans.close_all(thread.now);
    assert_eq!(thread.row("leaked"), (1, 115, 120, 120));
    thread.now += 100;
    assert_eq!(thread.row("leaked"), (1, 115, 120, 120));
}

/// In each copy, the ticks are where a moment can be found at which they were there.
#[test]
fn copies_of_a_busy_thread_fit_together() {
    let (spans, is_over) = (ThreadSpans::new(1, "main".into(), 0), AtomicBool::new(false));
    let clock = std::sync::atomic::AtomicU64::new(1);
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let number = |name| spans.names().number(name, 0, || unreachable!());
            let (outer, inner) = (number("outer"), number("inner"));
            let first = spans.open(number("all"), tick);
            while !is_over.load(Ordering::SeqCst) {
                let place = spans.open(outer, tick);
                let in_it = spans.open(inner, tick);
                spans.close(in_it, tick());
                spans.close(place, tick());
            }
            spans.close(first, tick());
        });
        let mut copies = 0;
        let check = |rows: Vec<Row>| {
            let of =
                |name: &str| rows.iter().find(|row| row.name == name).map_or((0, 0, 0), |r| (r.calls, r.own, r.total));
            let (all, outer, inner) = (of("all"), of("outer"), of("inner"));
            assert_eq!(all.1 + outer.1 + inner.1, all.2, "{rows:?}");
            assert_eq!(outer.1 + inner.1, outer.2, "{rows:?}");
            assert!(outer.0 == inner.0 || outer.0 == inner.0 + 1, "{rows:?}");
        };
        while copies < 2_000 {
            spans.ask();
            if let Some(rows) = spans.try_copy(tick()).or_else(|| spans.take_answer()) {
                check(rows);
                copies += 1;
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
}
