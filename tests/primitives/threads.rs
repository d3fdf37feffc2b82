//! Threads have a parent, a name and a `please_stop`, and their parent outlives them.

use crate::support::{DEADLINE, OnDrop, until, within_deadline};
use parking_lot::Mutex;
use selvedge::{Builder, Failure, JoinHandle, Queue, Signal, StopOrder, Thread, Till, scope, spawn, spawn_fallible};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A list that threads write their ends into.
#[derive(Clone, Default)]
struct Trail(Arc<Mutex<Vec<String>>>);

impl Trail {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// A child of the calling thread that notes when it is asked and when it ends.
fn noting(name: &str, trail: &Trail) -> JoinHandle<()> {
    let (name, trail) = (name.to_owned(), trail.clone());
    spawn(name.clone(), move |please_stop| {
        let (asked, of) = (trail.clone(), name.clone());
        please_stop.on_go(move || asked.note(format!("{of} asked")));
        please_stop.wait_for_go();
        trail.note(format!("{name} ended"));
    })
}

#[test]
fn names_and_paths_are_those_of_the_tree() {
    let outer = spawn("readers", |_| {
        let inner = spawn("reader-2", |_| {
            let me = Thread::current();
            let os = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
            (me.path().to_owned(), std::thread::current().name().map(str::to_owned), os)
        });
        assert_eq!(inner.thread().parent(), Some(Thread::current()));
        inner.join().unwrap()
    });
    assert_eq!(outer.thread().path(), "main/readers");
    let (path, std_name, os) = outer.join().unwrap();
    assert_eq!(path, "main/readers/reader-2");
    assert_eq!(std_name.as_deref(), Some("main/readers/reader-2"), "{{T}} of a log pattern prints this");
    if cfg!(target_os = "linux") {
        assert_eq!(os.trim(), "reader-2");
    }
}

#[test]
fn names_are_sanitized_for_paths() {
    let odd = spawn("a/b\0c\n\u{202e}", |_| ());
    assert_eq!(odd.thread().path(), "main/a_b_c__");
    odd.join().unwrap();
    let empty = spawn("", |_| ());
    assert_eq!(empty.thread().name(), "unnamed");
    empty.join().unwrap();
}

#[test]
fn a_sleeper_stops_when_it_is_asked() {
    let sleeper = spawn("sleeper", |please_stop| {
        (Till::after(Duration::from_secs(3600)) | please_stop).wait_for_go();
    });
    sleeper.stop();
    within_deadline(|| sleeper.join()).unwrap();
}

#[test]
fn a_parent_stops_and_outlives_its_children() {
    let trail = Trail::default();
    let inside = trail.clone();
    let parent = spawn("parent", move |_| {
        let children: Vec<_> = (1..=3).map(|n| noting(&format!("child-{n}"), &inside)).collect();
        until("three children are up", || Thread::current().children().len() == 3);
        // A child is listed before it runs; it must have attached its note.
        until("all attached", || children.iter().all(|child| child.thread().waiting_for().is_some()));
        drop(children);
        inside.note("body ended");
    });
    let thread = parent.thread().clone();
    parent.join().unwrap();
    trail.note("parent joined");
    assert!(thread.children().is_empty() && thread.stopped().is_go());
    let notes = trail.take();
    assert_eq!(notes.first().unwrap(), "body ended");
    assert_eq!(notes.last().unwrap(), "parent joined");
    let asked: Vec<_> = notes.iter().filter(|note| note.ends_with("asked")).collect();
    assert_eq!(asked, ["child-3 asked", "child-2 asked", "child-1 asked"], "the youngest first");
    assert_eq!(notes.iter().filter(|note| note.starts_with("child") && note.ends_with("ended")).count(), 3);
}

#[test]
fn one_by_one_joins_before_the_next_ask() {
    let trail = Trail::default();
    let inside = trail.clone();
    let parent = Builder::new("careful").stop_order(StopOrder::OneByOne);
    let parent = parent
        .spawn(move |please_stop| {
            let children: Vec<_> = (1..=3).map(|n| noting(&format!("c{n}"), &inside)).collect();
            until("all attached", || children.iter().all(|child| child.thread().waiting_for().is_some()));
            drop(children);
            please_stop.wait_for_go();
        })
        .unwrap();
    until("children are up", || parent.thread().children().iter().filter(|c| c.waiting_for().is_some()).count() == 3);
    // Asking the subtree must not break the order in which it stops.
    parent.stop();
    parent.join().unwrap();
    let notes = trail.take();
    let at = |note: &str| notes.iter().position(|n| n == note).unwrap();
    // A thread may have ended before the note of its being asked is written: the order is that
    // among threads.
    assert!(at("c3 asked").max(at("c3 ended")) < at("c2 asked").min(at("c2 ended")), "{notes:?}");
    assert!(at("c2 asked").max(at("c2 ended")) < at("c1 asked").min(at("c1 ended")), "{notes:?}");
}

#[test]
fn stop_asks_the_whole_subtree() {
    let top = spawn("top", |_| {
        spawn("middle", |_| spawn("bottom", |please_stop| please_stop.wait_for_go()).join().unwrap()).join().unwrap();
    });
    until("the bottom waits", || {
        let middle = top.thread().children();
        let bottom = middle.first().map(Thread::children).unwrap_or_default();
        bottom.first().is_some_and(|bottom| bottom.waiting_for().is_some())
    });
    top.stop();
    top.join().unwrap();
}

/// A join would forward the stop, and the end of a parent asks too: these parents do neither.
#[test]
fn stop_asks_each_thread_while_its_parent_is_busy() {
    let release = Signal::new("release");
    let released = release.clone();
    let top = spawn("top", move |_| {
        let of_child = released.clone();
        let children: Vec<_> = (0..3)
            .map(|n| {
                let released = of_child.clone();
                spawn(format!("child-{n}"), move |_| {
                    let grandchild = spawn("grandchild", |please_stop| please_stop.wait_for_go());
                    released.wait_for_go();
                    grandchild.join().unwrap();
                })
            })
            .collect();
        released.wait_for_go();
        children.into_iter().for_each(|child| child.join().unwrap());
    });
    let below = || -> Vec<Thread> {
        let children = top.thread().children();
        children.iter().flat_map(|child| std::iter::once(child.clone()).chain(child.children())).collect()
    };
    until("all of them wait", || below().iter().filter(|thread| thread.waiting_for().is_some()).count() == 6);
    let all = below();
    top.stop();
    assert!(all.iter().all(|thread| thread.please_stop().is_go()), "each was asked before `stop` returned");
    release.go();
    top.join().unwrap();
}

#[test]
fn a_joining_parent_forwards_its_stop() {
    let parent = spawn("joining", |_| {
        let child = spawn("child", |please_stop| please_stop.wait_for_go());
        child.join().unwrap();
    });
    until("it joins", || parent.thread().waiting_for().is_some_and(|wait| wait.kind() == "thread"));
    parent.thread().please_stop().go();
    let Ok(result) = parent.join_till(&Till::after(DEADLINE)) else { panic!("the child was not asked") };
    result.unwrap();
}

#[test]
fn a_later_join_forwards_an_earlier_stop() {
    let parent = spawn("joining", |_| {
        let wait = |please_stop: &Signal| please_stop.wait_for_go();
        let (first, second) = (spawn("first", wait), spawn("second", wait));
        first.join().unwrap();
        second.join().unwrap();
    });
    until("it joins", || parent.thread().waiting_for().is_some_and(|wait| wait.name().ends_with("/first")));
    // By the signal, which knows nothing of children: what they hear of it is from the joins.
    parent.thread().please_stop().go();
    let Ok(result) = parent.join_till(&Till::after(DEADLINE)) else { panic!("a child was not asked") };
    result.unwrap();
}

#[test]
fn a_late_child_runs_its_body() {
    let parent = spawn("stopped", |please_stop| {
        please_stop.wait_for_go();
        spawn("late", |please_stop| please_stop.is_go()).join().unwrap()
    });
    parent.stop();
    assert!(parent.join().unwrap(), "the body ran, and knew that it is asked to stop");
}

#[test]
fn joined_results_keep_their_order() {
    let handles: Vec<_> = (0..100).map(|n| spawn(format!("n-{n}"), move |_| n)).collect();
    let results: Vec<i32> = within_deadline(|| handles.into_iter().map(|handle| handle.join().unwrap()).collect());
    assert_eq!(results, (0..100).collect::<Vec<_>>());
}

#[test]
fn join_till_gives_the_handle_back() {
    let patient = spawn("patient", |please_stop| please_stop.wait_for_go());
    let Err(patient) = patient.join_till(&Till::after(Duration::from_millis(5))) else {
        panic!("it cannot have ended")
    };
    assert!(patient.thread().is_alive());
    patient.stop();
    let Ok(result) = patient.join_till(&Till::after(DEADLINE)) else { panic!("it was asked") };
    result.unwrap();
}

#[test]
fn scoped_threads_borrow_and_end_with_the_scope() {
    let words = ["warp".to_owned(), "weft".to_owned()];
    let ended = Mutex::new(0);
    let lengths: Vec<usize> = scope(|s| {
        drop(s.spawn("waits", |please_stop| {
            please_stop.wait_for_go();
            *ended.lock() += 1;
        }));
        let handles: Vec<_> = words.iter().map(|word| s.spawn(word, |_| word.len())).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(lengths, [4, 4]);
    assert_eq!(*ended.lock(), 1, "what is not joined is asked to stop and joined");
}

#[test]
fn a_panicking_scope_stops_its_threads() {
    let parent = spawn("parent", |_| {
        scope(|s| {
            drop(s.spawn("waits", |please_stop| please_stop.wait_for_go()));
            panic!("in the scope");
        })
    });
    let failure = parent.join().unwrap_err();
    assert_eq!(failure.message(), "in the scope");
    assert!(failure.location().unwrap().starts_with("tests/primitives/threads.rs"));
}

#[test]
fn the_builder_can_name_another_parent() {
    let parent = spawn("elsewhere", |please_stop| please_stop.wait_for_go());
    let child = Builder::new("child").parent(parent.thread()).spawn(|please_stop| please_stop.wait_for_go()).unwrap();
    assert_eq!(child.thread().path(), "main/elsewhere/child");
    let (ended, child_thread) = (parent.thread().clone(), child.thread().clone());
    parent.stop();
    parent.join().unwrap();
    assert!(child_thread.stopped().is_go());
    let error = Builder::new("late").parent(&ended).spawn(|_| ()).unwrap_err();
    assert!(error.to_string().contains("main/elsewhere has ended"), "{error}");
    drop(child);
}

#[test]
fn a_thread_shows_what_it_waits_for() {
    let queue: Queue<u8> = Queue::bounded("paths", 1);
    let inner = queue.clone();
    let waits = spawn("waits", move |please_stop| inner.pop_till(please_stop).is_err());
    until("it waits", || waits.thread().waiting_for().is_some());
    let wait = waits.thread().waiting_for().unwrap();
    assert_eq!((wait.kind(), wait.name()), ("queue", "paths"));
    waits.stop();
    assert!(waits.join().unwrap());

    let gate = Signal::new("gate");
    let inner = gate.clone();
    let waits = spawn("waits", move |_| inner.wait_for_go());
    until("it waits", || waits.thread().waiting_for().is_some_and(|wait| wait.name() == "gate"));
    gate.go();
    let thread = waits.thread().clone();
    waits.join().unwrap();
    assert!(thread.waiting_for().is_none());
}

/// The CPU time of a thread that waits while another one uses 30 ms.
fn cpu_time_beside_a_busy_thread() -> Duration {
    let burner = spawn("burner", |_| {
        let me = Thread::current();
        while me.cpu_time().unwrap() < Duration::from_millis(30) {
            std::hint::black_box(0);
        }
    });
    let idler = spawn("idler", |please_stop| please_stop.wait_for_go());
    let (burned, idled) = (burner.thread().clone(), idler.thread().clone());
    burner.join().unwrap();
    assert!(burned.cpu_time().unwrap() >= Duration::from_millis(30));
    assert!(burned.age() >= Duration::from_millis(30));
    idler.stop();
    idler.join().unwrap();
    idled.cpu_time().unwrap()
}

#[test]
fn cpu_time_is_the_threads_own() {
    if cfg!(target_os = "linux") {
        // Time that the host takes from a thread is counted as the thread's own. So one good round is enough.
        until("the idle thread uses little", || cpu_time_beside_a_busy_thread() < Duration::from_millis(30));
    }
}

/// In a process of its own, since resident memory belongs to all tests.
#[test]
fn thousands_of_threads_leave_nothing() {
    if crate::support::in_own_process(module_path!(), "thousands_of_threads_leave_nothing") {
        return;
    }
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
    };
    let round = || {
        let handles: Vec<_> = (0..200).map(|_| spawn("short", |_| ())).collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    };
    (0..5).for_each(|_| round());
    // The allocator may take more now and then. What threads leave behind is there each time.
    let four_thousand = || {
        let before = resident();
        (0..20).for_each(|_| round());
        resident().saturating_sub(before)
    };
    let grown: Vec<_> = std::iter::repeat_with(four_thousand).take(5).take_while(|&grown| grown >= 4 << 20).collect();
    assert!(grown.len() < 5, "bytes for 4000 threads each that are gone: {grown:?}");
}

#[test]
fn an_abandoned_join_forwards_no_stop() {
    let (ready, checked) = (Signal::new("ready"), Signal::new("checked"));
    let (says, waits) = (ready.clone(), checked.clone());
    let body = move |please_stop: &Signal| {
        let child = spawn("child", |please_stop| please_stop.wait_for_go());
        let Err(child) = child.join_till(&Till::after(Duration::from_millis(1))) else {
            panic!("it waits to be asked")
        };
        says.go();
        please_stop.wait_for_go();
        // The targets of `please_stop` run after this thread is woken.
        waits.wait_for_go();
        child.thread().please_stop().is_go()
    };
    // Asked itself, such a parent asks its children only when it ends.
    let parent = Builder::new("parent").stop_order(StopOrder::OneByOne).spawn(body).unwrap();
    ready.wait_for_go();
    parent.stop();
    checked.go();
    assert!(!parent.join().unwrap(), "the child was asked by a join that was over");
}

#[test]
fn joining_a_sibling_forwards_no_stop() {
    let sibling = spawn("sibling", |please_stop| please_stop.wait_for_go());
    let thread = sibling.thread().clone();
    let joiner = spawn("joiner", move |_| sibling.join().unwrap());
    until("the joiner waits", || joiner.thread().waiting_for().is_some_and(|wait| wait.kind() == "thread"));
    joiner.stop();
    assert!(joiner.thread().please_stop().is_go() && !thread.please_stop().is_go());
    thread.stop();
    joiner.join().unwrap();
}

#[test]
fn joining_an_ancestor_is_an_error() {
    let (sender, handles) = std::sync::mpsc::channel::<JoinHandle<()>>();
    let above = spawn("above", move |_| {
        let below = spawn_fallible("below", move |_| handles.recv().unwrap().join());
        let failure = below.join().unwrap_err();
        assert!(failure.is_error() && failure.message().contains("cannot join"), "{failure}");
    });
    let thread = above.thread().clone();
    sender.send(above).unwrap();
    assert!(thread.stopped().wait_for_go_timeout(DEADLINE));
}

#[test]
fn a_refused_thread_leaves_no_child() {
    within_deadline(|| {
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
fn joining_oneself_or_a_parent_is_refused() {
    within_deadline(|| {
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
fn a_scope_forgets_joined_threads() {
    within_deadline(|| {
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
