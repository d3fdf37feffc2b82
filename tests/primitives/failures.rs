//! A failure reaches the joiner, or else the parent. It is told once.

use crate::support::{DEADLINE, until, within_deadline};
use selvedge::{Builder, JoinHandle, OnChildFailure, Queue, Signal, Till, scope, spawn, spawn_fallible};
use std::time::{Duration, Instant};

#[test]
fn a_panic_reaches_the_joiner() {
    let number = std::hint::black_box(42);
    let failure = spawn("unlucky", move |_| panic!("it was {number}")).join().unwrap_err();
    assert!(failure.is_panic() && !failure.is_error());
    assert_eq!(failure.thread_path(), "main/unlucky");
    assert_eq!(failure.message(), "it was 42");
    let location = failure.location().unwrap();
    assert!(location.starts_with("tests/primitives/failures.rs:"), "{location}");
    assert!(failure.backtrace().is_some());
    assert_eq!(failure.to_string(), format!("main/unlucky panicked at {location}: it was 42"));
    assert_eq!(*failure.into_panic().downcast::<String>().unwrap(), "it was 42");
}

#[test]
fn an_error_reaches_the_joiner_with_sources() {
    let failure = spawn_fallible("reader", |_| {
        std::fs::read("/there/is/no/such/file")?;
        Ok::<_, std::io::Error>(())
    })
    .join()
    .unwrap_err();
    assert!(failure.is_error());
    assert!(failure.message().contains("No such file"), "{failure}");
    assert!(std::error::Error::source(&failure).is_some());
}

#[test]
fn an_unjoined_failure_joins_the_parents() {
    let parent = spawn("parent", |_| {
        let quick = spawn("quick", |_| panic!("first"));
        quick.thread().stopped().wait_for_go();
        drop(quick);
        drop(spawn_fallible("slow", |please_stop| {
            please_stop.wait_for_go();
            Err::<(), _>("second")
        }));
        "the parent itself is well"
    });
    let thread = parent.thread().clone();
    let failure = parent.join().unwrap_err();
    assert!(thread.child_failed().is_go());
    assert_eq!(failure.message(), "2 threads below it failed");
    let below: Vec<_> = failure.children().iter().map(|child| (child.thread_path(), child.message())).collect();
    assert_eq!(below, [("main/parent/quick", "first"), ("main/parent/slow", "second")]);
    let text = failure.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "main/parent failed: 2 threads below it failed");
    assert!(lines[1].starts_with("├─ main/parent/quick panicked at tests/primitives/failures.rs:"), "{text}");
    assert_eq!(lines[2], "└─ main/parent/slow failed: second");
}

#[test]
fn a_joined_failure_is_not_told_again() {
    let parent = spawn("parent", |_| {
        let child = spawn("child", |_| panic!("told to the joiner"));
        assert!(child.join().is_err());
        "well"
    });
    assert_eq!(parent.join().unwrap(), "well");
}

#[test]
fn a_failure_returned_by_the_parent_stays_single() {
    let parent = spawn_fallible("parent", |_| spawn("child", |_| panic!("only once")).join());
    let failure = parent.join().unwrap_err();
    assert_eq!(failure.children().len(), 1);
    assert_eq!(failure.to_string().matches("only once").count(), 1);
    assert_eq!(failure.children()[0].thread_path(), "main/parent/child");
}

#[test]
fn a_late_joiner_only_refers_to_it() {
    let handles: Queue<JoinHandle<()>> = Queue::unbounded("handles");
    let out = handles.clone();
    let parent = spawn("parent", move |_| {
        out.add(spawn("child", |please_stop| {
            please_stop.wait_for_go();
            panic!("told to the parent");
        }))
        .unwrap();
    });
    assert_eq!(parent.join().unwrap_err().children().len(), 1);
    let late = handles.pop().unwrap().join().unwrap_err();
    assert_eq!(late.to_string(), "main/parent/child failed; main/parent has been told of it");
}

#[test]
fn a_released_failure_goes_no_further() {
    let parent = spawn("parent", |_| {
        spawn("released", |_| panic!("only the log hears this")).release();
        let ended = spawn("ended", |_| panic!("nor this"));
        ended.thread().stopped().wait_for_go();
        ended.release();
    });
    parent.join().unwrap();
}

#[test]
fn a_failure_can_stop_its_siblings() {
    let parent = Builder::new("pool").on_child_failure(OnChildFailure::StopSiblings);
    let parent = parent
        .spawn(|_| {
            let patient = spawn("patient", |please_stop| please_stop.wait_for_go());
            drop(spawn("unlucky", |_| panic!("siblings stop")));
            patient.join().unwrap();
        })
        .unwrap();
    let Ok(result) = parent.join_till(&Till::after(DEADLINE)) else { panic!("the sibling was not stopped") };
    assert_eq!(result.unwrap_err().children()[0].message(), "siblings stop");
}

/// Spawns a thread that fails, and returns its handle when it has stopped.
fn failed_child() -> JoinHandle<()> {
    let unlucky = spawn("unlucky", |_| panic!("siblings stop"));
    assert!(unlucky.thread().stopped().wait_for_go_timeout(DEADLINE));
    unlucky
}

#[test]
fn a_failure_stops_siblings_born_later() {
    for is_dropped in [false, true] {
        let parent = Builder::new("pool").on_child_failure(OnChildFailure::StopSiblings);
        let parent = parent.spawn(move |_| {
            let mut unlucky = Some(failed_child());
            if is_dropped {
                unlucky = None;
            }
            let late = spawn("late", |please_stop| please_stop.wait_for_go());
            let thread = late.thread().clone();
            late.join().unwrap();
            let reason = thread.stop_reason().unwrap();
            assert_eq!(reason.text(), "its sibling main/pool/unlucky failed");
            drop(unlucky);
        });
        let Ok(result) = parent.unwrap().join_till(&Till::after(DEADLINE)) else {
            panic!("the later sibling was not stopped; dropped: {is_dropped}")
        };
        let failure = result.unwrap_err();
        assert_eq!((failure.message(), failure.children().len()), ("1 thread below it failed", 1), "{failure}");
        assert_eq!(failure.children()[0].message(), "siblings stop");
    }
}

#[test]
fn a_failure_told_elsewhere_stops_no_later_sibling() {
    let parent = Builder::new("pool").on_child_failure(OnChildFailure::StopSiblings);
    let parent = parent.spawn(|_| {
        let is_calm = || spawn("calm", |please_stop| !please_stop.is_go()).join().unwrap();
        assert!(failed_child().join().is_err());
        assert!(is_calm(), "the failure was joined");
        failed_child().release();
        assert!(is_calm(), "the failure was given to the log");
    });
    parent.unwrap().join().unwrap();
}

#[test]
fn an_unjoined_scoped_failure_is_the_owners() {
    let parent = spawn("parent", |_| {
        scope(|s| {
            drop(s.spawn("unlucky", |_| panic!("scoped")));
        });
    });
    assert_eq!(parent.join().unwrap_err().children()[0].thread_path(), "main/parent/unlucky");
}

#[test]
fn a_joined_failure_stays_with_its_joiner() {
    let (end, (sender, handles)) = (Signal::new("end"), std::sync::mpsc::channel());
    let ends = end.clone();
    let parent = spawn("parent", move |_| {
        let fails = spawn("fails", |please_stop| {
            please_stop.wait_for_go();
            panic!("out of thread");
        });
        sender.send(fails).unwrap();
        ends.wait_for_go();
    });
    let fails: JoinHandle<()> = handles.recv().unwrap();
    let joiner = spawn("joiner", move |_| fails.join());
    until("the joiner waits", || joiner.thread().waiting_for().is_some_and(|wait| wait.kind() == "thread"));
    end.go();
    parent.join().expect("the failure is the joiner's");
    let failure = joiner.join().unwrap().unwrap_err();
    assert!(failure.is_panic() && failure.message().contains("out of thread"), "{failure}");
}

#[test]
fn an_abandoned_join_leaves_failures_to_the_parent() {
    let parent = spawn("parent", |_| {
        let fails = spawn("fails", |please_stop| {
            please_stop.wait_for_go();
            panic!("out of thread");
        });
        let Err(fails) = fails.join_till(&Till::after(Duration::from_millis(1))) else {
            panic!("it waits to be asked")
        };
        drop(fails);
    });
    let failure = parent.join().unwrap_err();
    assert!(failure.children().iter().any(|child| child.message().contains("out of thread")), "{failure}");
}

#[test]
fn failures_are_told_in_start_order() {
    let parent = spawn("parent", |_| {
        let release = Signal::new("release");
        let waits = release.clone();
        drop(spawn("first", move |_| {
            waits.wait_for_go();
            panic!("late");
        }));
        let second = spawn("second", |_| panic!("early"));
        let thread = second.thread().clone();
        drop::<JoinHandle<()>>(second);
        assert!(thread.stopped().wait_for_go_timeout(DEADLINE));
        release.go();
    });
    let failure = parent.join().unwrap_err();
    let names: Vec<_> = failure.children().iter().map(|child| child.thread_path().to_owned()).collect();
    assert!(names.len() == 2 && names[0].ends_with("/first") && names[1].ends_with("/second"), "{names:?}");
}

#[test]
fn a_late_handle_drop_loses_no_failure() {
    within_deadline(|| {
        let enough = Instant::now() + Duration::from_secs(20);
        for round in 0..3000 {
            // The parent spins: on a busy machine a round takes long.
            if round >= 30 && Instant::now() > enough {
                break;
            }
            let handles: Queue<JoinHandle<()>> = Queue::unbounded("handles");
            let out = handles.clone();
            let parent = spawn("parent", move |please_stop| {
                let child = spawn_fallible("child", |_| Err::<(), _>("lost?"));
                child.thread().stopped().wait_for_go();
                out.add(child).unwrap();
                while !please_stop.is_go() {
                    std::hint::spin_loop();
                }
            });
            let child = handles.pop().unwrap();
            parent.stop();
            for _ in 0..round % 64 {
                std::hint::spin_loop();
            }
            drop(child);
            let failure = parent.join().expect_err("the failure of the child is lost");
            assert_eq!(failure.children().len(), 1);
        }
    });
}

#[test]
fn a_joiner_hears_though_the_parent_ends() {
    within_deadline(|| {
        let parent = spawn("parent", |_| {
            let handles: Queue<JoinHandle<()>> = Queue::unbounded("handles");
            let from = handles.clone();
            let joiner = spawn("joiner", move |_| from.pop().unwrap().join().unwrap_err().to_string());
            let failing = spawn_fallible("failing", |please_stop| {
                please_stop.wait_for_go();
                Err::<(), _>("for the joiner")
            });
            handles.add(failing).unwrap();
            until("it joins", || joiner.thread().waiting_for().is_some_and(|wait| wait.kind() == "thread"));
            joiner
        });
        let joiner = parent.join().unwrap();
        assert_eq!(joiner.join().unwrap(), "main/parent/failing failed: for the joiner");
    });
}

#[derive(Debug, PartialEq)]
struct Refused(u16);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} is refused", self.0)
    }
}

impl std::error::Error for Refused {}

/// However the error came: itself, in a box, or in an `anyhow::Error`, below a context of it.
#[test]
fn a_program_gets_its_own_error_back() {
    use anyhow::Context;
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let failures = [
        spawn_fallible("bare", |_| Err::<(), _>(Refused(80))).join().unwrap_err(),
        spawn_fallible("boxed", |_| Err::<(), Boxed>(Refused(80).into())).join().unwrap_err(),
        spawn_fallible("anyhow", |_| Err::<(), anyhow::Error>(Refused(80).into())).join().unwrap_err(),
        spawn_fallible("context", |_| Err::<(), _>(Refused(80)).context("starting")).join().unwrap_err(),
        selvedge::scope(|s| s.spawn_fallible("scoped", |_| Err::<(), anyhow::Error>(Refused(80).into())).join())
            .unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.downcast_ref::<Refused>(), Some(&Refused(80)), "{failure}");
        assert!(failure.downcast_ref::<std::fmt::Error>().is_none());
        let source = std::error::Error::source(&failure).expect("the error");
        let is_below_context = failure.thread_path().ends_with("context");
        assert!(is_below_context || source.is::<Refused>(), "{failure}");
        let text = failure.to_string();
        assert_eq!(text.matches("port 80 is refused").count(), 1, "{text}");
        let failure = failure.downcast::<std::fmt::Error>().unwrap_err();
        assert_eq!(failure.to_string(), text, "unchanged");
        assert_eq!(failure.downcast::<Refused>().unwrap(), Refused(80));
    }
    let panicked = spawn("panics", |_| std::panic::panic_any(Refused(80))).join().unwrap_err();
    assert!(panicked.downcast_ref::<Refused>().is_none());
    let panicked = panicked.downcast::<Refused>().unwrap_err();
    assert_eq!(*panicked.into_panic().downcast::<Refused>().unwrap(), Refused(80));
}

/// A failure that comes back in an `anyhow::Error` is adopted as it is.
#[test]
fn a_failure_within_anyhow_stays_a_failure() {
    let parent =
        spawn_fallible("parent", |_| -> anyhow::Result<()> { Ok(spawn("child", |_| panic!("deep trouble")).join()?) });
    let failure = parent.join().unwrap_err();
    assert_eq!(failure.children().len(), 1, "{failure}");
    assert!(failure.children()[0].is_panic() && failure.children()[0].location().is_some(), "{failure}");
}

/// The context is what the parent says of it. The child's failure stays a failure, and is told
/// once.
#[test]
fn a_context_above_a_failure_is_kept() {
    use anyhow::Context;
    let deep = || spawn("child", |_| panic!("deep trouble")).join();
    let once = spawn_fallible("parent", move |_| deep().context("while loading tenant 17")).join().unwrap_err();
    let twice = spawn_fallible("parent", move |_| deep().context("tenant 17").with_context(|| "at the start"));
    for (failure, message) in
        [(once, "while loading tenant 17"), (twice.join().unwrap_err(), "at the start: tenant 17")]
    {
        assert!(failure.is_error() && failure.message() == message, "{failure}");
        assert_eq!(failure.children().len(), 1, "{failure}");
        let child = &failure.children()[0];
        assert!(child.is_panic() && child.location().is_some() && child.thread_path().ends_with("/child"), "{failure}");
        let text = failure.to_string();
        assert_eq!((text.matches(message).count(), text.matches("deep trouble").count()), (1, 1), "{text}");
    }
}

/// A thread that was asked to stop has not failed by the stop of its child, whatever context it
/// gives that.
#[test]
fn a_context_above_a_stop_is_no_failure() {
    use anyhow::Context;
    let parent = spawn_fallible("parent", |_| -> anyhow::Result<()> {
        let waits = spawn_fallible("child", |please_stop| {
            please_stop.wait_for_go();
            Err::<(), _>(selvedge::Stopped)
        });
        waits.join().context("while waiting")
    });
    parent.stop();
    let failure = parent.join().unwrap_err();
    assert!(failure.is_stopped() && failure.to_string().contains("while waiting"), "{failure}");
}
