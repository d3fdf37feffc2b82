//! A thread of another library joins the tree while it is registered.

use crate::support::within_deadline;
use parking_lot::Mutex;
use selvedge::{Signal, Thread, register, register_once, spawn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[test]
fn a_registered_thread_is_in_the_tree() {
    std::thread::Builder::new()
        .name("pool-1".into())
        .spawn(|| {
            assert_eq!(Thread::current().path(), "other/pool-1");
            assert_eq!(spawn("child", |_| Thread::current().path().to_owned()).join().unwrap(), "main/child");
            let registered = register("callback");
            let thread = registered.thread();
            assert_eq!(Thread::current().path(), "main/callback");
            let child = spawn("child", |please_stop| please_stop.wait_for_go());
            let child_thread = child.thread().clone();
            assert_eq!(child_thread.path(), "main/callback/child");
            drop(child);
            drop(registered);
            assert!(child_thread.stopped().is_go() && thread.stopped().is_go());
            assert_eq!(Thread::current().path(), "other/pool-1");
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    within_deadline(|| {
        let outer = register("outer");
        let inner = register("inner");
        let (outer_thread, inner_thread) = (outer.thread(), inner.thread());
        drop(outer);
        assert!(outer_thread.is_alive() && Thread::current() == inner_thread);
        drop(inner);
        assert!(!outer_thread.is_alive() && !inner_thread.is_alive());
        assert!(Thread::current().path().starts_with("other/"));
    });
}

#[test]
fn a_panicking_registered_thread_stops_its_children() {
    within_deadline(|| {
        let seen = Arc::new(Mutex::new(None));
        let child_seen = seen.clone();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _registered = register("callback");
            let child = spawn("child", Signal::wait_for_go);
            *child_seen.lock() = Some(child.thread().clone());
            panic!("in the callback");
        }));
        assert!(panicked.is_err());
        assert!(!seen.lock().as_ref().unwrap().is_alive());
    });
}

#[test]
fn a_thread_registers_once_and_until_it_ends() {
    within_deadline(|| {
        let (thread, child) = std::thread::spawn(|| {
            register_once("pool");
            let thread = Thread::current();
            for _ in 0..1000 {
                register_once("other-name");
            }
            assert_eq!((thread.path(), &Thread::current()), ("main/pool", &thread));
            let child = spawn("child", Signal::wait_for_go);
            let child_thread = child.thread().clone();
            drop(child);
            // A guard within is a child of it, and the thread is what it was after that.
            drop(register("job"));
            assert_eq!(Thread::current(), thread);
            (thread, child_thread)
        })
        .join()
        .unwrap();
        // The thread does not wait for its children, its parent does.
        child.stopped().wait_for_go();
        thread.stopped().wait_for_go();
        assert_eq!(child.path(), "main/pool/child");
    });
}

#[test]
fn a_thread_of_the_tree_need_not_register() {
    within_deadline(|| {
        let path = spawn("worker", |_| {
            register_once("again");
            Thread::current().path().to_owned()
        });
        assert!(path.join().unwrap().ends_with("/worker"));
        let registered = register("guarded");
        register_once("again");
        assert_eq!(Thread::current(), registered.thread());
        drop(registered);
        register_once("again");
        assert!(Thread::current().path().ends_with("/again"));
    });
}

/// A destructor of a thread-local that runs after that of the registration, or before it.
#[test]
fn registering_once_in_destructors_is_harmless() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            register_once("late");
            assert!(spawn("from-a-destructor", |_| 7).join().unwrap() == 7);
        }
    }
    thread_local! {
        static FIRST: Late = const { Late };
        static LAST: Late = const { Late };
    }
    within_deadline(|| {
        let thread = std::thread::spawn(|| {
            FIRST.with(|_| ());
            register_once("pool");
            LAST.with(|_| ());
            Thread::current()
        });
        thread.join().unwrap().stopped().wait_for_go();
    });
}
