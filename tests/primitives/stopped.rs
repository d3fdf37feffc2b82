//! A thread that was asked to stop, and ends with an error that says so, has not failed.

use crate::support::DEADLINE;
use selvedge::{
    AskError, Builder, GaveUp, OnChildFailure, PopError, Promise, Queue, Restart, Sequencer, Signal, Stopped, Thread,
    Till, mdc, scope, spawn, spawn_actor, spawn_fallible,
};
use std::error::Error;
use std::time::Duration;

type Boxed = Box<dyn Error + Send + Sync>;

fn until_waiting(thread: &Thread) {
    let deadline = Till::after(DEADLINE);
    while thread.waiting_for().is_none() {
        assert!(!deadline.is_go(), "{thread:?} does not wait");
        std::thread::yield_now();
    }
}

fn pop(please_stop: &Signal) -> Result<u32, PopError> {
    Queue::unbounded("never").pop_till(please_stop)
}

#[test]
fn all_stop_errors_have_the_same_source() {
    let gone = Signal::gone();
    let queue = Queue::bounded("full", 1).may_be_left();
    queue.add(1).unwrap();
    let errors: Vec<Boxed> = vec![
        queue.pop_till(&gone).unwrap_err().into(),
        queue.add_till(2, &gone).unwrap_err().into(),
        selvedge::Semaphore::new("permits", 1).acquire_till(&gone).err().unwrap().into(),
        Promise::<u32>::new("answer").wait_till(&gone).unwrap_err().into(),
        Sequencer::new("turns").take_ticket().wait_turn_till(&gone).err().unwrap().into(),
        spawn_actor("actor", (), |(), _: (), _| ()).ask_till::<()>(&gone, |_| ()).unwrap_err().into(),
        std::io::Error::other(GaveUp::Stopped).into(),
    ];
    for error in errors {
        assert!(error.source().is_some_and(|source| source.is::<Stopped>()), "{error:?}");
    }
    for error in [Boxed::from(PopError::Closed), GaveUp::TimedOut.into(), AskError::Ended.into()] {
        assert!(error.source().is_none(), "{error:?}");
    }
}

#[test]
fn its_joiner_and_not_its_parent_hears() {
    let parent = spawn("parent", |_| {
        let child = spawn_fallible("child", pop);
        until_waiting(child.thread());
        child.stop();
        drop(child);
        let joined = spawn_fallible("joined", pop);
        joined.stop();
        let failure = joined.join().unwrap_err();
        assert!(failure.is_stopped() && !failure.is_error() && !failure.is_panic());
        assert!(failure.to_string().ends_with("/joined was stopped: stopped while waiting for the queue"), "{failure}");
        assert!(failure.source().is_some_and(|source| source.is::<PopError>()));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&failure.to_json()).unwrap()["kind"], "stopped");
        assert!(!Thread::current().child_failed().is_go());
    });
    parent.join().unwrap();
}

#[test]
fn a_stopped_parent_may_pass_it_on() {
    let parent = spawn_fallible("parent", |_| -> Result<u32, Boxed> { Ok(spawn_fallible("child", pop).join()?) });
    until_waiting(parent.thread());
    parent.stop();
    let failure = parent.join().unwrap_err();
    assert!(failure.is_stopped() && failure.children().is_empty(), "{failure}");
    assert!(failure.thread_path().ends_with("/parent"));
}

#[test]
fn a_parent_needing_the_missing_value_fails() {
    let parent = spawn_fallible("parent", |_| -> Result<u32, Boxed> {
        let child = spawn_fallible("child", pop);
        child.stop();
        Ok(child.join()?)
    });
    let failure = parent.join().unwrap_err();
    assert!(!failure.is_stopped() && failure.children()[0].is_stopped(), "{failure}");
}

#[test]
fn a_wait_ended_otherwise_is_a_failure() {
    let asked_for_nothing = spawn_fallible("child", |_| pop(&Till::after(Duration::from_millis(1))));
    assert!(asked_for_nothing.join().unwrap_err().is_error());
    // Of a child that has failed before, by a time limit of its own, and a parent that is asked to
    // stop.
    let has_failed = Signal::new("the child has failed");
    let fails = has_failed.clone();
    let parent = spawn_fallible("parent", move |please_stop| -> Result<u32, Boxed> {
        let child = spawn_fallible("child", |_| pop(&Till::after(Duration::from_millis(1))));
        child.thread().stopped().wait_for_go();
        fails.go();
        please_stop.wait_for_go();
        Ok(child.join()?)
    });
    assert!(has_failed.wait_for_go_timeout(DEADLINE));
    parent.stop();
    let failure = parent.join().unwrap_err();
    assert!(!failure.is_stopped() && failure.children()[0].is_error(), "{failure}");
}

#[test]
fn a_failure_below_a_stopped_thread_is_one() {
    let parent = spawn_fallible("parent", |please_stop| {
        drop(spawn_fallible("child", |please_stop| {
            please_stop.wait_for_go();
            Err::<(), _>("the disk is full")
        }));
        pop(please_stop)
    });
    until_waiting(parent.thread());
    parent.stop();
    let failure = parent.join().unwrap_err();
    assert!(!failure.is_stopped() && failure.children()[0].message() == "the disk is full", "{failure}");
}

#[test]
fn siblings_go_on_and_nothing_is_restarted() {
    let parent = Builder::new("parent").on_child_failure(OnChildFailure::StopSiblings).spawn(|_| {
        let sibling = spawn("sibling", |please_stop| please_stop.wait_for_go_timeout(Duration::from_millis(50)));
        let child = Builder::new("child").restart(Restart::up_to(3)).spawn_fallible(pop).unwrap();
        let thread = child.thread().clone();
        until_waiting(&thread);
        child.stop();
        assert!(child.join().unwrap_err().is_stopped());
        assert_eq!(thread.restarts(), 0);
        assert!(!sibling.join().unwrap(), "the sibling was asked to stop");
    });
    parent.unwrap().join().unwrap();
}

#[test]
fn a_scope_with_a_stopped_thread_succeeds() {
    let text = String::from("borrowed");
    scope(|s| {
        drop(s.spawn_fallible("borrows", |please_stop| {
            assert_eq!(text, "borrowed");
            pop(please_stop)
        }));
    });
}

#[test]
fn a_join_gives_up_after_its_time() {
    let thread = spawn("patient", |please_stop| please_stop.wait_for_go());
    let thread = thread.join_timeout(Duration::ZERO).expect_err("it is alive");
    let thread = thread.join_timeout(Duration::from_millis(20)).expect_err("it is alive");
    thread.stop();
    thread.join_timeout(Duration::MAX).expect("it ends").unwrap();
}

#[test]
fn a_context_is_restored_and_inherited() {
    let own = spawn("owner", |_| {
        mdc::insert("request", "1");
        {
            let _inner = mdc::insert_scoped("request", "2");
            let _step = mdc::insert_scoped("step", "parse");
            let child = spawn("child", |_| mdc::pairs().len());
            assert_eq!((child.join().unwrap(), mdc::get("request").as_deref()), (2, Some("2")));
        }
        assert_eq!((mdc::get("request").as_deref(), mdc::get("step")), (Some("1"), None));
        assert_eq!(mdc::remove("request").as_deref(), Some("1"));
        mdc::insert("a", "b");
        mdc::clear();
        mdc::pairs()
    });
    assert!(own.join().unwrap().is_empty());
}
