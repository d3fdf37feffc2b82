//! Signals: go once, wake all, run targets once, combine, and tell which of two it was.

use crate::support::{DEADLINE, until, until_waiting, within_deadline};
use selvedge::{Signal, Till};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

fn counter() -> (Arc<AtomicUsize>, impl FnOnce() + Send + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let inner = count.clone();
    (count, move || {
        inner.fetch_add(1, Ordering::SeqCst);
    })
}

/// The CPU time of a thread that waits for 300 ms, for a signal with a nested part that has gone.
fn spent_on_a_gone_nested_part() -> Duration {
    let parts = [Signal::new("a"), Signal::new("b"), Signal::new("c")];
    let [a, b, c] = &parts;
    let whole = (a | b) & c;
    a.go();
    let looked = Signal::new("looked");
    let waiter = selvedge::spawn("waiter", {
        let looked = looked.clone();
        move |_| {
            assert!(!whole.wait_for_go_timeout(Duration::from_millis(300)));
            let spent = selvedge::Thread::current().cpu_time();
            looked.go();
            whole.wait_for_go();
            spent
        }
    });
    assert!(looked.wait_for_go_timeout(DEADLINE));
    c.go();
    // Where the system does not tell a thread's CPU time, nothing is known.
    waiter.join().unwrap().unwrap_or_default()
}

/// A part that has gone, and has parts itself, is looked at once: the wait for the whole sleeps until the rest goes.
#[test]
fn a_wait_whose_nested_part_has_gone_sleeps() {
    // Time that the host takes from a thread is counted as the thread's own. So one round of little time is enough.
    // A wait that does not sleep spends up to 300 ms in each.
    until("the wait sleeps", || spent_on_a_gone_nested_part() < Duration::from_millis(30));
}

#[test]
fn go_is_true_for_exactly_one_call() {
    for _ in 0..200 {
        let signal = Signal::new("start");
        let barrier = Barrier::new(4);
        let firsts: usize = thread::scope(|s| {
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    s.spawn(|| {
                        barrier.wait();
                        usize::from(signal.go())
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).sum()
        });
        assert_eq!(firsts, 1);
        assert!(signal.is_go());
    }
}

#[test]
fn a_go_wakes_all_who_wait() {
    within_deadline(|| {
        let signal = Signal::new("open");
        // A wait without a time-out: a lost wake-up is not made good by another look.
        let wait = || signal.wait_for_go();
        thread::scope(|s| {
            (0..50).for_each(|_| drop(s.spawn(wait)));
            signal.go();
        });
    });
}

#[test]
fn a_time_out_is_no_go() {
    let signal = Signal::new("never comes");
    let begin = Instant::now();
    assert!(!signal.wait_for_go_timeout(Duration::from_millis(20)));
    assert!(begin.elapsed() >= Duration::from_millis(20));
    assert!(!signal.wait_for_go_till(&Till::after(Duration::from_millis(20))));
    assert!(!signal.wait_for_go_timeout(Duration::ZERO));
    signal.go();
    assert!(signal.wait_for_go_timeout(Duration::ZERO));
    assert!(signal.wait_for_go_till(&Signal::gone()), "the signal itself wins over the end of the wait");
}

#[test]
fn a_wait_on_either_says_which_it_was() {
    let stop = Signal::new("stop");
    let short = Till::after(Duration::from_millis(5));
    (&short | &stop).wait_for_go();
    assert!(short.is_go() && !stop.is_go());

    let long = Till::after(Duration::from_secs(3600));
    thread::scope(|s| {
        s.spawn(|| stop.go());
        (&long | &stop).wait_for_go();
    });
    assert!(stop.is_go() && !long.is_go());
}

#[test]
fn a_wait_on_both_needs_both() {
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let both = &a & &b;
    a.go();
    assert!(!both.wait_for_go_timeout(Duration::from_millis(5)));
    thread::scope(|s| {
        s.spawn(|| b.go());
        assert!(both.wait_for_go_timeout(DEADLINE));
    });
}

#[test]
fn composites_of_composites_wait_and_run() {
    let s: Vec<_> = (0..4).map(|n| Signal::new(format!("s{n}"))).collect();
    let both_pairs = (&s[0] & &s[1]) | (&s[2] & &s[3]);
    let (count, target) = counter();
    both_pairs.on_go(target);
    s[0].go();
    s[3].go();
    assert!(!both_pairs.is_go());
    assert_eq!(count.load(Ordering::SeqCst), 0);
    thread::scope(|scope| {
        scope.spawn(|| s[2].go());
        assert!(both_pairs.wait_for_go_timeout(DEADLINE));
    });
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn two_parts_going_together_run_targets_once() {
    for _ in 0..2000 {
        let (a, b) = (Signal::new("a"), Signal::new("b"));
        let (count, target) = counter();
        (&a & &b).on_go(target);
        let barrier = Barrier::new(2);
        thread::scope(|s| {
            for signal in [&a, &b] {
                let barrier = &barrier;
                s.spawn(move || {
                    barrier.wait();
                    signal.go();
                });
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn targets_run_in_order_on_the_activating_thread() {
    let signal = Signal::new("done");
    let (send, receive) = mpsc::channel();
    for n in 0..10 {
        let send = send.clone();
        signal.on_go(move || send.send((n, thread::current().id())).unwrap());
    }
    signal.go();
    let me = thread::current().id();
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), (0..10).map(|n| (n, me)).collect::<Vec<_>>());
}

#[test]
fn a_target_may_attach_to_its_signal() {
    let signal = Signal::new("chain");
    let (count, target) = counter();
    let again = signal.clone();
    signal.on_go(move || {
        assert!(again.is_go() && !again.go());
        again.on_go(target);
    });
    signal.go();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_panic_in_a_target_stops_nobody() {
    let signal = Signal::new("rough");
    let (before, first) = counter();
    let (after, last) = counter();
    signal.on_go(first);
    signal.on_go(|| panic!("one target is broken"));
    signal.on_go(last);
    assert!(signal.go());
    assert_eq!((before.load(Ordering::SeqCst), after.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn cancel_says_whether_the_target_ran() {
    for _ in 0..500 {
        let signal = Signal::new("race");
        let (count, target) = counter();
        let target = signal.on_go(target);
        let cancelled = thread::scope(|s| {
            s.spawn(|| signal.go());
            target.cancel()
        });
        assert_eq!(count.load(Ordering::SeqCst), usize::from(!cancelled));
        assert_eq!(target.cancel(), cancelled, "asked again, the answer is the same");
    }
}

#[test]
fn a_till_runs_targets_and_wakes_a_select() {
    let begin = Instant::now();
    let till = Till::after(Duration::from_millis(20));
    let (send, receive) = mpsc::channel();
    till.on_go(move || send.send(Instant::now()).unwrap());
    let ran = receive.recv_timeout(DEADLINE).unwrap();
    assert!(ran - begin >= Duration::from_millis(20));

    let stop = Signal::new("stop");
    let either = Till::after(Duration::from_millis(5)) | &stop;
    let ended = either.receiver().recv_timeout(DEADLINE);
    assert_eq!(ended, Err(crossbeam_channel::RecvTimeoutError::Disconnected));
}

#[test]
fn a_till_past_all_times_of_the_clock_never_goes() {
    let never = Till::after(Duration::MAX);
    assert!(!never.is_go() && !never.wait_for_go_timeout(Duration::from_millis(2)));
}

#[test]
fn each_of_many_parts_counts() {
    for place in 0..40 {
        let parts: Vec<Signal> = (0..40).map(|n| Signal::new(format!("part {n}"))).collect();
        let (any, all) = (Signal::any(&parts), Signal::all(&parts));
        assert!(!any.is_go());
        parts[place].go();
        assert!(any.is_go(), "part {place}");
        for (n, part) in parts.iter().enumerate().filter(|&(n, _)| n != place) {
            assert!(!all.is_go(), "part {n}");
            part.go();
        }
        assert!(all.is_go());
    }
}

#[test]
fn a_till_can_be_let_go_early() {
    let till = Till::after(Duration::from_secs(3600));
    thread::scope(|s| {
        s.spawn(|| assert!(till.go()));
        assert!(till.wait_for_go_timeout(DEADLINE));
    });
    assert!(!till.go());
}

#[test]
fn a_due_till_has_gone_by_itself() {
    let till = Till::at(Instant::now());
    assert!(!till.go(), "the clock did it, and not the call");
    assert!(till.is_go());
}

#[test]
fn one_go_reaches_ten_thousand_targets_and_waiters() {
    let signal = Signal::new("all");
    let (count, _) = counter();
    for _ in 0..10_000 {
        let count = count.clone();
        signal.on_go(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
    }
    thread::scope(|s| {
        let waiters: Vec<_> = (0..200)
            .map(|n| {
                let signal = &signal;
                s.spawn(move || match n % 2 {
                    0 => signal.wait_for_go_timeout(DEADLINE),
                    _ => (signal | Signal::new("other")).wait_for_go_timeout(DEADLINE),
                })
            })
            .collect();
        signal.go();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
    });
    assert_eq!(count.load(Ordering::SeqCst), 10_000);
}

#[test]
fn a_composite_cannot_be_told_to_go() {
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let either = &a | &b;
    assert!(!either.go());
    assert!(!Signal::never().go());
    assert!(!either.is_go() && !a.is_go() && !b.is_go());
}

#[test]
fn names_are_shown() {
    let stop = Signal::new("main/reader please_stop");
    assert_eq!(format!("{stop:?}"), "Signal(main/reader please_stop, waiting)");
    stop.go();
    assert_eq!(format!("{stop:?}"), "Signal(main/reader please_stop, gone)");
    assert_eq!((Signal::new("a") & Signal::new("b")).name(), "(a & b)");
}

#[test]
fn a_scoped_target_is_cancelled_with_its_guard() {
    let signal = Signal::new("signal");
    let (ran, held) = (Signal::new("ran"), Signal::new("held"));
    drop(signal.on_go_scoped({
        let ran = ran.clone();
        move || {
            ran.go();
        }
    }));
    let kept = signal.on_go_scoped({
        let held = held.clone();
        move || {
            held.go();
        }
    });
    signal.go();
    assert!(held.is_go() && !ran.is_go());
    assert!(!kept.cancel(), "it has run");
}

#[test]
fn dropping_a_running_scoped_target_waits() {
    let (signal, begun, go_on, done) =
        (Signal::new("signal"), Signal::new("begun"), Signal::new("go on"), Signal::new("done"));
    let target = signal.on_go_scoped({
        let (begun, go_on, done) = (begun.clone(), go_on.clone(), done.clone());
        move || {
            begun.go();
            go_on.wait_for_go();
            done.go();
        }
    });
    let goes = signal.clone();
    let goer = thread::spawn(move || goes.go());
    begun.wait_for_go();
    let dropper = selvedge::spawn("dropper", move |_| drop(target));
    // It waits for the target, and has not gone past it.
    until("the drop waits", || {
        assert!(dropper.thread().is_alive(), "the drop does not wait");
        dropper.thread().waiting_for().is_some_and(|wait| wait.kind() == "target")
    });
    go_on.go();
    dropper.join().unwrap();
    assert!(done.is_go());
    assert!(goer.join().unwrap());
}

#[test]
fn all_who_cancel_a_running_target_wait_for_its_end() {
    let (signal, begun, go_on) = (Signal::new("signal"), Signal::new("begun"), Signal::new("go on"));
    let target = Arc::new(signal.on_go({
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move || {
            begun.go();
            go_on.wait_for_go();
        }
    }));
    let goer = thread::spawn(move || signal.go());
    begun.wait_for_go();
    let cancellers = ["first", "second"].map(|name| {
        let target = target.clone();
        selvedge::spawn(name, move |_| target.cancel())
    });
    until_waiting("target", &cancellers);
    go_on.go();
    assert_eq!(within_deadline(|| cancellers.map(|canceller| canceller.join().unwrap())), [false, false]);
    assert!(goer.join().unwrap());
}
