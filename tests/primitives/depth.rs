//! Trees and failures may be deeper than a stack: stopping, walking, reading and dropping them
//! works.

use crate::support::{until, within_deadline};
use selvedge::{Builder, JoinHandle, Signal, register, spawn, spawn_fallible};

/// Each joins the next; the last calls `end`.
fn chain(depth: usize, end: fn(&Signal) -> Result<(), &'static str>) -> JoinHandle<()> {
    let link = Builder::new("n").stack_size(256 * 1024);
    match depth {
        0 => link.spawn_fallible(end).unwrap(),
        _ => link.spawn_fallible(move |_| chain(depth - 1, end).join()).unwrap(),
    }
}

#[test]
fn a_small_stack_stops_a_thousand_levels() {
    within_deadline(|| {
        let top = chain(1000, |please_stop| {
            please_stop.wait_for_go();
            Ok(())
        });
        until("the last waits", || {
            let mut thread = top.thread().clone();
            for _ in 0..1000 {
                let Some(child) = thread.children().pop() else { return false };
                thread = child;
            }
            thread.waiting_for().is_some()
        });
        let thread = top.thread().clone();
        let asker = Builder::new("asker").stack_size(128 * 1024);
        asker.spawn(move |_| thread.please_stop().go()).unwrap().join().unwrap();
        top.join().unwrap();
    });
}

#[test]
fn a_failure_of_a_thousand_levels_is_usable() {
    within_deadline(|| {
        let failure = chain(1000, |_| Err("far below")).join().unwrap_err();
        assert_eq!(failure.to_string().matches("far below").count(), 1);
        assert_eq!(failure.to_json().matches("far below").count(), 1);
        drop(failure);
    });
}

/// On a thread whose stack is too small for anything that is recursive by the depth of the tree.
fn on_a_small_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let small = std::thread::Builder::new().stack_size(160 * 1024);
    small.spawn(f).unwrap().join().unwrap()
}

#[test]
fn a_tree_deeper_than_a_stack_is_usable() {
    const DEPTH: usize = 2000;
    within_deadline(|| {
        on_a_small_stack(|| {
            let mut guards: Vec<_> = (0..DEPTH).map(|_| register("x")).collect();
            let leaf = guards.last().unwrap().thread();
            #[cfg(feature = "profiling")]
            {
                let recording = selvedge::profile::start(selvedge::profile::Options::new()).unwrap();
                drop(recording.finish());
            }
            while let Some(guard) = guards.pop() {
                drop(guard);
            }
            drop(leaf);
        });
    });
}

#[test]
fn a_failure_deeper_than_a_stack_is_usable() {
    const DEPTH: usize = 2000;
    within_deadline(|| {
        on_a_small_stack(|| {
            let top = spawn("top", |_| {
                let mut guards: Vec<_> = (0..DEPTH).map(|_| register("x")).collect();
                drop(spawn_fallible("leaf", |_| Err::<(), _>("far below")));
                while let Some(guard) = guards.pop() {
                    drop(guard);
                }
            });
            let failure = top.join().unwrap_err();
            let (mut depth, mut next) = (0, &failure);
            while let [child] = next.children() {
                (depth, next) = (depth + 1, child);
            }
            assert_eq!((depth, next.message()), (DEPTH + 1, "far below"));
            assert_eq!(failure.to_string().matches("far below").count(), 1);
            assert_eq!(failure.to_json().matches("far below").count(), 1);
            drop(failure);
        });
    });
}
