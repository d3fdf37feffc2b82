//! A join with a limit ends at the limit, whatever keeps the thread; the result stays for a later
//! join.

use crate::support::DEADLINE;
use selvedge::{JoinHandle, Signal, Till, spawn};
use std::cell::RefCell;
use std::time::Duration;

/// Its destructor waits until `release` goes.
struct Waits {
    release: Signal,
}

impl Drop for Waits {
    fn drop(&mut self) {
        (&self.release | Till::after(DEADLINE)).wait_for_go();
    }
}

thread_local! {
    static AT_THE_END: RefCell<Option<Waits>> = const { RefCell::new(None) };
}

/// A thread that has returned, and whose thread-local waits for `release`.
fn leaver<T: Send + 'static>(release: &Signal, result: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let release = release.clone();
    let thread = spawn("leaver", move |_| {
        AT_THE_END.set(Some(Waits { release }));
        result()
    });
    assert!(thread.thread().stopped().wait_for_go_timeout(DEADLINE));
    thread
}

#[test]
fn destructors_of_thread_locals_do_not_outlast_limits() {
    let release = Signal::new("release");
    let thread = leaver(&release, || 7);
    let thread = thread.join_timeout(Duration::ZERO).expect_err("a destructor waits");
    let thread = thread.join_timeout(Duration::from_millis(20)).expect_err("a destructor waits");
    let thread = thread.join_till(&Signal::gone()).expect_err("a destructor waits");
    let thread = thread.join_till(&Till::after(Duration::from_millis(20))).expect_err("a destructor waits");
    release.go();
    assert_eq!(thread.join_timeout(DEADLINE).expect("it ends").unwrap(), 7);
}

#[test]
fn a_failure_stays_for_a_later_join() {
    let release = Signal::new("release");
    let thread = leaver::<()>(&release, || panic!("on purpose"));
    let thread = thread.join_till(&Signal::gone()).expect_err("a destructor waits");
    release.go();
    assert_eq!(thread.join().unwrap_err().message(), "on purpose");
}

#[test]
fn a_parent_joins_what_a_limited_join_gave_up() {
    let release = Signal::new("release");
    let (theirs, given_up) = (release.clone(), Signal::new("given up"));
    let gives_up = given_up.clone();
    let parent = spawn("parent", move |_| {
        let thread = leaver(&theirs, || ());
        drop(thread.join_timeout(Duration::ZERO).expect_err("a destructor waits"));
        gives_up.go();
    });
    assert!(given_up.wait_for_go_timeout(DEADLINE));
    assert!(!parent.thread().stopped().is_go(), "a parent outlives its children");
    release.go();
    parent.join_timeout(DEADLINE).expect("it ends").unwrap();
}
