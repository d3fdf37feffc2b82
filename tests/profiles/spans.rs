//! Spans: each call is counted, on its thread and under its name, with exact times.
#![cfg(feature = "profiling")]

use crate::support::{Folder, program, run, until, within_deadline};
use parking_lot::MutexGuard;
use selvedge::profile::{self, Options, Profile, SpanTotal};
use selvedge::{Signal, Span, context, register, scope, span, spawn};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The calling thread is `main/test` from here on.
fn alone() -> (selvedge::Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (register("test"), guard)
}

fn record(body: impl FnOnce()) -> Profile {
    let recording = profile::start(Options::new()).unwrap();
    body();
    recording.finish()
}

#[track_caller]
fn total<'a>(profile: &'a Profile, path: &str, name: &str) -> &'a SpanTotal {
    let is_it = |total: &&SpanTotal| total.path() == path && total.name() == name;
    profile.spans().iter().find(is_it).unwrap_or_else(|| panic!("{path} {name}: {:#?}", profile.spans()))
}

fn calls(profile: &Profile, name: &str) -> u64 {
    profile.spans().iter().filter(|total| total.name() == name).map(SpanTotal::calls).sum()
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn times_agree_with_a_stopwatch() {
    let _alone = alone();
    let (mut outer, mut inner) = (Duration::ZERO, Duration::ZERO);
    let profile = record(|| {
        for _ in 0..3 {
            let begin = Instant::now();
            let outer_span = span("outer");
            spin(Duration::from_millis(5));
            let begin_inner = Instant::now();
            let inner_span = span("inner");
            std::thread::sleep(Duration::from_millis(20));
            drop(inner_span);
            inner += begin_inner.elapsed();
            drop(outer_span);
            outer += begin.elapsed();
        }
    });
    let (found_outer, found_inner) = (total(&profile, "main/test", "outer"), total(&profile, "main/test", "inner"));
    // The stopwatch is read around the spans: the thread may lose its processor between the two.
    let agree = |found: Duration, watch: Duration| found <= watch.mul_f64(1.001) && found >= Duration::from_millis(60);
    assert!(agree(found_inner.total_time(), inner), "{found_inner:?} {inner:?}");
    assert!(agree(found_outer.total_time(), outer), "{found_outer:?} {outer:?}");
    let nested = found_outer.self_time() + found_inner.total_time();
    let difference = nested.abs_diff(found_outer.total_time());
    // Each sum is rounded to the nanosecond.
    assert!(difference <= Duration::from_nanos(2), "{found_outer:?} {found_inner:?}");
    assert_eq!((found_outer.calls(), found_inner.calls()), (3, 3));
    assert!(found_inner.longest() >= Duration::from_millis(20) && found_inner.longest() <= found_inner.total_time());
    assert_eq!(found_inner.total_per_call().as_nanos(), found_inner.total_time().as_nanos() / 3);
    assert_eq!(found_outer.self_per_call().as_nanos(), found_outer.self_time().as_nanos() / 3);
}

#[test]
fn each_thread_counts_its_own_calls_and_none_is_lost() {
    let _alone = alone();
    const EACH: u64 = 20_000;
    let profile = record(|| {
        scope(|s| {
            for n in 0..8 {
                let _ = s.spawn(format!("worker-{n}"), move |_| {
                    for _ in 0..EACH * (n + 1) {
                        let _work = span("work");
                    }
                });
            }
        });
        // Also a thread that is not in the tree.
        let other = std::thread::Builder::new().name("stranger".into()).spawn(|| drop(span("work"))).unwrap();
        other.join().unwrap();
    });
    for n in 0..8 {
        assert_eq!(total(&profile, &format!("main/test/worker-{n}"), "work").calls(), EACH * (n + 1));
    }
    assert_eq!(total(&profile, "other/stranger", "work").calls(), 1);
}

/// A snapshot with the spans of all threads, and `done` before and after it. A thread without a
/// processor does not reply in time.
fn whole_snapshot(recording: &profile::Recording, done: &AtomicU64) -> (u64, Profile, u64) {
    let begin = Instant::now();
    loop {
        let before = done.load(Ordering::SeqCst);
        let snapshot = recording.snapshot();
        let after = done.load(Ordering::SeqCst);
        let mut table = Vec::new();
        snapshot.write_spans(&mut table).unwrap();
        if !String::from_utf8(table).unwrap().contains("could not be read in time") {
            return (before, snapshot, after);
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "each snapshot lacked the spans of a thread");
    }
}

#[test]
fn a_snapshot_has_each_span_of_a_busy_thread_once() {
    let _alone = alone();
    let (done, open) = (AtomicU64::new(0), Signal::new("open"));
    let is_over = AtomicBool::new(false);
    let recording = profile::start(Options::new()).unwrap();
    scope(|s| {
        let busy = s.spawn("busy", |please_stop| {
            let _all = span("all");
            open.go();
            // It is asked to stop if a check below fails.
            while !is_over.load(Ordering::SeqCst) && !please_stop.is_go() {
                let _outer = span("step");
                let _inner = span("part");
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        open.wait_for_go();
        crate::support::until("the first step is done", || done.load(Ordering::SeqCst) > 0);
        for _ in 0..5 {
            let (before, snapshot, after) = whole_snapshot(&recording, &done);
            let of = |name| total(&snapshot, "main/test/busy", name);
            let calls = of("step").calls();
            assert!((before.saturating_sub(1)..=after + 1).contains(&calls), "{before} {calls} {after}");
            assert_eq!(of("all").calls(), 1);
            let parts = of("all").self_time() + of("step").self_time() + of("part").self_time();
            let difference = parts.abs_diff(of("all").total_time());
            assert!(difference < Duration::from_nanos(10), "{difference:?} {:#?}", snapshot.spans());
        }
        is_over.store(true, Ordering::SeqCst);
        busy.join().unwrap();
    });
    let profile = recording.finish();
    assert_eq!(calls(&profile, "part"), done.load(Ordering::SeqCst));
}

#[test]
fn spans_open_at_the_end_are_counted_up_to_then_and_later_not() {
    let _alone = alone();
    let before = span("before");
    let recording = profile::start(Options::new()).unwrap();
    let open = span("open");
    std::thread::sleep(Duration::from_millis(20));
    let profile = recording.finish();
    let found = total(&profile, "main/test", "open");
    assert_eq!(found.calls(), 1);
    assert!(found.total_time() >= Duration::from_millis(20), "{found:?}");
    assert_eq!(calls(&profile, "before"), 0);
    // The guards outlive the recording, and the next one does not see them.
    let next = record(|| {
        let _new = span("new");
        drop((before, open));
    });
    assert_eq!((calls(&next, "new"), calls(&next, "open"), calls(&next, "before")), (1, 0, 0));
}

#[test]
fn a_panic_closes_its_spans() {
    let _alone = alone();
    let mut unwound = Duration::ZERO;
    let profile = record(|| {
        let _outer = span("outer");
        let begin = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _inner = span("inner");
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        unwound = begin.elapsed();
        assert!(outcome.is_err());
        spin(Duration::from_millis(10));
    });
    // Left open, it would have the 10 ms after it as well.
    let inner = total(&profile, "main/test", "inner").total_time();
    assert!(inner <= unwound.mul_f64(1.001), "{inner:?} of {unwound:?}: {:#?}", profile.spans());
    assert!(total(&profile, "main/test", "outer").self_time() >= Duration::from_millis(10));
}

#[test]
fn leaked_guards_end_with_their_thread() {
    let _alone = alone();
    let mut lived = Duration::ZERO;
    let profile = record(|| {
        let begin = Instant::now();
        let leaking = spawn("leaking", |_| {
            std::mem::forget(span("leaked"));
            spin(Duration::from_millis(5));
        });
        leaking.join().unwrap();
        // With its thread-locals.
        until("the thread has ended", || selvedge::dump().to_string().find("leaking").is_none());
        lived = begin.elapsed();
        spin(Duration::from_millis(10));
    });
    let leaked = total(&profile, "main/test/leaking", "leaked");
    assert_eq!(leaked.calls(), 1);
    assert!(leaked.total_time() >= Duration::from_millis(5), "{leaked:?}");
    // Left open, it would have the 10 ms after it as well.
    assert!(leaked.total_time() <= lived.mul_f64(1.001), "{leaked:?} of {lived:?}");
}

#[test]
fn spans_in_the_destructors_of_thread_locals_are_counted_or_told() {
    let _alone = alone();
    struct Late(&'static str);
    impl Drop for Late {
        fn drop(&mut self) {
            let _span = span(self.0);
        }
    }
    thread_local! {
        static FIRST: RefCell<Option<Late>> = const { RefCell::new(None) };
        static KEPT: RefCell<Option<Span>> = const { RefCell::new(None) };
        static LAST: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    let profile = record(|| {
        // Destructors run in the reverse order of the first uses, or in that order.
        let ending = std::thread::spawn(|| {
            FIRST.with(|late| *late.borrow_mut() = Some(Late("late")));
            KEPT.with(|kept| *kept.borrow_mut() = Some(span("kept")));
            LAST.with(|late| *late.borrow_mut() = Some(Late("late")));
        });
        ending.join().unwrap();
    });
    assert_eq!(calls(&profile, "kept"), 1);
    let mut table = Vec::new();
    profile.write_spans(&mut table).unwrap();
    let table = String::from_utf8(table).unwrap();
    let told = table.lines().find(|line| line.contains("the thread had ended"));
    let told = told.map_or(0, |line| line.split(' ').next().unwrap().parse().unwrap());
    assert_eq!(calls(&profile, "late") + told, 2, "{table}");
}

#[test]
fn a_span_belongs_to_the_path_at_which_it_was_opened() {
    let _alone = alone();
    let profile = record(|| {
        let _outer = span("step");
        let _named = register("loader");
        let _inner = span("step");
        let _more = span("step");
    });
    assert_eq!(total(&profile, "main/test", "step").calls(), 1);
    assert_eq!(total(&profile, "main/test/loader", "step").calls(), 2);
}

#[test]
fn threads_that_come_and_go_keep_their_counts() {
    let _alone = alone();
    let profile = record(|| {
        for _ in 0..40 {
            scope(|s| {
                for n in 0..25 {
                    let _ = s.spawn(format!("job-{n}"), |_| drop((span("a"), span("b"))));
                }
            });
        }
    });
    assert_eq!((calls(&profile, "a"), calls(&profile, "b")), (1_000, 1_000));
    let mut table = Vec::new();
    profile.write_spans(&mut table).unwrap();
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("main/test/job-*"), "{table}");
    assert!(table.lines().count() < 10, "{table}");
}

/// The allocator is called under locks of the spans: when a thread uses a new name, for example.
#[test]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn an_allocator_may_open_spans_while_waits_are_counted() {
    let _alone = alone();
    within_deadline(|| {
        // So that it has a slot.
        let _here = register("allocating");
        let recording = profile::start(Options::new().waits(true)).unwrap();
        drop((span("first"), span("allocate")));
        let names: Vec<&str> = (0..300).map(|n| &*format!("step-{n}").leak()).collect();
        crate::handler::OPENS_SPANS.set(true);
        names.into_iter().for_each(|name| drop(span(name)));
        // A wait that is published allocates under the lock of the thread's slot.
        for n in 0..300 {
            let name: &str = format!("signal-{n}").leak();
            assert!(!Signal::new(name).wait_for_go_timeout(Duration::from_micros(20)));
            let _context = context("step", n.to_string());
        }
        let rows = recording.snapshot().spans().len();
        crate::handler::OPENS_SPANS.set(false);
        assert!(rows > 100, "{rows}");
        let profile = recording.finish();
        let allocate = profile.spans().iter().find(|total| total.name() == "allocate").unwrap();
        assert!(allocate.calls() > 1, "{allocate:?}");
    });
}

#[test]
fn without_a_recording_nothing_is_counted() {
    let _alone = alone();
    drop(span("unseen"));
    let profile = record(|| ());
    assert!(profile.spans().is_empty());
}

#[test]
fn the_end_of_a_run_prints_the_table() {
    // Cargo may have to build it first.
    program("spanning");
    within_deadline(|| {
        let folder = Folder::new("spans-table");
        let config = folder.config("profile: { enabled: true, output: ., formats: [folded] }");
        let ended = run(Command::new(program("spanning")).arg(&config));
        assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
        let log = folder.read("app.log");
        let line = log.lines().find(|line| line.ends_with("  parse")).unwrap_or_else(|| panic!("{log}"));
        assert_eq!(line.split_whitespace().next(), Some("30"), "{log}");
        let threads =
            log.lines().filter(|line| line.contains("    main/parser-") && line.trim().starts_with("10 ")).count();
        assert_eq!(threads, 3, "{log}");
    });
}

/// Without settings of the log. Where the files are is not told: nothing went wrong.
#[test]
fn the_console_shows_the_tables_that_were_asked_for() {
    // Cargo may have to build it first.
    program("spanning");
    within_deadline(|| {
        let folder = Folder::new("accounts-console");
        for accounts in [true, false] {
            let profile = format!("profile: {{ enabled: true, output: ., formats: [folded], accounts: {accounts} }}\n");
            let config = folder.write("selvedge.yaml", &profile);
            let ended = run(Command::new(program("spanning")).arg(&config).env_remove("RUST_LOG"));
            assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
            for table in ["what the run had to wait for", "kept others waiting", "where the time of each thread went"] {
                assert_eq!(ended.stderr.contains(table), accounts, "{}", ended.stderr);
            }
            assert!(!ended.stderr.contains("written to"), "{}", ended.stderr);
        }
    });
}

/// The spans of that name in the timeline, each as begin and end in milliseconds.
fn spans_of_timeline(profile: &Profile, name: &str) -> Vec<(f64, f64)> {
    let mut file = Vec::new();
    profile.write_timeline(&mut file).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let strings = file["shared"]["stringArray"].as_array().unwrap();
    let mut found = Vec::new();
    for thread in file["threads"].as_array().unwrap() {
        let markers = &thread["markers"];
        for index in 0..markers["name"].as_array().unwrap().len() {
            if strings[markers["name"][index].as_u64().unwrap() as usize] == name {
                found
                    .push((markers["startTime"][index].as_f64().unwrap(), markers["endTime"][index].as_f64().unwrap()));
            }
        }
    }
    found
}

#[test]
fn the_timeline_has_each_span_with_its_begin_and_end() {
    let _alone = alone();
    let recording = profile::start(Options::new().waits(true)).unwrap();
    let mut times = Vec::new();
    for ms in [3, 1, 2] {
        let begin = Instant::now();
        let step = span("step");
        // More open spans than a thread has frames for in the beginning.
        let inner: Vec<Span> = (0..40).map(|_| span("inner")).collect();
        spin(Duration::from_millis(ms));
        drop(inner);
        drop(step);
        times.push(begin.elapsed());
    }
    let profile = recording.finish();
    let steps = spans_of_timeline(&profile, "step");
    assert_eq!(steps.len(), times.len(), "{steps:?}");
    for (index, ((begin, end), time)) in steps.iter().zip(&times).enumerate() {
        let took = end - begin;
        assert!(took <= time.as_secs_f64() * 1e3 + 0.001 && took >= [3.0, 1.0, 2.0][index], "{steps:?} {times:?}");
    }
    assert!(steps.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{steps:?}");
    assert_eq!(spans_of_timeline(&profile, "inner").len(), 3 * 40);
}
