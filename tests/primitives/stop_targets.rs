//! A target of `on_go` may wait for any thread that the same call asks: all are asked and woken first.

use super::support::{DEADLINE, in_own_process, until_waiting};
use selvedge::{
    Builder, Config, OnChildFailure, Progress, Queue, Runtime, Signal, StopOrder, Thread, spawn, spawn_fallible,
};
use std::slice;
use std::sync::mpsc;

/// A target that notes whether `thread` was asked before, and whether it ended meanwhile.
fn waits_for(thread: &Thread, seen: &mpsc::Sender<(bool, bool)>) -> impl FnOnce() + Send + 'static {
    let (thread, seen) = (thread.clone(), seen.clone());
    move || {
        let was_asked = thread.please_stop().is_go();
        let has_ended = was_asked && thread.stopped().wait_for_go_timeout(DEADLINE);
        seen.send((was_asked, has_ended)).unwrap();
    }
}

fn sleeper(please_stop: &Signal) {
    please_stop.wait_for_go();
}

#[test]
fn a_target_waits_for_an_older_sibling() {
    let (seen, sees) = mpsc::channel();
    let parent = spawn("parent", move |please_stop| {
        let older = spawn("older", sleeper);
        let younger = spawn("younger", sleeper);
        younger.thread().please_stop().on_go(waits_for(older.thread(), &seen));
        please_stop.wait_for_go();
    });
    until_waiting("signal", slice::from_ref(&parent));
    parent.stop();
    assert_eq!(sees.recv_timeout(DEADLINE), Ok((true, true)));
    parent.join().unwrap();
}

#[test]
fn an_ending_parent_asks_all_before_targets() {
    let (seen, sees) = mpsc::channel();
    let parent = spawn("parent", move |_| {
        let older = spawn("older", sleeper);
        let younger = spawn("younger", sleeper);
        younger.thread().please_stop().on_go(waits_for(older.thread(), &seen));
    });
    assert_eq!(sees.recv_timeout(DEADLINE), Ok((true, true)));
    parent.join().unwrap();
}

#[test]
fn targets_run_parents_first_and_youngest_first() {
    let (send, ran) = mpsc::channel();
    let (is_built, built) = mpsc::channel();
    let parent = spawn("parent", move |please_stop| {
        let note = |thread: &Thread| {
            for turn in 1..=2 {
                let (send, text) = (send.clone(), format!("{} {turn}", thread.name()));
                thread.please_stop().on_go(move || send.send(text).unwrap());
            }
        };
        let older = spawn("older", sleeper);
        let younger = spawn("younger", sleeper);
        let below = Builder::new("below").parent(younger.thread()).spawn(sleeper).unwrap();
        [older.thread(), below.thread(), younger.thread(), &Thread::current()].into_iter().for_each(note);
        is_built.send(()).unwrap();
        please_stop.wait_for_go();
    });
    built.recv_timeout(DEADLINE).unwrap();
    parent.stop();
    let expected = ["parent 1", "parent 2", "younger 1", "younger 2", "below 1", "below 2", "older 1", "older 2"];
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), expected);
    parent.join().unwrap();
}

#[test]
fn a_target_waits_for_a_joined_thread() {
    let (seen, sees) = mpsc::channel();
    let body = move |please_stop: &Signal| {
        let joined = spawn("joined", sleeper);
        // Attached before the join, and so before the target that forwards the stop.
        please_stop.on_go(waits_for(joined.thread(), &seen));
        joined.join().unwrap();
    };
    // A stop of such a parent asks the child by the join alone.
    let parent = Builder::new("parent").stop_order(StopOrder::OneByOne).spawn(body).unwrap();
    until_waiting("thread", slice::from_ref(&parent));
    parent.thread().please_stop().go();
    assert_eq!(sees.recv_timeout(DEADLINE), Ok((true, true)));
    parent.join().unwrap();
}

#[test]
fn a_target_of_main_waits_for_a_child() {
    if in_own_process(module_path!(), "a_target_of_main_waits_for_a_child") {
        return;
    }
    let (seen, sees) = mpsc::channel();
    let runtime = Runtime::start(Config::new("ends")).unwrap();
    let child = spawn("child", sleeper);
    runtime.please_stop().on_go(waits_for(child.thread(), &seen));
    runtime.shutdown().unwrap();
    assert_eq!(sees.recv_timeout(DEADLINE), Ok((true, true)));
}

#[test]
fn a_failure_asks_all_siblings_before_targets() {
    let (seen, sees) = mpsc::channel();
    let body = move |_: &Signal| {
        let older = spawn("older", sleeper);
        let younger = spawn("younger", sleeper);
        Thread::current().child_failed().on_go(waits_for(older.thread(), &seen));
        younger.thread().please_stop().on_go(waits_for(older.thread(), &seen));
        let fails = spawn_fallible("fails", |please_stop| {
            please_stop.wait_for_go();
            Err::<(), _>("no bread")
        });
        // Its own end is waited for as well.
        let (failed, seen) = (fails.thread().clone(), seen.clone());
        older.thread().please_stop().on_go(move || {
            let has_ended = failed.stopped().wait_for_go_timeout(DEADLINE);
            seen.send((true, has_ended)).unwrap();
        });
        fails.stop();
        fails.join().unwrap_err();
    };
    let parent = Builder::new("parent").on_child_failure(OnChildFailure::StopSiblings).spawn(body).unwrap();
    for _ in 0..3 {
        assert_eq!(sees.recv_timeout(DEADLINE), Ok((true, true)));
    }
    parent.join().unwrap();
}

#[cfg(unix)]
#[test]
fn a_target_waits_for_a_reading_thread() {
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    let (seen, sees) = mpsc::channel();
    let reads = spawn("reads", move |please_stop| {
        please_stop.on_go(waits_for(&Thread::current(), &seen));
        selvedge::lines_till(&reader, please_stop).unwrap().count()
    });
    until_waiting("input", slice::from_ref(&reads));
    reads.stop();
    assert_eq!(sees.recv_timeout(DEADLINE), Ok((true, true)));
    assert_eq!(reads.join().unwrap(), 0);
    drop(writer);
}

/// Notes whether `signal` goes while the target runs.
fn waits_for_signal(signal: &Signal, seen: &mpsc::Sender<bool>) -> impl FnOnce() + Send + 'static {
    let (signal, seen) = (signal.clone(), seen.clone());
    move || seen.send(signal.wait_for_go_timeout(DEADLINE)).unwrap()
}

#[test]
fn a_target_of_a_close_waits_for_a_consumer() {
    let (seen, sees) = mpsc::channel();
    let queue: Queue<u32> = Queue::unbounded("jobs");
    let from = queue.clone();
    let consumer = spawn("consumer", move |_| from.pop());
    queue.closed().on_go(waits_for_signal(consumer.thread().stopped(), &seen));
    until_waiting("queue", slice::from_ref(&consumer));
    queue.close();
    assert_eq!(sees.recv_timeout(DEADLINE), Ok(true));
    assert_eq!(consumer.join().unwrap(), None);
}

#[test]
fn a_target_of_a_mark_waits_for_a_later_mark() {
    let (seen, sees) = mpsc::channel();
    let progress = Progress::new("pages");
    let (first, second) = (progress.at(1), progress.at(2));
    let waiter = spawn("waiter", move |_| second.wait_for_go());
    first.on_go(waits_for_signal(waiter.thread().stopped(), &seen));
    progress.advance(2);
    assert_eq!(sees.recv_timeout(DEADLINE), Ok(true));
    waiter.join().unwrap();
}

#[test]
fn a_target_waits_for_a_thread_in_a_select() {
    let (seen, sees) = mpsc::channel();
    let (first, other, woken) = (Signal::new("first"), Signal::new("other"), Signal::new("woken"));
    let either = &first | &other;
    // Attached before the link of the receiver.
    first.on_go(waits_for_signal(&woken, &seen));
    let receiver = either.receiver().clone();
    let waiter = spawn("waiter", move |_| {
        receiver.recv().unwrap_err();
        woken.go();
    });
    first.go();
    assert_eq!(sees.recv_timeout(DEADLINE), Ok(true));
    waiter.join().unwrap();
}
