//! What the timer knows, and what it does while its lock is held.

use super::remove;
use super::state::{LINGER, TIMER};
use crate::signal::core::{Core, Kind};
use crate::signal::{Signal, Till};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Returns `true` if the timer is to fire that Till.
pub(in crate::signal) fn knows(at: Instant, core: *const Core) -> bool {
    TIMER.state.lock().due.contains_key(&(at, core as usize))
}

/// Holds up all changes of the timer while it lives.
pub(in crate::signal) fn hold() -> impl Sized {
    TIMER.state.lock()
}

/// The system gives no thread for the timer.
static NO_THREADS: AtomicBool = AtomicBool::new(false);

pub(super) fn may_start() -> std::io::Result<()> {
    if NO_THREADS.load(Ordering::SeqCst) { Err(std::io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

/// In a process of its own, since its timer has no thread for a while.
#[test]
fn a_timer_without_a_thread_tries_again() {
    if crate::own_process::passes(module_path!(), "a_timer_without_a_thread_tries_again", &[]) {
        return;
    }
    NO_THREADS.store(true, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(100);
    let ran = loop {
        let ran = Signal::new("ran");
        let goes = ran.clone();
        Till::after(Duration::from_millis(50)).on_go(move || {
            goes.go();
        });
        // Its time had come before it was attached: this thread has run it.
        if !ran.is_go() {
            break ran;
        }
        assert!(Instant::now() < deadline, "each Till is late");
    };
    assert!(!ran.wait_for_go_timeout(Duration::from_millis(200)), "there is no thread that could run it");
    NO_THREADS.store(false, Ordering::SeqCst);
    while !ran.wait_for_go_timeout(Duration::from_millis(100)) {
        assert!(Instant::now() < deadline, "no thread runs it");
    }
}

/// In a process of its own, since its timer must have nothing else to do.
#[test]
fn an_ending_leader_sees_a_late_entry() {
    if crate::own_process::passes(module_path!(), "an_ending_leader_sees_a_late_entry", &[]) {
        return;
    }
    let (late, ran) = (Till::after(Duration::from_secs(3600)), Signal::new("ran"));
    let goes = ran.clone();
    late.on_go(move || {
        goes.go();
    });
    let Kind::Till(at) = late.0.kind else { unreachable!("its time can be expressed") };
    remove(at, Arc::as_ptr(&late.0));
    let deadline = Instant::now() + Duration::from_secs(100);
    // The leader comes to its wait for work. That wait ends while the lock is held, and the entry
    // comes before the leader looks.
    let mut state = loop {
        let first = Signal::new("first");
        let goes = first.clone();
        Till::after(Duration::from_millis(1)).on_go(move || {
            goes.go();
        });
        first.wait_for_go();
        std::thread::sleep(LINGER / 4);
        let state = TIMER.state.lock();
        if state.leader.is_some() && state.is_idle() {
            break state;
        }
        // On a busy machine the leader may have ended by now.
        assert!(Instant::now() < deadline, "no leader waits for work");
    };
    std::thread::sleep(LINGER);
    state.due.insert((Instant::now(), Arc::as_ptr(&late.0) as usize), Arc::downgrade(&late.0));
    drop(state);
    assert!(ran.wait_for_go_timeout(Duration::from_secs(100)), "the leader has ended, and the entry is left");
}
