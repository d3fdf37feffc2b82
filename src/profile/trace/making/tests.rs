//! Traces of made-up events, to the nanosecond.

use super::*;
use crate::record::{Rings, Store};
use std::sync::Arc;

const CLOCK: u64 = u64::MAX;
const OUTSIDE: u64 = u64::MAX - 1;

fn member(path: &str, parent: Option<u64>, number: u64, life: Range<u64>) -> Member {
    let labels = ["jobs", "results"].map(|name| WaitLabel { kind: "queue", name: Some(name.into()) });
    Member::test(path, parent, number, life, labels.to_vec())
}

fn sleep(begin: u64, ended: u64, runs_again: u64, by: u64, serial: u16) -> Event {
    Event::Sleep(SleepEvent { begin, ended, runs_again, by, name: serial % 2, serial, stack: 0 })
}

/// `main` is number 1 in the tree, 11 as an OS thread; a and b are 2, 12 and 3, 13.
fn family() -> BTreeMap<u64, Member> {
    BTreeMap::from([
        (1, member("main", None, 11, 0..u64::MAX)),
        (2, member("main/a", Some(1), 12, 120..180)),
        (3, member("main/b", Some(1), 13, 130..u64::MAX)),
    ])
}

fn trace_of(members: BTreeMap<u64, Member>, events: &[(u64, Event)]) -> Trace {
    let store = Arc::<Store>::default();
    for (thread, event) in events {
        let rings = Rings::new(*thread, store.clone());
        rings.write(*event);
        rings.drain();
    }
    trace(100..200, members, &store.contents(), false)
}

fn waits(trace: &Trace, thread: usize) -> Vec<(u64, u64, u64, TracedEnder)> {
    let wait = |wait: &TracedWait| (wait.begin, wait.ended, wait.runs_again, wait.ender.clone());
    trace.threads[thread].waits.iter().map(wait).collect()
}

#[test]
fn each_wait_has_what_ended_it() {
    let events = [
        (1, sleep(110, 120, 121, OUTSIDE, 0)),
        (1, sleep(130, 140, 145, 12, 1)),
        (3, sleep(150, 155, 156, CLOCK, 0)),
        (3, sleep(160, 165, 166, 11, 1)),
        (3, sleep(170, 175, 175, 99_999, 2)),
        (3, sleep(180, 190, 191, 0, 3)),
    ];
    let trace = trace_of(family(), &events);
    let paths: Vec<&str> = trace.threads.iter().map(|thread| &*thread.path).collect();
    assert_eq!((paths, trace.begin, trace.end), (vec!["main", "main/a", "main/b"], 100, 200));
    let expected = [(110, 120, 121, TracedEnder::Outside), (130, 140, 145, TracedEnder::Thread(1))];
    assert_eq!(waits(&trace, 0), expected);
    let expected = [
        (150, 155, 156, TracedEnder::Clock),
        (160, 165, 166, TracedEnder::Thread(0)),
        (170, 175, 175, TracedEnder::Named("[ended thread]".into())),
        (180, 190, 191, TracedEnder::Unknown),
    ];
    assert_eq!(waits(&trace, 2), expected);
    assert_eq!(&*trace.threads[2].waits[1].what.name, "results");
    let (a, b) = (&trace.threads[1], &trace.threads[2]);
    assert_eq!((a.born_by, a.begin, a.end, a.is_alive), (Some(0), 120, 180, false));
    assert_eq!((b.begin, b.end, b.is_alive), (130, 200, true));
    assert_eq!((trace.threads[0].begin, trace.threads[0].born_by), (100, None));
}

#[test]
fn a_vain_wake_up_belongs_to_what_ended_the_wait() {
    let events = [
        (3, sleep(140, 150, 150, 0, 4)),
        // Within it, for example in a target of a signal, another wait.
        (3, sleep(151, 152, 153, CLOCK, 5)),
        (3, sleep(155, 160, 161, 11, 4)),
        // Woken by a thread, in vain: that thread kept it until then.
        (3, sleep(162, 165, 166, 12, 6)),
        (3, sleep(167, 170, 171, 11, 6)),
    ];
    let (main, a) = (TracedEnder::Thread(0), TracedEnder::Thread(1));
    let trace = trace_of(family(), &events);
    let found: Vec<_> = trace.threads[2].waits.iter().map(|wait| (wait.ender.clone(), wait.over)).collect();
    assert_eq!(found, [(main.clone(), 160), (TracedEnder::Clock, 152), (main.clone(), 160), (a, 165), (main, 170)]);
}

/// The wait goes on at the end of the recording; and then the thread that ended it was another thread
/// of the tree before.
#[test]
fn what_ended_a_wait_is_what_it_was_when_the_wait_was_over() {
    let mut members = family();
    members.insert(4, member("main/first", Some(1), 14, 100..130));
    members.insert(5, member("main/second", Some(1), 14, 140..160));
    let events = [
        (1, sleep(110, 120, 121, 0, 0)),
        (1, sleep(122, 150, 151, 14, 0)),
        (1, sleep(170, 180, 181, 0, 1)),
        (1, sleep(182, 205, 206, 14, 1)),
    ];
    let trace = trace_of(members, &events);
    let found: Vec<_> = trace.threads[0].waits.iter().map(|wait| (wait.ender.clone(), wait.over)).collect();
    let (second, unknown) = (TracedEnder::Thread(4), TracedEnder::Unknown);
    assert_eq!(found, [(second.clone(), 150), (second, 150), (unknown.clone(), 200), (unknown, 200)]);
}

#[test]
fn waits_are_clipped_and_disjoint() {
    let mut members = family();
    // It goes on. And it was in the ring when that was read.
    members.get_mut(&3).unwrap().sleep =
        Some(SleepEvent { begin: 180, ended: 200, runs_again: 200, by: 0, ..SleepEvent::default() });
    let events = [
        (1, sleep(10, 90, 95, CLOCK, 0)),
        (1, sleep(96, 105, 107, CLOCK, 1)),
        (1, sleep(106, 150, 151, 13, 2)),
        (1, sleep(190, 205, 206, 13, 3)),
        (1, sleep(220, 225, 226, 13, 4)),
        (3, sleep(180, 195, 196, 11, 0)),
    ];
    let trace = trace_of(members, &events);
    let expected = [
        (100, 105, 107, TracedEnder::Clock),
        (107, 150, 151, TracedEnder::Thread(2)),
        (190, 200, 200, TracedEnder::Unknown),
    ];
    assert_eq!(waits(&trace, 0), expected);
    assert_eq!(waits(&trace, 2), [(180, 195, 196, TracedEnder::Thread(0))]);
}

#[test]
fn an_os_thread_is_the_thread_that_it_was_then() {
    let mut members = family();
    // Registered twice, one after the other; and a thread that has stamped after its end.
    members.insert(4, member("main/first", Some(1), 14, 100..130));
    members.insert(5, member("main/second", Some(1), 14, 140..160));
    let events = [
        (1, sleep(110, 120, 121, 14, 0)),
        (1, sleep(130, 135, 136, 14, 1)),
        (1, sleep(140, 150, 151, 14, 2)),
        (1, sleep(160, 170, 171, 14, 3)),
    ];
    let trace = trace_of(members, &events);
    let enders: Vec<_> = waits(&trace, 0).into_iter().map(|(.., ender)| ender).collect();
    assert_eq!(enders, [3, 3, 4, 4].map(TracedEnder::Thread));
    assert_eq!((trace.threads[3].end, trace.threads[4].end), (135, 170));
}

#[test]
fn threads_are_in_tree_order_and_the_long_dead_are_left_out() {
    let members = BTreeMap::from([
        (1, member("main", None, 0, 0..u64::MAX)),
        (2, member("main/old", Some(1), 0, 10..50)),
        (3, member("main/parent", Some(1), 0, 20..60)),
        (4, member("main/b", Some(1), 0, 30..u64::MAX)),
        (5, member("main/parent/late", Some(3), 0, 110..u64::MAX)),
        (6, member("main/b/c", Some(4), 0, 120..130)),
        (7, member("orphan", Some(99), 0, 130..150)),
    ]);
    let trace = trace_of(members, &[]);
    let paths: Vec<_> = trace.threads.iter().map(|thread| (&*thread.path, thread.born_by)).collect();
    let expected = [
        ("main", None),
        ("main/parent", None),
        ("main/parent/late", Some(1)),
        ("main/b", None),
        ("main/b/c", Some(3)),
        ("orphan", None),
    ];
    assert_eq!(paths, expected);
}

#[test]
fn log_records_and_samples_are_in_order() {
    let store = Store::default();
    let (second, first) = (store.place("src/b.rs", 7), store.place("src/a.rs", 12));
    let log = |at, level: log::Level, place| Event::Log { at, level: level as u8, place, text: 0 };
    let sample = |at, stack| Event::Sample { at, cpu: 4, stack, ending: 3 };
    let events =
        [log(150, log::Level::Warn, second), log(120, log::Level::Trace, first), log(90, log::Level::Error, 0)];
    store.add(3, events.into_iter().chain([sample(160, 9), sample(155, 1), sample(201, 1), sample(203, 9)]));
    let trace = trace(100..200, family(), &store.contents(), true);
    let b = &trace.threads[2];
    let logs: Vec<_> = b.logs.iter().map(|log| (log.at, log.level, &*log.place)).collect();
    assert_eq!(logs, [(120, log::Level::Trace, "src/a.rs:12"), (150, log::Level::Warn, "src/b.rs:7")]);
    let samples: Vec<_> = b.samples.iter().map(|sample| (sample.at, sample.cpu, sample.stack)).collect();
    let of_end = (200, 4, Some(StackNumber(7)));
    assert_eq!(samples, [(155, 4, Some(StackNumber(7))), (160, 4, Some(StackNumber(39))), of_end]);
    assert!(trace.is_by_wall);
}

#[test]
fn spans_have_their_names_and_are_clipped() {
    let span = |begin, end, name| Event::Span { begin, end, name };
    let events = [span(150, 160, 1), span(110, 170, 0), span(90, 120, 7), span(190, 220, 0), span(201, 202, 0)];
    let trace = trace_of(family(), &events.map(|event| (3, event)));
    let spans: Vec<_> = trace.threads[2].spans.iter().map(|span| (span.begin, span.end, &*span.name)).collect();
    let expected = [(100, 120, "[others]"), (110, 170, "parse"), (150, 160, "check"), (190, 200, "parse")];
    assert_eq!(spans, expected);
}
