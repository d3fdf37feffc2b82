//! Children that come while their parent or their scope ends: asked, bounded, forgotten when they
//! have ended.

use crate::support::until;
use selvedge::{Builder, JoinHandle, Signal, Thread, scope, spawn};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

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
