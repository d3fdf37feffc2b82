//! What can only be seen from inside: that the tree forgets, and that backtraces are trimmed.

use super::policy::{Role, SpawnSettings};
use super::tree::Node;
use super::*;
use crate::queue::Queue;
use crate::signal::Signal;
use crate::sync::{Lock, Monitor, Sequencer};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const DEADLINE: Duration = Duration::from_secs(100);

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn ended_threads_without_a_handle_leave_the_tree() {
    let parent = Builder::new("forgetful").spawn(|please_stop| please_stop.wait_for_go()).unwrap();
    for _ in 0..50 {
        drop(Builder::new("short").parent(parent.thread()).spawn(|_| ()).unwrap());
    }
    until("ended children are still listed", || parent.thread().children().is_empty());
    let kept = Builder::new("kept").parent(parent.thread()).spawn(|_| 7).unwrap();
    assert!(kept.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(parent.thread().children().len(), 1, "a child whose handle is held can still be joined");
    assert_eq!(kept.join().unwrap(), 7);
    assert!(parent.thread().children().is_empty());
    parent.stop();
    parent.join().unwrap();
}

#[test]
fn a_late_child_of_an_ending_parent_stops() {
    let (placed, release) = (Arc::new(crate::model::Mutex::new(None::<Thread>)), Signal::new("release"));
    let (keeps, released) = (placed.clone(), release.clone());
    let parent = spawn("parent", move |_| {
        let parent = Thread::current();
        // It is stopped after the user's threads, and so after the first search for them.
        let places = move |please_stop: &Signal| {
            please_stop.wait_for_go();
            let late = move |please_stop: &Signal| {
                please_stop.wait_for_go();
                released.wait_for_go();
            };
            let late = Builder::new("late").parent(&parent).spawn(late).unwrap();
            *keeps.lock() = Some(late.thread().clone());
        };
        drop(Builder::new("places").runtime().spawn(places).unwrap());
    });
    until("the late child was not asked", || placed.lock().as_ref().is_some_and(|late| late.please_stop().is_go()));
    let ended = parent.thread().stopped().wait_for_go_timeout(Duration::from_millis(100));
    assert!(!ended, "the parent did not wait for the child that came last");
    release.go();
    parent.join().unwrap();
    assert!(placed.lock().as_ref().unwrap().stopped().is_go());
}

#[test]
fn many_joins_attach_one_target() {
    let parent = spawn("parent", |please_stop| {
        let mut child = spawn("child", |please_stop| please_stop.wait_for_go());
        let gone = Signal::new("gone");
        gone.go();
        for _ in 0..50 {
            child = child.join_till(&gone).expect_err("it waits to be asked");
        }
        please_stop.target_count()
    });
    assert_eq!(parent.join().unwrap(), 1);
}

#[test]
fn a_failure_stops_siblings_but_no_runtime_thread() {
    let (sender, siblings) = std::sync::mpsc::channel();
    let body = move |please_stop: &Signal| {
        let own = Builder::new("own").runtime().spawn(|please_stop| please_stop.wait_for_go()).unwrap();
        let sibling = spawn("sibling", |please_stop| please_stop.wait_for_go());
        drop(spawn_fallible("fails", |_| Err::<(), _>("no bread")));
        let stopped = sibling.thread().stopped().wait_for_go_timeout(DEADLINE);
        sender.send((stopped, own.thread().please_stop().is_go(), please_stop.is_go())).unwrap();
    };
    let parent = Builder::new("parent").on_child_failure(OnChildFailure::StopSiblings).spawn(body).unwrap();
    assert_eq!(siblings.recv().unwrap(), (true, false, false));
    parent.join().unwrap_err();
}

#[test]
fn a_stop_asks_no_thread_of_the_runtime() {
    let (seen, release) = (Arc::new(std::sync::OnceLock::new()), Signal::new("release"));
    let (says, released) = (seen.clone(), release.clone());
    let body = move |_: &Signal| {
        let child = spawn("child", |please_stop| please_stop.wait_for_go());
        let own = Builder::new("own").runtime().spawn(|please_stop| please_stop.wait_for_go()).unwrap();
        says.set((child.thread().clone(), own.thread().clone())).unwrap();
        released.wait_for_go();
    };
    let parent = spawn("parent", body);
    until("its children are not there", || seen.get().is_some());
    parent.stop();
    let (child, own) = seen.get().unwrap();
    assert!(child.please_stop().is_go() && !own.please_stop().is_go());
    release.go();
    parent.join().unwrap();
    assert!(own.stopped().is_go(), "its end stops all");
}

/// Step by step what happens when a join is given up just as the thread has failed and its parent
/// has ended.
#[test]
fn a_failure_given_up_late_goes_further_up() {
    let node = |parent: &Arc<Node>, name| Node::child(parent, name, SpawnSettings::of(Role::User)).unwrap().0;
    let above = node(&roots::root(), "above");
    let ended = node(&above, "ended");
    let parent = node(&ended, "parent");
    let child = node(&parent, "child");
    child.joining(true);
    assert!(child.close());
    child.finish(Some(Failure::error(&child, "no bread".into())));
    // The parent's end: the failure is the joiner's.
    child.collect();
    assert!(parent.close() && parent.take_failures().is_empty());
    parent.finish(None);
    parent.handle_dropped(false);
    assert!(ended.close());
    ended.finish(None);
    ended.handle_dropped(false);
    child.joining(false);
    child.handle_dropped(false);
    let failures = above.take_failures();
    assert_eq!(failures.kept.iter().map(Failure::message).collect::<Vec<_>>(), ["no bread"]);
    assert!(above.close());
    above.finish(None);
    above.handle_dropped(false);
}

#[test]
fn a_restarted_thread_forgets_its_children() {
    let (left, runs) = (Signal::new("left"), std::sync::atomic::AtomicUsize::new(0));
    let goes = left.clone();
    let body = move |please_stop: &Signal| {
        if runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            // With a child that it has to stop: it collects, and then is to do so no more.
            drop(spawn("stopped", |please_stop| please_stop.wait_for_go()));
            return Err("once more");
        }
        drop(spawn("short", |_| ()));
        until("an ended child is still listed", || Thread::current().children().is_empty());
        goes.go();
        please_stop.wait_for_go();
        Ok(())
    };
    let restart = Restart::up_to(1).backoff(Duration::ZERO, Duration::ZERO);
    let restarted = Builder::new("restarted").restart(restart).spawn_fallible(body).unwrap();
    assert!(left.wait_for_go_timeout(DEADLINE));
    restarted.stop();
    restarted.join().unwrap();
}

#[test]
fn an_unregistered_thread_leaves_nothing_behind() {
    let node = std::thread::spawn(|| Arc::downgrade(Thread::current().node())).join().unwrap();
    assert!(node.upgrade().is_none());
    // It asks when its thread-locals go, too.
    struct Asks(std::cell::RefCell<Option<std::sync::mpsc::Sender<std::sync::Weak<tree::Node>>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let node = Arc::downgrade(Thread::current().node());
            self.0.take().unwrap().send(node).unwrap();
        }
    }
    thread_local! {
        static EARLY: Asks = const { Asks(std::cell::RefCell::new(None)) };
    }
    for in_tree_before in [false, true] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let ask = move || {
            EARLY.with(|early| early.0.replace(Some(sender)));
            if in_tree_before {
                // Its own destructor is then registered later, and so runs before the other's.
                Thread::current();
            }
        };
        std::thread::spawn(ask).join().unwrap();
        assert!(receiver.recv().unwrap().upgrade().is_none(), "{in_tree_before}");
    }
}

#[test]
fn reports_colour_text_and_show_control_characters() {
    let failure = spawn("painter", |_| panic!("red \x1b[31m and\tblack\u{7}")).join().unwrap_err();
    let plain = failure.report(false).to_string();
    assert!(plain.contains("red \\u{1b}[31m and\tblack\\u{7}"), "{plain}");
    assert!(!plain.contains('\x1b'), "{plain}");
    let coloured = failure.report(true).to_string();
    assert!(coloured.starts_with("\x1b[1m") && coloured.contains("\x1b[31m panicked at "), "{coloured}");
    let mut stripped = coloured;
    for code in ["\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"] {
        stripped = stripped.replace(code, "");
    }
    assert_eq!(stripped, plain, "colours change nothing else");
}

#[test]
fn a_backtrace_is_trimmed_to_the_own_frames() {
    #[inline(never)]
    fn unlucky() {
        panic!("on purpose");
    }
    let failure = spawn("tracer", |_| unlucky()).join().unwrap_err();
    let lines = backtrace::own_frames(failure.backtrace().unwrap());
    assert!(lines[0].contains("unlucky"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("panicking") || line.contains("short_backtrace")), "{lines:#?}");
    assert!(lines.len() <= 6, "{lines:#?}");
}

/// Searches while `busy` runs, which can see how often; returns that, and what was found.
fn search_during(busy: impl FnOnce(&AtomicUsize)) -> (usize, Vec<deadlock::Finding>) {
    let done = Signal::new("done");
    let (ends, searches) = (done.clone(), AtomicUsize::new(0));
    std::thread::scope(|s| {
        let count = &searches;
        let searcher = s.spawn(move || {
            let mut found = Vec::new();
            while !ends.is_go() {
                count.fetch_add(1, Relaxed);
                found.extend(deadlock::search(Duration::ZERO));
            }
            found
        });
        busy(count);
        done.go();
        let found = searcher.join().unwrap();
        (count.load(Relaxed), found)
    })
}

#[test]
fn heavy_traffic_is_never_called_a_deadlock() {
    const THREADS: usize = 6;
    let locks: Arc<Vec<Lock<u64>>> = Arc::new((0..3).map(|n| Lock::new(format!("storm-{n}"), 0)).collect());
    let monitor = Arc::new(Monitor::new("storm", 0));
    let frames = Sequencer::new("storm");
    let (searches, found) = search_during(|searches| {
        let parent = Builder::new("storm").spawn(|please_stop| please_stop.wait_for_go()).unwrap();
        let workers: Vec<_> = (0..THREADS)
            .map(|me| {
                let (locks, monitor, frames) = (locks.clone(), monitor.clone(), frames.clone());
                let worker = move |please_stop: &Signal| {
                    let mut round = me;
                    while !please_stop.is_go() {
                        round += 1;
                        // Each order of two locks, one after the other: what is read of them at
                        // different times makes circles.
                        let (first, second) = (&locks[round % 3], &locks[(round + 1) % 3]);
                        *first.lock() += 1;
                        *second.lock() += 1;
                        // Both at once, always in the same order.
                        let mut low = locks[0].lock();
                        let mut high = locks[1 + round % 2].lock();
                        (*low, *high) = (*low + 1, *high + 1);
                        std::thread::yield_now();
                        drop((high, low));
                        *monitor.enter() += 1;
                        let turn = frames.take_ticket().wait_turn();
                        *locks[2].lock() += 1;
                        drop(turn);
                        let mut guard = locks[0].lock();
                        *guard += scope(|s| s.spawn("helper", |_| round as u64).join().unwrap());
                    }
                };
                Builder::new(format!("worker-{me}")).parent(parent.thread()).spawn(worker).unwrap()
            })
            .collect();
        let begin = Instant::now();
        // Others' tests run beside it: what counts is how often it was looked.
        let is_enough = || searches.load(Relaxed) > 100 && begin.elapsed() > Duration::from_secs(1);
        while !is_enough() && begin.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(10));
        }
        workers.iter().for_each(JoinHandle::stop);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        parent.stop();
        parent.join().unwrap();
    });
    assert!(searches > 100, "{searches}");
    // Other tests may leave what they like in the same tree.
    let found: Vec<_> =
        found.into_iter().filter(|one| one.members.iter().any(|one| one.thread.path().contains("storm"))).collect();
    assert!(found.is_empty(), "{} of {searches}: {}", found.len(), found[0]);
}

#[test]
fn a_probable_deadlock_is_found_after_its_time() {
    let (there, back) = (Queue::bounded("there", 1).may_be_left(), Queue::bounded("back", 1).may_be_left());
    let (release, fill) = (Signal::new("release"), Signal::new("fill"));
    let (released, may_fill) = (release.clone(), fill.clone());
    let waits_for =
        |handle: &JoinHandle<()>, kind: &str| handle.thread().waiting_for().filter(|wait| wait.kind() == kind);
    // Its wait is older than those of the circle by a fifth of a second, so a search for waits as
    // long as its own goes on.
    let old = spawn("old", move |_| released.wait_for_go());
    until("it has not waited", || {
        waits_for(&old, "signal").is_some_and(|wait| wait.elapsed() > Duration::from_millis(200))
    });
    let workers = [("ada", &back, &there), ("bob", &there, &back)].map(|(name, from, to)| {
        let (from, to, may_fill) = (from.clone(), to.clone(), may_fill.clone());
        spawn(name, move |_| {
            from.pop();
            may_fill.wait_for_go();
            to.add(1).and_then(|()| to.add(2)).unwrap();
        })
    });
    // Now each is known to take from a queue. Then each fills the other's, and takes nothing more.
    until("they do not wait", || workers.iter().all(|worker| waits_for(worker, "queue").is_some()));
    there.add(0).unwrap();
    back.add(0).unwrap();
    until("a value is not taken", || workers.iter().all(|worker| waits_for(worker, "signal").is_some()));
    fill.go();
    until("there is room", || workers.iter().all(|worker| waits_for(worker, "room in queue").is_some()));
    let circles = |long| {
        let mut found = deadlock::search(long);
        found.retain(|one| one.members.iter().any(|one| one.wait.name() == "there"));
        found
    };
    until("no search was quick enough", || {
        let long = waits_for(&old, "signal").unwrap().elapsed();
        let found = circles(long);
        let is_young = workers.iter().all(|worker| waits_for(worker, "room in queue").unwrap().elapsed() < long);
        assert!(!is_young || found.is_empty(), "{}", found[0]);
        is_young
    });
    // A search leaves out a thread that it cannot read in a moment.
    until("it is not found", || {
        circles(Duration::ZERO).iter().any(|one| one.doubt.is_some() && one.members.len() == 2)
    });
    there.pop();
    back.pop();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    release.go();
    old.join().unwrap();
}

#[test]
fn a_thread_locals_destructor_can_wait_for_a_sibling() {
    struct Waits(std::cell::RefCell<Option<(Thread, Signal, std::sync::mpsc::Sender<bool>)>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let Some((sibling, leaving, told)) = self.0.take() else { return };
            leaving.go();
            told.send(sibling.stopped().wait_for_go_timeout(DEADLINE)).unwrap();
        }
    }
    thread_local! {
        static WAITS: Waits = const { Waits(std::cell::RefCell::new(None)) };
    }
    let (told, has_stopped) = std::sync::mpsc::channel();
    let parent = spawn("parent", move |_| {
        let (leaving, dropped) = (Signal::new("leaving"), Signal::new("dropped"));
        let (left, drops) = (leaving.clone(), dropped.clone());
        let sibling = spawn("sibling", move |_| left.wait_for_go());
        let waited_for = sibling.thread().clone();
        drop(sibling);
        let first = spawn("first", move |_| {
            WAITS.with(|waits| waits.0.replace(Some((waited_for, leaving, told))));
            drops.wait_for_go();
        });
        drop(first);
        dropped.go();
        until("its children have not ended", || Thread::current().children().is_empty());
    });
    assert!(has_stopped.recv().unwrap(), "the sibling has joined the thread that waits for it");
    parent.join().unwrap();
}

#[test]
fn a_caught_panic_is_no_abort() {
    static ABORTS: AtomicU64 = AtomicU64::new(0);
    panic::set_before_abort(|_| {
        ABORTS.fetch_add(1, Ordering::SeqCst);
    });
    panic::panics_go_to_log(true);
    let catches = spawn("catches", |_| {
        for job in 0..5 {
            let _ = std::panic::catch_unwind(|| panic!("job {job}"));
        }
    });
    catches.join().unwrap();
    panic::panics_go_to_log(false);
    assert_eq!(ABORTS.load(Ordering::SeqCst), 0);
}
