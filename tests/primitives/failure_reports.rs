//! A failure tells all that was known when it happened: where its thread came from, in which
//! context, and what became of those below it.

use crate::support::DEADLINE;
use selvedge::{Builder, Failure, JoinHandle, Restart, Signal, spawn, spawn_fallible};

/// A service whose worker's helper panics: `main/service/worker/helper` in the end of a chain of
/// spawns.
fn nested() -> (Failure, [u32; 3]) {
    let service_line = line!() + 1;
    let service = spawn("service", |_| {
        let worker_line = line!() + 1;
        let worker = spawn("worker", |_| {
            log_mdc::insert("request", "17");
            log_mdc::insert("user", "ann");
            let helper_line = line!() + 1;
            let helper = spawn("helper", |_| -> u32 { panic!("the map has no entry\nfor Zürich") });
            helper.join().map(|_| helper_line).map_err(|failure| (failure, helper_line))
        });
        let (failure, helper_line) = worker.join().unwrap().unwrap_err();
        (failure, worker_line, helper_line)
    });
    let (failure, worker_line, helper_line) = service.join().unwrap();
    (failure, [helper_line, worker_line, service_line])
}

#[test]
fn a_report_has_the_spawn_chain_to_main() {
    let (failure, lines) = nested();
    let spawned: Vec<_> =
        failure.spawned().iter().map(|(by, at)| (by.rsplit('/').next().unwrap(), at.file(), at.line())).collect();
    let expected = [("worker", file!(), lines[0]), ("service", file!(), lines[1])];
    assert_eq!(spawned[..2], expected);
    assert_eq!((spawned[2].1, spawned[2].2, spawned.len()), (file!(), lines[2], 3));

    let text = format!("{failure:#}");
    let spawn_lines: Vec<_> = text.lines().filter(|line| line.contains("spawned by ")).collect();
    assert_eq!(spawn_lines.len(), 3, "{text}");
    assert!(spawn_lines[0].contains("/service/worker at tests/primitives/failure_reports.rs:"), "{text}");
    assert!(!failure.to_string().contains("spawned by"), "the short form is a line for each thread");
}

#[test]
fn a_report_has_the_inherited_diagnostic_context() {
    let (failure, _) = nested();
    let mut context = failure.context().to_vec();
    context.sort();
    assert_eq!(context, [("request".to_owned(), "17".to_owned()), ("user".to_owned(), "ann".to_owned())]);
    assert!(format!("{failure:#}").contains("context: "));

    // A guard takes its value away while the panic unwinds; the hook has seen it before.
    let guarded = spawn("guarded", |_| {
        let _guard = log_mdc::insert_scoped("phase", "two");
        panic!("within the guard");
    });
    assert_eq!(guarded.join().unwrap_err().context(), [("phase".to_owned(), "two".to_owned())]);
}

#[test]
fn a_report_lists_children_and_their_ends() {
    let parent = spawn_fallible("parent", |_| {
        drop(spawn("patient", |please_stop| please_stop.wait_for_go()));
        drop(spawn("failing", |please_stop| {
            please_stop.wait_for_go();
            panic!("on the way out");
        }));
        Err::<(), _>("no disk")
    });
    let failure = parent.join().unwrap_err();
    let [survivor] = failure.survivors() else { panic!("{:?}", failure.survivors()) };
    assert!(survivor.contains("/parent/patient stopped ") && survivor.ends_with(" after it was asked"), "{survivor}");
    let [child] = failure.children() else { panic!("{failure}") };
    assert!(child.thread_path().ends_with("/parent/failing"));
    assert!(failure.stop_reason().is_none(), "it failed by itself");
    assert!(child.stop_reason().unwrap().text().ends_with("/parent failed"), "{child:#}");
    assert!(format!("{child:#}").contains("asked to stop: its parent main/"), "{child:#}");
    assert!(format!("{failure:#}").contains("below it, and well:"));
}

#[test]
fn a_report_lists_the_last_runs_children() {
    let runs = Builder::new("restarted").restart(Restart::up_to(1)).spawn_fallible(|_| {
        drop(spawn("patient", |please_stop| please_stop.wait_for_go()));
        Err::<(), _>("no disk")
    });
    let failure = runs.unwrap().join().unwrap_err();
    let [survivor] = failure.survivors() else { panic!("{:?}", failure.survivors()) };
    assert!(survivor.contains("/restarted/patient stopped "), "{survivor}");
}

#[test]
fn few_of_many_survivors_are_listed() {
    let parent = spawn_fallible("crowded", |_| {
        for number in 0..30 {
            drop(spawn(format!("child-{number}"), |please_stop| please_stop.wait_for_go()));
        }
        Err::<(), _>("enough")
    });
    let failure = parent.join().unwrap_err();
    assert_eq!(failure.survivors().len(), 21);
    assert_eq!(failure.survivors()[20], "and 10 more");
}

#[test]
fn json_says_the_same() {
    let parent = spawn("parent", |_| {
        drop(spawn_fallible("erring", |_| Err::<(), _>("quote \" and\nnewline")));
        panic!("first");
    });
    let failure = parent.join().unwrap_err();
    let json: serde_json::Value = serde_json::from_str(&failure.to_json()).unwrap();
    assert_eq!(json["kind"], "panic");
    assert_eq!(json["thread"], failure.thread_path());
    assert_eq!(json["message"], "first");
    assert!(json["location"].as_str().unwrap().starts_with("tests/primitives/failure_reports.rs:"));
    assert!(json["backtrace"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("json_says")));
    assert!(json["spawned"][0]["at"].as_str().unwrap().starts_with("tests/primitives/failure_reports.rs:"));
    let child = &json["children"][0];
    assert_eq!((child["kind"].as_str(), child["message"].as_str()), (Some("error"), Some("quote \" and\nnewline")));
    assert_eq!(child["location"], serde_json::Value::Null);
}

#[test]
fn a_returned_failure_keeps_its_own_context() {
    let line = line!() + 2;
    let outer = spawn_fallible("outer", move |_| {
        let inner = spawn("inner", |_| panic!("deep"));
        inner.join()
    });
    let failure = outer.join().unwrap_err();
    assert!(failure.spawned().is_empty(), "the outer thread itself was well");
    assert_eq!(failure.children()[0].spawned()[0].1.line(), line);
}

#[test]
fn a_nonstring_payload_has_place_and_backtrace() {
    let failure = spawn("odd", |_| std::panic::panic_any(42u8)).join().unwrap_err();
    assert!(failure.location().unwrap().starts_with("tests/primitives/failure_reports.rs:"));
    assert!(!failure.spawned().is_empty() && failure.backtrace().is_some());
    assert!(failure.message().contains("no string"), "{failure}");
    assert_eq!(*failure.into_panic().downcast::<u8>().unwrap(), 42);
}

#[test]
fn an_error_report_has_sources_and_spawn_place() {
    let signal = Signal::new("up");
    let going = signal.clone();
    let line = line!() + 1;
    let built = Builder::new("built").spawn_fallible(move |_| {
        going.go();
        Err::<(), _>(std::io::Error::other("disk on fire"))
    });
    assert!(signal.wait_for_go_timeout(DEADLINE));
    let failure = built.unwrap().join().unwrap_err();
    assert_eq!(failure.spawned()[0].1.line(), line);
    assert!(failure.is_error() && failure.backtrace().is_none());
}

/// Panics on a thread that is not in the tree; the payload.
fn caught_elsewhere(f: fn()) -> Box<dyn std::any::Any + Send> {
    std::thread::spawn(move || std::panic::catch_unwind(f).unwrap_err()).join().unwrap()
}

#[test]
fn a_panic_resumed_elsewhere_keeps_its_place() {
    fn formatted() {
        panic!("job {} is broken", std::hint::black_box(7));
    }
    fn literal() {
        panic!("a job is broken");
    }
    for job in [formatted, literal] {
        // As a pool does, whose thread is not in the tree.
        let failure = spawn("pool", move |_| std::panic::resume_unwind(caught_elsewhere(job))).join().unwrap_err();
        assert!(failure.is_panic(), "{failure}");
        let place = failure.location().unwrap_or_else(|| panic!("{failure}"));
        assert!(
            place.starts_with("tests/primitives/failure_reports.rs:") && failure.backtrace().is_some(),
            "{failure}"
        );
    }
    for payload in [|| panic!("deep {}", 1), || panic!("deep"), || std::panic::panic_any(42u8)] {
        let outer = spawn("outer", move |_| {
            let inner: JoinHandle<()> = spawn("inner", move |_| payload());
            std::panic::resume_unwind(inner.join().unwrap_err().into_panic())
        });
        let failure = outer.join().unwrap_err();
        assert!(
            failure.location().is_some_and(|at| at.starts_with("tests/primitives/failure_reports.rs:")),
            "{failure}"
        );
    }
}

#[test]
fn a_failure_as_payload_is_adopted_whole() {
    let raise: [fn(Failure); 2] = [|failure| failure.resume(), |failure| std::panic::resume_unwind(Box::new(failure))];
    for raise in raise {
        let outer = spawn("outer", move |_| {
            let inner: JoinHandle<()> = spawn("inner", |_| panic!("deep trouble"));
            raise(inner.join().unwrap_err());
        });
        let failure = outer.join().unwrap_err();
        let [inner] = failure.children() else { panic!("{failure}") };
        assert!(inner.is_panic() && inner.thread_path().ends_with("/outer/inner"), "{failure}");
        assert!(inner.location().is_some() && !inner.spawned().is_empty(), "{failure:#}");
    }
}
