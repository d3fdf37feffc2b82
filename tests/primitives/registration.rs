//! A thread of another library joins the tree while it is registered.

use crate::support::within_deadline;
use parking_lot::Mutex;
use selvedge::{Signal, Thread, register, spawn};
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
