//! What goes wrong at odd moments hangs nothing, and no failure is lost by it.

use crate::support::until;
use parking_lot::Mutex;
use selvedge::{
    Builder, Failure, JoinHandle, OnChildFailure, Queue, Signal, StopOrder, Thread, register, scope, spawn,
    spawn_fallible,
};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

/// The result of `f`, or a failed test if it hangs.
fn within<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || done.send(f()).unwrap());
    match wait.recv_timeout(DEADLINE) {
        Ok(result) => result,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
    }
}

/// Calls it when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[derive(Clone, Default)]
struct Trail(Arc<Mutex<Vec<String>>>);

impl Trail {
    fn note(&self, what: String) {
        self.0.lock().push(what);
    }

    fn spawn(&self, name: &'static str, fails: bool) -> JoinHandle<()> {
        let trail = self.clone();
        let child = spawn_fallible(name, move |please_stop| {
            please_stop.wait_for_go();
            trail.note(format!("{name} ends"));
            if fails { Err(name) } else { Ok(()) }
        });
        let trail = self.clone();
        child.thread().please_stop().on_go(move || trail.note(format!("{name} asked")));
        child
    }

    fn at(&self, note: &str) -> usize {
        let notes = self.0.lock();
        notes.iter().position(|known| known == note).unwrap_or_else(|| panic!("no {note} in {notes:?}"))
    }

    /// `first` was done with before `then` was asked.
    fn in_order(&self, first: &str, then: &str) {
        assert!(self.at(&format!("{first} ends")) < self.at(&format!("{then} asked")), "{:?}", self.0.lock());
    }
}

#[test]
fn a_late_handle_drop_loses_no_failure() {
    within(|| {
        for round in 0..3000 {
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
    within(|| {
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

#[test]
fn a_child_of_an_ending_parent_is_asked() {
    within(|| {
        let parent = spawn("parent", |_| {
            let me = Thread::current();
            drop(spawn("older", move |please_stop| {
                please_stop.wait_for_go();
                Builder::new("late").parent(&me).spawn(Signal::wait_for_go).unwrap().join().unwrap();
            }));
        });
        parent.join().unwrap();
    });
}

#[test]
fn a_thread_of_an_ending_scope_is_asked() {
    within(|| {
        scope(|s| {
            let inner = s.clone();
            drop(s.spawn("older", move |please_stop| {
                please_stop.wait_for_go();
                inner.spawn("late", Signal::wait_for_go).join().unwrap();
            }));
        });
    });
}

#[test]
fn one_by_one_holds_for_late_children() {
    within(|| {
        let trail = Trail::default();
        let inside = trail.clone();
        let parent = Builder::new("careful").stop_order(StopOrder::OneByOne);
        let parent = parent.spawn(move |please_stop| {
            please_stop.wait_for_go();
            drop(inside.spawn("provider", false));
            drop(inside.spawn("user", false));
        });
        let parent = parent.unwrap();
        parent.stop();
        parent.join().unwrap();
        trail.in_order("user", "provider");
    });
}

#[test]
fn one_by_one_holds_with_a_failing_child() {
    within(|| {
        let trail = Trail::default();
        let inside = trail.clone();
        let parent =
            Builder::new("pool").stop_order(StopOrder::OneByOne).on_child_failure(OnChildFailure::StopSiblings);
        let parent = parent.spawn(move |_| {
            for (name, fails) in [("oldest", false), ("middle", false), ("youngest", true)] {
                drop(inside.spawn(name, fails));
            }
        });
        assert_eq!(parent.unwrap().join().unwrap_err().children().len(), 1);
        trail.in_order("youngest", "middle");
        trail.in_order("middle", "oldest");
    });
}

#[test]
fn a_refused_thread_leaves_no_child() {
    within(|| {
        let huge = |name| Builder::new(name).stack_size(1 << 60);
        let parent = spawn("parent", move |_| {
            assert!(huge("huge").spawn(|_| ()).is_err());
            let seen = Arc::new(Mutex::new(None));
            let stopped = seen.clone();
            let me = Thread::current();
            let captured = OnDrop(move || {
                *stopped.lock() = Some(me.children()[0].stopped().clone());
                panic!("dropped");
            });
            catch_unwind(AssertUnwindSafe(|| {
                let _ = huge("loaded").spawn(move |_| drop(captured));
            }))
            .unwrap_err();
            assert!(Thread::current().children().is_empty());
            assert!(seen.lock().as_ref().unwrap().is_go(), "another thread may wait for it");
        });
        parent.join().unwrap();
    });
}

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
    within(|| {
        spawn("parent", |_| spawn_fallible("released", |_| Err::<(), _>(Bomb)).release()).join().unwrap();
        drop(spawn_fallible("joined", |_| Err::<(), _>(Bomb)).join().unwrap_err());
    });
}

#[test]
fn joining_oneself_or_a_parent_is_refused() {
    within(|| {
        // A handle that its own thread has, or one below it.
        fn handed_in(name: &str, body: impl FnOnce(Queue<JoinHandle<String>>) -> String + Send + 'static) -> String {
            let handles: Queue<JoinHandle<String>> = Queue::unbounded("handles");
            let (from, (out, text)) = (handles.clone(), std::sync::mpsc::channel());
            let thread = spawn(name, move |_| {
                out.send(body(from)).unwrap();
                String::new()
            });
            handles.add(thread).unwrap();
            text.recv_timeout(DEADLINE).unwrap()
        }
        fn refusal(refused: Result<String, Failure>) -> String {
            let failure = refused.unwrap_err();
            assert!(failure.is_error() && !failure.is_panic());
            failure.to_string()
        }
        fn joined(handles: Queue<JoinHandle<String>>) -> String {
            refusal(handles.pop().unwrap().join())
        }
        fn joined_till(handles: Queue<JoinHandle<String>>) -> String {
            refusal(handles.pop().unwrap().join_till(&Signal::never()).unwrap())
        }
        fn joined_for(handles: Queue<JoinHandle<String>>) -> String {
            refusal(handles.pop().unwrap().join_timeout(DEADLINE).unwrap())
        }
        for join in [joined, joined_till, joined_for] {
            let refused = handed_in("own", join);
            assert_eq!(refused, "main/own failed: cannot join main/own, which ends after it");
            let refused = handed_in("parent", move |handles| spawn("child", move |_| join(handles)).join().unwrap());
            assert_eq!(refused, "main/parent/child failed: cannot join main/parent, which ends after it");
        }
    });
}

#[test]
fn an_ended_thread_can_drop_anothers_handle() {
    within(|| {
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
fn guards_may_be_dropped_in_any_order() {
    within(|| {
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
    within(|| {
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
fn a_thread_local_destructor_may_register() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            drop(register("in-destructor"));
        }
    }
    thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
    within(|| {
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
    within(|| {
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
    within(|| {
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
    within(|| {
        let failure = chain(1000, |_| Err("far below")).join().unwrap_err();
        assert_eq!(failure.to_string().matches("far below").count(), 1);
        assert_eq!(failure.to_json().matches("far below").count(), 1);
        drop(failure);
    });
}

#[test]
fn a_scope_forgets_those_that_were_joined() {
    within(|| {
        let token = Arc::new(());
        scope(|s| {
            for _ in 0..500 {
                let held = token.clone();
                let child = s.spawn("short", |_| ());
                child.thread().please_stop().on_go(move || drop(held));
                child.join().unwrap();
            }
            let kept = Arc::strong_count(&token) - 1;
            assert!(kept < 50, "{kept} nodes of threads that are gone");
        });
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
    within(|| {
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
    within(|| {
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

#[test]
fn a_failed_threads_value_may_use_its_handle() {
    within(|| {
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
