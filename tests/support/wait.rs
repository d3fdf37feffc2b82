//! Waiting for a condition, with a deadline.
#![allow(dead_code, unreachable_pub)] // each test uses a part of it

use selvedge::JoinHandle;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any condition here takes, also on a busy machine. A wait that reaches it has failed.
pub const DEADLINE: Duration = Duration::from_secs(100);

/// Returns once `condition` holds. Panics with `what` at the deadline.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain for {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns once each of the threads sleeps in a blocking call of this kind.
#[track_caller]
pub fn until_waiting<T>(kind: &str, threads: &[JoinHandle<T>]) {
    until(&format!("all wait for a {kind}"), || {
        threads.iter().all(|thread| thread.thread().waiting_for().is_some_and(|wait| wait.kind() == kind))
    });
}

/// Runs `test` on another thread, and panics instead of hanging if it does not end.
#[track_caller]
pub fn within_deadline<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    let tester = thread::spawn(move || drop(send.send(test())));
    match receive.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still not done after {DEADLINE:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(tester.join().unwrap_err()),
    }
}
