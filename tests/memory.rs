//! Nothing grows: what was waited on, dropped or cancelled ten million times leaves resident memory where it was.
//!
//! Alone in its process, one test after the other, since resident memory belongs to all. `SELVEDGE_ROUNDS` overrides how
//! often (the default is enough to show a leak of a few bytes a round; ten million take minutes).
#![cfg(target_os = "linux")]

use selvedge::{BinarySemaphore, Lock, Monitor, Progress, Promise, Semaphore, Sequencer, Signal, Till};
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("resident pages");
    // SAFETY: has no preconditions.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// A tenth of the rounds to warm up, then all of them: less than 1 MiB may have come.
fn does_not_grow(what: &str, rounds: u64, mut round: impl FnMut(u64)) {
    (0..rounds / 10).for_each(&mut round);
    let before = resident();
    (0..rounds).for_each(&mut round);
    let grown = resident().saturating_sub(before);
    assert!(grown < MIB, "{what}: {grown} bytes more after {rounds} rounds");
}

#[test]
fn nothing_grows() {
    let rounds = std::env::var("SELVEDGE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200_000);
    let please_stop = Signal::new("please_stop");
    let other = Signal::new("other");
    let hour = Duration::from_secs(3600);

    does_not_grow("till | please_stop, waited on", rounds, |_| {
        (Till::after(Duration::ZERO) | &please_stop).wait_for_go();
    });
    // These really block, so there are fewer.
    does_not_grow("till | please_stop, waited on for 1 µs", rounds / 10, |_| {
        (Till::after(Duration::from_micros(1)) | &please_stop).wait_for_go();
    });
    does_not_grow("composites, dropped", rounds, |_| drop((Till::after(hour) | &please_stop) & &other));
    does_not_grow("composites with a receiver, dropped", rounds, |_| {
        let either = Till::after(hour) | &please_stop;
        assert!(either.receiver().try_recv().is_err());
    });
    does_not_grow("on_go, attached and cancelled", rounds, |_| assert!(please_stop.on_go(|| ()).cancel()));
    does_not_grow("on_go of till | please_stop, attached and cancelled", rounds, |_| {
        assert!((Till::after(hour) | &please_stop).on_go(|| ()).cancel());
    });
    does_not_grow("on_go of a till, run", rounds / 10, |_| {
        let (till, ran) = (Till::after(Duration::ZERO), Signal::new("ran"));
        let runs = ran.clone();
        till.on_go(move || {
            runs.go();
        });
        ran.wait_for_go();
    });

    let progress = Progress::new("progress");
    does_not_grow("marks of a progress, given up", rounds, |round| drop(progress.at(1 + round)));
    does_not_grow("waits for progress, given up", rounds / 10, |round| {
        assert!(!progress.wait_for_timeout(1 + round, Duration::from_nanos(1)));
    });
    let sequencer = Sequencer::new("sequencer");
    does_not_grow("tickets, served and dropped", rounds, |_| {
        let (first, second) = (sequencer.take_ticket(), sequencer.take_ticket());
        drop(second);
        drop(first.wait_turn());
    });
    let (lock, monitor) = (Lock::new("lock", 0), Monitor::new("monitor", 0));
    let (semaphore, flag) = (Semaphore::new("semaphore", 0), BinarySemaphore::new("flag"));
    does_not_grow("waits of the other cells, given up", rounds / 10, |_| {
        let soon = Duration::from_nanos(1);
        assert!(!monitor.enter().wait_timeout(soon) && semaphore.acquire_timeout(soon).is_err());
        assert!(!flag.wait_till(&(Till::after(soon) | &please_stop)));
        *lock.lock() += 1;
        let promise: Promise<u64> = Promise::new("promise");
        assert!(promise.wait_till(&Till::after(soon)).is_err());
        drop(promise.claim());
    });
}
