//! A thread that fails is run again as its policy says, as the same thread, with new children; then
//! its failure goes up.

use crate::random::Random;
use crate::support::{DEADLINE, Folder, run, subject};
use selvedge::{Builder, OnChildFailure, Restart, Signal, Thread, spawn, spawn_fallible};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Panics,
    Errs,
    /// It returns, and one of its children has failed.
    ChildFails,
    /// It returns while its children still run.
    Returns,
}

/// What is to come of these outcomes: the number of runs, and whether the last was well.
fn model(outcomes: &[Outcome], intensity: u32) -> (usize, bool) {
    let well = outcomes.iter().position(|outcome| *outcome == Outcome::Returns);
    match well {
        Some(failures) if failures <= intensity as usize => (failures + 1, true),
        _ => (intensity as usize + 1, false),
    }
}

fn one_run(outcome: Outcome, number: usize, below: &Arc<AtomicUsize>, children: u64) -> Result<usize, String> {
    assert_eq!(below.load(SeqCst), 0, "children of the run before are still there");
    for child in 0..children {
        let below = below.clone();
        below.fetch_add(1, SeqCst);
        drop(spawn(format!("child-{child}"), move |please_stop| {
            please_stop.wait_for_go();
            below.fetch_sub(1, SeqCst);
        }));
    }
    match outcome {
        Outcome::Panics => panic!("panic of run {number}"),
        Outcome::Errs => Err(format!("error of run {number}")),
        Outcome::ChildFails => {
            drop(spawn_fallible("failing", move |_| Err::<(), _>(format!("child of run {number}"))));
            Ok(number)
        }
        Outcome::Returns => Ok(number),
    }
}

#[test]
fn any_outcomes_end_as_the_model_says() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut good, mut bad) = (0, 0);
    for case in 0..300 {
        let intensity = random.below(5) as u32;
        let outcomes: Vec<Outcome> = (0..6)
            .map(|_| [Outcome::Panics, Outcome::Errs, Outcome::ChildFails, Outcome::Returns][random.below(4) as usize])
            .collect();
        let children = random.below(3);
        let joined = random.below(2) == 0;
        let expected = model(&outcomes, intensity);
        let policy = Restart::up_to(intensity).within(Duration::from_secs(3600));
        let runs = Arc::new(AtomicUsize::new(0));
        let parent = {
            let (outcomes, runs) = (outcomes.clone(), runs.clone());
            Builder::new(format!("case-{case}")).spawn(move |_| {
                let below = Arc::new(AtomicUsize::new(0));
                let child = Builder::new("worker").restart(policy).spawn_fallible(move |_| {
                    let number = runs.fetch_add(1, SeqCst);
                    one_run(outcomes[number], number, &below, children)
                });
                let child = child.unwrap();
                let thread = child.thread().clone();
                if joined {
                    return (thread, Some(child.join()));
                }
                drop(child);
                thread.stopped().wait_for_go();
                (thread, None)
            })
        };
        let told = parent.unwrap().join();
        let context = format!("{outcomes:?}, up to {intensity}, {children} children, joined: {joined}");
        assert_eq!(runs.load(SeqCst), expected.0, "{context}");
        let (failure, thread) = match told {
            Ok((thread, result)) => {
                assert_eq!(result.is_some(), joined, "{context}");
                let failure = match result {
                    Some(Ok(number)) => {
                        assert_eq!(number, expected.0 - 1, "{context}");
                        None
                    }
                    Some(Err(failure)) => Some(failure),
                    None => None,
                };
                (failure, Some(thread))
            }
            Err(above) => {
                assert!(!joined, "{context}: {above}");
                assert_eq!(above.children().len(), 1, "told once: {context}: {above}");
                // Only its text can be had: a failure is never copied.
                assert!(above.children()[0].thread_path().ends_with("/worker"));
                assert_eq!(above.children()[0].restarts(), expected.0 as u64 - 1, "{context}");
                bad += 1;
                assert!(!expected.1, "{context}");
                continue;
            }
        };
        assert_eq!(failure.is_none(), expected.1, "{context}");
        if let Some(thread) = thread {
            assert_eq!(thread.restarts(), expected.0 as u64 - 1, "{context}");
        }
        match failure {
            None => good += 1,
            Some(failure) => {
                bad += 1;
                let last = expected.0 - 1;
                assert_eq!(failure.restarts(), last as u64, "{context}");
                let (text, what) = match outcomes[last] {
                    Outcome::Panics => (format!("panic of run {last}"), failure.is_panic()),
                    Outcome::Errs => (format!("error of run {last}"), failure.is_error()),
                    _ => (format!("child of run {last}"), failure.children().len() == 1),
                };
                let report = failure.to_string();
                assert!(what && report.contains(&text), "{context}: {report}");
                // The failures of earlier runs were told to the log.
                let tellings = ["panic of run", "error of run", "child of run"];
                assert_eq!(tellings.iter().map(|text| report.matches(text).count()).sum::<usize>(), 1, "{report}");
                if last > 0 {
                    assert!(report.contains(&format!(" after {last} restart")), "{report}");
                }
            }
        }
    }
    assert!(good > 50 && bad > 50, "{good} {bad}");
}

#[test]
fn it_stays_the_same_thread() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let handle = Builder::new("same").restart(Restart::up_to(2)).spawn(move |please_stop| {
        let me = Thread::current();
        let context = log_mdc::get("request", |value| value.map(str::to_owned));
        log_mdc::insert("request", "left over");
        let mut seen = sees.lock().unwrap();
        seen.push((me.id(), me.path().to_owned(), std::thread::current().id(), context));
        assert!(!please_stop.is_go());
        let again = seen.len() < 3;
        drop(seen);
        assert!(!again, "once more");
    });
    let handle = handle.unwrap();
    let thread = handle.thread().clone();
    handle.join().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|run| *run == seen[0]), "{seen:?}");
    assert_eq!((seen[0].0, seen[0].1.as_str(), seen[0].3.as_ref()), (thread.id(), thread.path(), None));
}

#[test]
fn a_stop_ends_the_wait_before_restarts() {
    let policy = Restart::up_to(5).backoff(Duration::from_secs(3600), Duration::from_secs(3600));
    let runs = Arc::new(AtomicUsize::new(0));
    let counts = runs.clone();
    let handle = Builder::new("patient").restart(policy).spawn(move |_| {
        counts.fetch_add(1, SeqCst);
        panic!("in the first run");
    });
    let handle = handle.map(|handle: selvedge::JoinHandle<()>| handle).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while handle.thread().waiting_for().is_none() {
        assert!(Instant::now() < deadline, "it does not wait");
        std::thread::yield_now();
    }
    handle.stop();
    let failure = handle.join_till(&selvedge::Till::after(DEADLINE)).expect("at once").unwrap_err();
    assert!(failure.is_panic() && failure.message() == "in the first run", "{failure}");
    assert_eq!((runs.load(SeqCst), failure.restarts()), (1, 0));
}

#[test]
fn a_failure_after_a_stop_restarts_nothing() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counts = runs.clone();
    let handle = Builder::new("late").restart(Restart::up_to(5)).spawn_fallible(move |please_stop: &Signal| {
        counts.fetch_add(1, SeqCst);
        please_stop.wait_for_go();
        Err::<(), _>("could not end well")
    });
    let handle = handle.unwrap();
    handle.stop();
    assert!(handle.join().unwrap_err().is_error());
    assert_eq!(runs.load(SeqCst), 1);
}

#[test]
fn its_siblings_hear_of_the_last_failure_only() {
    let parent = Builder::new("parent").on_child_failure(OnChildFailure::StopSiblings).spawn(|_| {
        let (again, runs) = (Signal::new("again"), AtomicUsize::new(0));
        let sibling = spawn("sibling", |please_stop| please_stop.wait_for_go());
        let waits = again.clone();
        let failing = Builder::new("failing").restart(Restart::up_to(1)).spawn(move |_| {
            if runs.fetch_add(1, SeqCst) == 1 {
                waits.wait_for_go();
            }
            panic!("each time");
        });
        let failing: selvedge::JoinHandle<()> = failing.unwrap();
        let deadline = Instant::now() + DEADLINE;
        while failing.thread().restarts() == 0 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        let untouched = !sibling.thread().please_stop().is_go() && !Thread::current().child_failed().is_go();
        again.go();
        assert!(sibling.thread().please_stop().wait_for_go_timeout(DEADLINE));
        assert!(failing.join().is_err());
        untouched
    });
    assert!(parent.unwrap().join().unwrap());
}

#[test]
fn a_child_of_an_ending_run_is_asked() {
    // An older child, asked to stop, spawns another below the same parent and waits for that.
    let runs = AtomicUsize::new(0);
    let handle = Builder::new("parent").restart(Restart::up_to(1)).spawn(move |_| {
        let me = Thread::current();
        drop(spawn("older", move |please_stop| {
            please_stop.wait_for_go();
            let born = Builder::new("born").parent(&me).spawn(|please_stop| please_stop.wait_for_go());
            born.unwrap().join().unwrap();
        }));
        assert!(runs.fetch_add(1, SeqCst) > 0, "the first run fails");
        // A child of the second run is not asked before its end.
        let calm = spawn("calm", |please_stop| please_stop.is_go());
        !calm.join().unwrap()
    });
    let result = handle.unwrap().join_till(&selvedge::Till::after(DEADLINE)).expect("it ends");
    assert!(result.unwrap());
}

#[test]
fn a_failure_of_an_earlier_run_stops_no_child() {
    let runs = AtomicUsize::new(0);
    let parent = Builder::new("parent").on_child_failure(OnChildFailure::StopSiblings).restart(Restart::up_to(1));
    let parent = parent.spawn(move |_| {
        if runs.fetch_add(1, SeqCst) == 0 {
            let failing = spawn("failing", |_| panic!("the first run fails"));
            assert!(failing.thread().stopped().wait_for_go_timeout(DEADLINE));
            // This run ends only if the failure stops this child as well.
            spawn("late", |please_stop| please_stop.wait_for_go()).join().unwrap();
            return false;
        }
        spawn("calm", |please_stop| !please_stop.is_go()).join().unwrap()
    });
    let result = parent.unwrap().join_till(&selvedge::Till::after(DEADLINE)).expect("it ends");
    assert!(result.unwrap(), "the child of the second run was asked to stop");
}

#[test]
fn restarts_are_logged_and_the_last_failure_reported() {
    let folder = Folder::new("restarted");
    let ended = run(&mut subject("restarted", &folder.config("")));
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("main/client failed after 2 restarts: refused, attempt 3"), "{}", ended.stderr);
    // Earlier failures are not failures of the program, but records of how it came to this failure.
    assert_eq!(ended.stderr.matches("└─").count(), 1, "{}", ended.stderr);
    let log = folder.read("app.log");
    for (restart, delay, after) in [(1, "1.0ms", ""), (2, "2.0ms", " after 1 restart")] {
        let line = format!(
            "WARN main/client main/client has failed; restart {restart} of at most 2 within 60.0s comes in {delay}: \
             main/client failed{after}: refused, attempt {restart}"
        );
        assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
    }
}

#[test]
fn a_late_destructor_panic_keeps_the_failure() {
    struct Fragile;
    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("what it had captured");
        }
    }
    let fragile = Fragile;
    let mut runs = 0;
    let handle = Builder::new("fragile").restart(Restart::up_to(1)).spawn_fallible(move |_| {
        let _captured = &fragile;
        runs += 1;
        Err::<(), _>(format!("run {runs} found no disk"))
    });
    let failure = handle.unwrap().join().unwrap_err();
    assert!(failure.is_panic() && failure.message() == "what it had captured", "{failure}");
    assert_eq!(failure.restarts(), 1);
    let [last] = failure.children() else { panic!("{failure}") };
    assert!(last.message() == "run 2 found no disk" && last.restarts() == 1, "{failure}");
}
