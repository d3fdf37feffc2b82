//! A signal says why it went, and a thread why it was asked to stop: by which thread, where, when,
//! and for which cause.

use crate::support::DEADLINE;
use selvedge::{Builder, OnChildFailure, Queue, Reason, Signal, StopOrder, Thread, Till, scope, spawn};
use std::time::{Duration, Instant};

/// Why it was asked to stop, once it has been.
fn reason_of(thread: &Thread) -> Reason {
    assert!(thread.please_stop().wait_for_go_timeout(DEADLINE), "{} was not asked to stop", thread.path());
    thread.stop_reason().unwrap()
}

#[test]
fn who_where_and_when() {
    let signal = Signal::new("x");
    assert!(signal.reason().is_none());
    let before = Instant::now();
    let (going, line) = (signal.clone(), line!() + 1);
    let went = spawn("goer", move |_| going.go_because("the disk is full")).join().unwrap();
    assert!(went);
    let reason = signal.reason().unwrap();
    assert_eq!(reason.text(), "the disk is full");
    assert!(reason.by().ends_with("/goer"), "{reason:?}");
    let location = reason.location().unwrap();
    assert_eq!((location.file(), location.line()), (file!(), line));
    assert!(reason.when() >= before && reason.when() <= Instant::now());
    assert!(reason.cause().is_none());

    // The first reason is the reason.
    assert!(!signal.go_because("another"));
    assert_eq!(signal.reason().unwrap().text(), "the disk is full");
    let (plain, line) = (Signal::new("plain"), line!() + 1);
    plain.go();
    let reason = plain.reason().unwrap();
    assert_eq!((reason.text(), reason.location().unwrap().line()), ("go() was called", line));
}

#[test]
fn composites_have_the_deciding_parts_reason() {
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let (any, all) = (&a | &b, &a & &b);
    assert!(any.reason().is_none() && all.reason().is_none());
    b.go_because("b first");
    assert_eq!(any.reason().unwrap().text(), "b first");
    assert!(all.reason().is_none(), "a & b has not gone");
    a.go_because("a second");
    assert_eq!(any.reason().unwrap().text(), "b first");
    assert_eq!(all.reason().unwrap().text(), "a second");

    let till = Till::after(Duration::from_millis(1));
    assert!(till.wait_for_go_timeout(DEADLINE));
    assert_eq!(till.reason().unwrap().text(), "its time came");
    let due = Till::after(Duration::ZERO);
    assert!(!due.go_because("too late"), "it has gone by itself");
    assert_eq!(due.reason().unwrap().text(), "its time came");
    let early = Till::after(Duration::from_secs(1000));
    early.go_because("enough");
    assert_eq!(early.reason().unwrap().text(), "enough");
    assert!(Signal::never().reason().is_none() && Signal::gone().reason().is_none());
}

#[test]
fn a_part_without_a_reason_decides_for_good() {
    let (any, all) = (Queue::<u32>::unbounded("any"), Queue::<u32>::unbounded("all"));
    let (early, late) = (Signal::new("early"), Signal::new("late"));
    let (either, both) = (any.closed() | &late, all.closed() & &early);
    any.close();
    assert!(either.is_go() && either.reason().is_none());
    late.go_because("the stop is late");
    assert!(either.reason().is_none(), "the queue was closed before: {either:?}");
    early.go_because("the stop is early");
    all.close();
    assert!(both.is_go() && both.reason().is_none(), "the queue was closed last: {both:?}");
}

#[test]
fn parts_that_have_gone_keep_reason_and_name() {
    let told = |signal: &Signal| (signal.reason().map(|reason| reason.text().to_owned()), signal.name());
    let (first, second, open) = (Signal::new("first"), Signal::new("second"), Signal::new("open"));
    let till = Till::after(Duration::ZERO);
    first.go_because("the disk is full");
    second.go_because("the user said so");
    let of = |text: &str, name: &str| (Some(text.to_owned()), name.to_owned());
    for any in
        [&first | &open, &open | &first, &first | &second, &second | &first, Signal::any([&open, &second, &first])]
    {
        assert_eq!(told(&any), of("the disk is full", "first"));
    }
    for all in [&first & &second, &second & &first, Signal::all([&second, &Signal::gone(), &first])] {
        assert_eq!(told(&all), of("the user said so", "second"));
    }
    // Its time has come, and no thread has looked at the clock since.
    assert_eq!(told(&(&first | &till)), of("its time came", "till now"));
    assert_eq!(told(&(&till & &first)), of("the disk is full", "first"));
    assert_eq!(told(&(Signal::gone() | &first)), (None, "gone".to_owned()));
    let all = &first & &open;
    assert!(!all.is_go());
    open.go_because("at last");
    assert_eq!(told(&all), of("at last", "open"));
}

#[test]
fn a_stop_is_each_descendants_reason() {
    let is_up = Signal::new("up");
    let ready = is_up.clone();
    let parent = spawn("parent", move |please_stop| {
        drop(spawn("child", |please_stop| please_stop.wait_for_go()));
        ready.go();
        please_stop.wait_for_go();
    });
    assert!(is_up.wait_for_go_timeout(DEADLINE));
    let child = parent.thread().children().remove(0);
    assert!(parent.thread().stop_reason().is_none() && parent.thread().stop_latency().is_none());
    let line = line!() + 1;
    parent.thread().stop_because("its shard has moved");
    for thread in [parent.thread(), &child] {
        let reason = reason_of(thread);
        assert_eq!((reason.text(), reason.location().unwrap().line()), ("its shard has moved", line));
    }
    let thread = parent.thread().clone();
    parent.join().unwrap();
    let latency = thread.stop_latency().unwrap();
    assert!(latency >= child.stop_latency().unwrap(), "a parent ends after its child");
    assert_eq!(thread.stop_latency().unwrap(), latency, "it has ended: the time stands");
}

#[test]
fn a_parents_end_is_reason_with_its_cause() {
    let child = |order| {
        let (signal, seen) = (Signal::new("up"), Signal::new("seen"));
        let (ready, asked) = (signal.clone(), seen.clone());
        let parent = Builder::new("parent")
            .stop_order(order)
            .spawn(move |please_stop| {
                let child = spawn("child", move |please_stop| {
                    please_stop.wait_for_go();
                    asked.wait_for_go();
                });
                ready.go();
                please_stop.wait_for_go();
                child.thread().clone()
            })
            .unwrap();
        assert!(signal.wait_for_go_timeout(DEADLINE));
        let child = parent.thread().children().remove(0);
        (parent, child, seen)
    };
    // OneByOne: the child is asked by its parent's end, not by the stop that reached the parent.
    let (parent, thread, seen) = child(StopOrder::OneByOne);
    parent.thread().stop_because("the test says so");
    let reason = reason_of(&thread);
    assert!(reason.text().starts_with("its parent main/") && reason.text().ends_with("/parent ended"), "{reason}");
    assert!(reason.location().is_none());
    assert_eq!(reason.cause().unwrap().text(), "the test says so");
    let text = reason.to_string();
    assert!(text.contains("/parent ended ") && text.contains(" ago, after this: the test says so ("), "{text}");
    seen.go();
    parent.join().unwrap();

    let panicking = spawn("panicking", |_| {
        let child = spawn("child", |please_stop| please_stop.wait_for_go());
        std::panic::panic_any(child.thread().clone());
    });
    let thread = panicking.join().unwrap_err().into_panic().downcast::<Thread>().unwrap();
    let reason = thread.stop_reason().unwrap();
    assert!(reason.text().ends_with("/panicking panicked"), "{reason}");
    assert!(reason.cause().is_none(), "the parent was not asked");
}

#[test]
fn siblings_scopes_and_joiners_give_reasons() {
    let parent = Builder::new("siblings")
        .on_child_failure(OnChildFailure::StopSiblings)
        .spawn(|_| {
            let waiting = spawn("waiting", |please_stop| please_stop.wait_for_go());
            let failing = spawn("failing", |_| panic!("on purpose"));
            assert!(failing.join().is_err());
            let thread = waiting.thread().clone();
            waiting.join().unwrap();
            thread
        })
        .unwrap();
    let reason = parent.join().unwrap().stop_reason().unwrap();
    assert!(reason.text().starts_with("its sibling main/") && reason.text().ends_with("/failing failed"), "{reason}");

    let line = line!() + 1;
    let thread = scope(|s| s.spawn("scoped", |please_stop| please_stop.wait_for_go()).thread().clone());
    let reason = thread.stop_reason().unwrap();
    assert_eq!((reason.text(), reason.location().unwrap().line()), ("its scope ended", line));

    // The joined thread is below the joiner, but not its child: only the join passes the stop on.
    let (send, receive) = std::sync::mpsc::channel();
    let joiner = Builder::new("joiner")
        .stop_order(StopOrder::OneByOne)
        .spawn(move |_| {
            let joined = spawn("joined", |please_stop| please_stop.wait_for_go());
            send.send(joined.thread().clone()).unwrap();
            joined.join().unwrap();
        })
        .unwrap();
    let joined = receive.recv().unwrap();
    joiner.thread().stop_because("no more work");
    joiner.join().unwrap();
    let reason = joined.stop_reason().unwrap();
    assert_eq!(reason.text(), "the thread that joins it was asked to stop");
    assert_eq!(reason.cause().unwrap().text(), "no more work");
}

#[test]
fn a_late_child_has_its_parents_reason() {
    let parent = spawn("late", |please_stop| {
        please_stop.wait_for_go();
        let child = spawn("newborn", |please_stop| please_stop.reason().unwrap());
        child.join().unwrap()
    });
    parent.thread().stop_because("closing time");
    let reason = parent.join().unwrap();
    assert_eq!(reason.text(), "its parent had been asked already");
    assert_eq!(reason.cause().unwrap().text(), "closing time");
}

#[test]
fn the_place_of_the_spawn_is_known() {
    let (child, line) = (spawn("spawned", |_| Thread::current().spawned_at()), line!());
    assert_eq!(child.thread().spawned_at().unwrap().line(), line);
    assert_eq!(child.join().unwrap().unwrap().file(), file!());
    let line = line!() + 1;
    let built = Builder::new("built").spawn(|_| Thread::current().spawned_at().unwrap().line()).unwrap();
    assert_eq!(built.join().unwrap(), line);
    let (scoped, line) = scope(|s| (s.spawn("scoped", |_| ()).thread().spawned_at().unwrap().line(), line!()));
    assert_eq!(scoped, line);
    let (registered, line) =
        std::thread::spawn(|| (selvedge::register("r").thread().spawned_at().unwrap().line(), line!())).join().unwrap();
    assert_eq!(registered, line);
    assert!(Thread::current().spawned_at().is_none(), "no spawn of this crate");
}

#[test]
fn who_is_asked_later_was_not_asked_earlier() {
    let (begun, ended) = (Signal::new("begun"), Signal::new("ended"));
    let (begins, goes) = (begun.clone(), ended.clone());
    let parent = Builder::new("orderly").stop_order(StopOrder::OneByOne).spawn(move |_| {
        let first = spawn("first", |please_stop| please_stop.wait_for_go());
        let thread = first.thread().clone();
        drop(spawn("second", move |please_stop| {
            please_stop.wait_for_go();
            begins.go();
            goes.wait_for_go();
        }));
        thread
    });
    let parent = parent.unwrap();
    assert!(begun.wait_for_go_timeout(DEADLINE));
    let before = Instant::now();
    ended.go();
    let first = parent.join().unwrap();
    assert!(first.stop_reason().unwrap().when() >= before, "{first:?} was asked when the second had ended");
}

#[test]
fn who_is_born_late_was_not_asked_before() {
    let born = Signal::new("born");
    let bears = born.clone();
    let parent = spawn("ending", move |_| {
        let me = Thread::current();
        drop(spawn("bearer", move |please_stop| {
            please_stop.wait_for_go();
            let before = Instant::now();
            let child = Builder::new("late").parent(&me).spawn(|please_stop| please_stop.reason().unwrap()).unwrap();
            assert!(child.join().unwrap().when() >= before);
            bears.go();
        }));
    });
    parent.join().unwrap();
    assert!(born.is_go());
}
