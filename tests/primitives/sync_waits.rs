//! Every blocking call says what it waits for while it blocks, and `please_stop` ends it.

use crate::support::DEADLINE;
use selvedge::{
    BinarySemaphore, JoinHandle, Lock, Monitor, Progress, Promise, Semaphore, Sequencer, Signal, Thread, Till, spawn,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread says it waits for; then it is stopped, and has to be gone soon.
fn waits(thread: JoinHandle<bool>) -> (&'static str, String) {
    let shown = waits_now(thread.thread());
    thread.stop();
    assert!(thread.join().unwrap(), "the wait for {} was not ended by please_stop", shown.0);
    shown
}

/// What the thread says it waits for, as soon as it does.
fn waits_now(thread: &Thread) -> (&'static str, String) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(wait) = thread.waiting_for() {
            assert!(wait.elapsed() < DEADLINE);
            return (wait.kind(), wait.name().to_owned());
        }
        assert!(Instant::now() < deadline, "it does not say what it waits for");
        std::thread::yield_now();
    }
}

#[test]
fn each_wait_is_published_and_can_stop() {
    let semaphore = Semaphore::new("slots", 0);
    let at = semaphore.clone();
    let thread = spawn("semaphore", move |please_stop| at.acquire_till(please_stop).is_err());
    assert_eq!(waits(thread), ("semaphore", "slots".to_owned()));

    let flag = BinarySemaphore::new("changed");
    let thread = spawn("flag", move |please_stop| !flag.wait_till(please_stop));
    assert_eq!(waits(thread), ("binary semaphore", "changed".to_owned()));

    let progress = Progress::new("rows");
    let thread = spawn("progress", move |please_stop| !progress.wait_for_till(9, please_stop));
    assert_eq!(waits(thread), ("progress", "rows at 9".to_owned()));

    let sequencer = Sequencer::new("frames");
    let (_first, second) = (sequencer.take_ticket(), sequencer.take_ticket());
    let thread = spawn("turn", move |please_stop| second.wait_turn_till(please_stop).is_err());
    assert_eq!(waits(thread), ("turn", "frames #1".to_owned()));

    let promise: Promise<u32> = Promise::new("answer");
    let thread = spawn("promise", move |please_stop| promise.wait_till(please_stop).is_err());
    assert_eq!(waits(thread), ("promise", "answer".to_owned()));

    let lock = Arc::new(Lock::new("ledger", ()));
    let held = lock.clone();
    let _guard = held.lock();
    // A composite, as any other signal.
    let hour = Till::after(Duration::from_secs(3600));
    let thread = spawn("lock", move |please_stop| lock.lock_till(&(&hour | please_stop)).is_err());
    assert_eq!(waits(thread), ("lock", "ledger".to_owned()));

    let monitor = Monitor::new("stock", ());
    let thread = spawn("monitor", move |please_stop| !monitor.enter().wait_till(please_stop));
    assert_eq!(waits(thread), ("change in monitor", "stock".to_owned()));

    let monitor = Arc::new(Monitor::new("stock", ()));
    let held = monitor.clone();
    let _inside = held.enter();
    let thread = spawn("entrance", move |please_stop| monitor.enter_till(please_stop).is_err());
    assert_eq!(waits(thread), ("monitor", "stock".to_owned()));

    let (signal, running, release) = (Signal::new("open"), Signal::new("running"), Signal::new("release"));
    let target = signal.on_go({
        let (running, release) = (running.clone(), release.clone());
        move || {
            running.go();
            release.wait_for_go();
        }
    });
    let opener = spawn("opener", move |_| signal.go());
    running.wait_for_go();
    let canceller = spawn("canceller", move |_| target.cancel());
    let shown = waits_now(canceller.thread());
    release.go();
    assert_eq!(shown.0, "target");
    assert!(!canceller.join().unwrap(), "it ran");
    assert!(opener.join().unwrap());
}

#[test]
fn a_turn_that_is_over_has_no_holder() {
    let sequencer = Sequencer::new("frames");
    let [first, _second, third] = [(); 3].map(|()| sequencer.take_ticket());
    let turn = first.wait_turn();
    let thread = spawn("turn", move |please_stop| third.wait_turn_till(please_stop).is_err());
    assert_eq!(waits_now(thread.thread()).1, "frames #2");
    let holder = || thread.thread().waiting_for().and_then(|wait| wait.holder());
    assert!(holder().is_some());
    drop(turn);
    assert_eq!(holder(), None);
    thread.stop();
    assert!(thread.join().unwrap());
}
