//! Drops of the user's values may panic, and may call the crate: at the end of a thread, under its
//! handle, in a target and in a thread-local.

use crate::support::{OnDrop, in_own_process, within_deadline};
use selvedge::{JoinHandle, Queue, Signal, Thread, Till, register, spawn, spawn_fallible};
use std::cell::RefCell;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn an_error_may_panic_when_dropped() {
    #[derive(Debug)]
    struct Bomb;
    impl std::fmt::Display for Bomb {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a bomb")
        }
    }
    impl std::error::Error for Bomb {}
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    within_deadline(|| {
        spawn("parent", |_| spawn_fallible("released", |_| Err::<(), _>(Bomb)).release()).join().unwrap();
        drop(spawn_fallible("joined", |_| Err::<(), _>(Bomb)).join().unwrap_err());
    });
}

#[test]
fn a_payload_may_panic_when_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }
    let failure = spawn("bomber", |_| std::panic::panic_any(Bomb)).join().unwrap_err();
    assert_eq!(failure.message(), "a payload that is no string");
    drop(failure);

    // A result without a taker is dropped on the thread, and its panic is that thread's failure.
    let parent = spawn("parent", |_| {
        drop(spawn("child", |please_stop| {
            // Not before the handle is gone: the last of the two drops the value.
            please_stop.wait_for_go();
            Bomb
        }));
    });
    assert_eq!(parent.join().unwrap_err().children()[0].message(), "dropped");
}

#[test]
fn an_ended_thread_can_drop_anothers_handle() {
    within_deadline(|| {
        let dropped = Signal::new("dropped");
        let done = dropped.clone();
        let parent = spawn("parent", move |please_stop| {
            let other = spawn("other", |_| ());
            other.thread().stopped().wait_for_go();
            let last = spawn("last", Signal::wait_for_go);
            last.thread().stopped().on_go(move || {
                drop(other);
                done.go();
            });
            let thread = last.thread().clone();
            drop(last);
            thread.stop();
            please_stop.wait_for_go();
        });
        assert!(
            dropped.wait_for_go_timeout(DEADLINE / 2),
            "the target did not come to its end: it joined its own thread"
        );
        parent.stop();
        parent.join().unwrap();
    });
}

#[test]
fn a_thread_local_destructor_may_register() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            drop(register("in-destructor"));
        }
    }
    thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
    within_deadline(|| {
        std::thread::spawn(|| {
            // The last to come is the first to go: ours will be gone when this one is dropped.
            LATE.set(Some(Late));
            Thread::current();
        })
        .join()
        .unwrap();
    });
    let main = spawn("looks", |_| Thread::current().parent().unwrap()).join().unwrap();
    assert!(main.children().iter().all(|child| child.name() != "in-destructor"));
}

#[test]
fn a_targets_captures_may_use_the_current_thread() {
    within_deadline(|| {
        let ran = Arc::new(AtomicBool::new(false));
        let seen = ran.clone();
        let captured = OnDrop(move || {
            Thread::current();
            seen.store(true, Ordering::SeqCst);
        });
        let registered = register("callback");
        registered.thread().please_stop().on_go(move || drop(captured));
        drop(registered);
        assert!(ran.load(Ordering::SeqCst));
    });
}

/// The target never runs, so the last thread that holds the node drops the capture.
#[test]
fn a_targets_captures_may_panic_when_dropped() {
    within_deadline(|| {
        let grandparent = spawn("grandparent", |_| {
            drop(spawn("parent", |_| {
                let child = spawn("child", Signal::wait_for_go);
                let bomb = OnDrop(|| panic!("a capture of a target"));
                child.thread().child_failed().on_go(move || drop(bomb));
            }));
        });
        grandparent.join().unwrap();
    });
}

/// The timer is the process's: without its thread, no target on a Till runs any more.
#[test]
fn a_targets_captures_may_panic_on_the_timer() {
    if in_own_process(module_path!(), "a_targets_captures_may_panic_on_the_timer") {
        return;
    }
    within_deadline(|| {
        let dropped = Signal::new("dropped");
        let drops = dropped.clone();
        let bomb = OnDrop(move || {
            drops.go();
            panic!("a capture of a target");
        });
        let other = Signal::new("other");
        (&Till::after(Duration::from_millis(100)) & &other).on_go(move || drop(bomb));
        drop(other);
        assert!(dropped.wait_for_go_timeout(DEADLINE), "the target is still there");
        let ran = Signal::new("ran");
        let runs = ran.clone();
        Till::after(Duration::from_millis(1)).on_go(move || {
            runs.go();
        });
        assert!(ran.wait_for_go_timeout(DEADLINE / 2), "the timer has no thread any more");
    });
}

#[test]
fn a_caught_panic_keeps_the_first_panics_place() {
    let place = Arc::new(AtomicU32::new(0));
    let told = place.clone();
    let failure = spawn("unlucky", move |_| {
        let _on_the_way = OnDrop(|| drop(catch_unwind(|| panic!("second"))));
        told.store(line!() + 1, Ordering::SeqCst);
        panic!("first");
    })
    .join()
    .unwrap_err();
    let line: u32 = failure.location().unwrap().split(':').nth(1).unwrap().parse().unwrap();
    assert_eq!((failure.message(), line), ("first", place.load(Ordering::SeqCst)));

    // A panic that bypasses the hook has no place; the place of an earlier panic would be wrong.
    let failure = spawn("resumed", |_| {
        let _ = catch_unwind(|| panic!("caught"));
        resume_unwind(Box::new("resumed"));
    });
    let failure = failure.join().unwrap_err();
    assert_eq!((failure.message(), failure.location()), ("resumed", None));
}

#[test]
fn a_failed_threads_value_may_use_its_handle() {
    within_deadline(|| {
        // The value's drop waits for a thread that drops the handle: with the slot's lock held it
        // would wait forever.
        type Value = OnDrop<Box<dyn FnMut() + Send>>;
        let handles: Queue<JoinHandle<Value>> = Queue::unbounded("handles");
        let (from, out) = (handles.clone(), handles);
        let parent = spawn("parent", move |_| {
            let child = spawn("child", move |_| {
                drop(spawn_fallible("failing", |_| Err::<(), _>("so the value is dropped")));
                let from = from.clone();
                let drops: Box<dyn FnMut() + Send> = Box::new(move || {
                    let from = from.clone();
                    std::thread::spawn(move || drop(from.pop())).join().unwrap();
                });
                OnDrop(drops)
            });
            out.add(child).unwrap();
        });
        assert!(parent.join().is_err());
    });
}
