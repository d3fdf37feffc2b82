//! Children that come while their parent or their scope ends: asked, bounded, forgotten when they
//! have ended; and the order of `OneByOne` holds for them.

use crate::support::{DEADLINE, until, within_deadline};
use selvedge::{Builder, JoinHandle, OnChildFailure, Signal, StopOrder, Thread, scope, spawn, spawn_fallible};
use std::sync::{Arc, Mutex};

/// How many children an ending thread takes from threads that are not below it.
const MOST: usize = 1000;

/// A thread whose body has ended, and that waits for its child until `release` goes; and what that
/// child does then.
fn ending(release: &Signal, last: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let release = release.clone();
    let (told, child) = std::sync::mpsc::channel();
    let parent = spawn("ending", move |_| {
        let holds = spawn("holds", move |_| {
            release.wait_for_go();
            last();
        });
        told.send(holds.thread().clone()).unwrap();
    });
    let child: Thread = child.recv().unwrap();
    // The parent asks it at its end.
    assert!(child.please_stop().wait_for_go_timeout(DEADLINE));
    parent
}

/// A child of `parent` comes and goes.
fn comes_and_goes(parent: &Thread) -> std::io::Result<()> {
    Builder::new("late").parent(parent).register().map(drop)
}

#[test]
fn an_ending_thread_takes_few_children_from_elsewhere() {
    let (release, below) = (Signal::new("release"), Arc::new(Mutex::new(None)));
    let says = below.clone();
    let parent = ending(&release, move || {
        let parent = Thread::current().parent().unwrap();
        *says.lock().unwrap() = Some(comes_and_goes(&parent).is_ok());
    });
    let thread = parent.thread().clone();
    for number in 0..MOST {
        comes_and_goes(&thread).unwrap_or_else(|error| panic!("child {number}: {error}"));
    }
    let error = comes_and_goes(&thread).unwrap_err().to_string();
    assert!(error.contains("/ending is ending and was given 1000 children meanwhile"), "{error}");
    release.go();
    parent.join().unwrap();
    assert_eq!(*below.lock().unwrap(), Some(true), "a thread below it may spawn as long as it lives");
}

#[test]
fn an_ended_late_child_leaves_the_tree() {
    let release = Signal::new("release");
    let parent = ending(&release, || ());
    let thread = parent.thread().clone();
    let late = |please_stop: &Signal| please_stop.wait_for_go();
    drop(Builder::new("late").parent(&thread).spawn(late).unwrap());
    until("the late child has ended, and is still listed", || thread.children().len() == 1);
    release.go();
    parent.join().unwrap();
}

#[test]
fn a_scope_asks_the_youngest_thread_first() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    scope(|s| {
        for name in ["oldest", "middle", "youngest"] {
            let child = s.spawn(name, Signal::wait_for_go);
            let asked = asked.clone();
            child.thread().please_stop().on_go(move || asked.lock().unwrap().push(name));
        }
    });
    assert_eq!(*asked.lock().unwrap(), ["youngest", "middle", "oldest"]);
}

#[derive(Clone, Default)]
struct Trail(Arc<parking_lot::Mutex<Vec<String>>>);

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
fn a_child_of_an_ending_parent_is_asked() {
    within_deadline(|| {
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
    within_deadline(|| {
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
    within_deadline(|| {
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
    within_deadline(|| {
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
