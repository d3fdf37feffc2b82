//! A target on a Till runs at its time: while a runtime ends, without a runtime, and beside targets
//! that block or panic.

use crate::support::{Folder, run, subject};
use selvedge::{Config, Progress, Queue, Runtime, Signal, Till, spawn_actor};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(300);

/// One test: there is one runtime in a process at a time, and the other tests of this file run
/// beside it.
#[test]
fn targets_outlive_the_runtime() {
    if crate::support::in_own_process(module_path!(), "targets_outlive_the_runtime") {
        return;
    }
    let runtime = Runtime::start(Config::new("first")).unwrap();
    let (expired, hour) = (Till::after(Duration::ZERO), Till::after(Duration::from_secs(3600)));
    let ran: Vec<_> = ["expired", "hour"].map(Signal::new).into();
    for (till, ran) in [&expired, &hour].into_iter().zip(&ran) {
        let ran = ran.clone();
        till.on_go(move || assert!(ran.go()));
    }
    assert!(ran[0].wait_for_go_timeout(DEADLINE));

    // Each of these waits for a target or a receiver of a Till, on a thread that does not belong to
    // the runtime.
    let (attached, all_attached) = mpsc::channel::<()>();
    type Wait = fn(mpsc::Sender<()>) -> bool;
    let waits: [(&str, Wait); 6] = [
        ("a target", |attached| {
            let ran = Signal::new("ran");
            let goes = ran.clone();
            Till::after(SOON).on_go(move || {
                goes.go();
            });
            drop(attached);
            ran.wait_for_go_timeout(DEADLINE)
        }),
        ("a receiver in select", |attached| {
            let (till, (_keeps, values)) = (Till::after(SOON), crossbeam_channel::unbounded::<()>());
            let receiver = till.receiver();
            drop(attached);
            crossbeam_channel::select! {
                recv(receiver) -> gone => gone.is_err(),
                recv(values) -> _ => false,
                default(DEADLINE) => false,
            }
        }),
        ("any", |attached| {
            let any = Till::after(SOON) | &Signal::new("never told");
            let receiver = any.receiver();
            drop(attached);
            receiver.recv_timeout(DEADLINE) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
        }),
        ("all", |attached| {
            let (told, ran) = (Signal::new("told"), Signal::new("ran"));
            let goes = ran.clone();
            (&*Till::after(SOON) & &*Till::after(SOON * 2) & &told).on_go(move || {
                goes.go();
            });
            drop(attached);
            told.go();
            ran.wait_for_go_timeout(DEADLINE)
        }),
        ("progress", |attached| {
            let progress = Progress::new("pages");
            let (reached, goes) = (progress.at(1), progress.clone());
            Till::after(SOON).on_go(move || {
                goes.advance(1);
            });
            let receiver = reached.receiver();
            drop(attached);
            receiver.recv_timeout(DEADLINE) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
        }),
        ("a queue that a target closes", |attached| {
            let queue: Queue<()> = Queue::unbounded("ticks");
            let closes = queue.clone();
            Till::after(SOON).on_go(move || {
                closes.close();
            });
            drop(attached);
            queue.pop_till(&Till::after(DEADLINE)) == Err(selvedge::PopError::Closed)
        }),
    ];
    let begin = Instant::now();
    let waiters: Vec<_> = waits
        .into_iter()
        .map(|(name, wait)| {
            let attached = attached.clone();
            (name, std::thread::spawn(move || wait(attached)))
        })
        .collect();
    drop(attached);
    assert!(all_attached.recv().is_err(), "all have dropped their senders");
    runtime.shutdown().unwrap();
    assert!(expired.is_go() && !hour.is_go() && !ran[1].is_go(), "a shutdown makes no Till go before its time");
    for (name, waiter) in waiters {
        assert!(waiter.join().unwrap(), "{name}: lost when the runtime ended, after {:?}", begin.elapsed());
    }

    // The next runtime has them in its tree again.
    let runtime = Runtime::start(Config::new("second")).unwrap();
    let told = Queue::unbounded("paths");
    let tells = told.clone();
    let actor = spawn_actor("actor", (), move |(), path: String, _| drop(tells.add(path)));
    let actor = Arc::new(actor);
    let mut after = Duration::from_millis(1);
    loop {
        let sends = actor.clone();
        Till::after(after).on_go(move || drop(sends.send(selvedge::Thread::current().path().to_owned())));
        let path = told.pop_till(&Till::after(DEADLINE)).unwrap();
        if path.starts_with("main/selvedge/timer") {
            break;
        }
        // Its time had come before it was attached, so it ran here.
        assert!(path == selvedge::Thread::current().path() && after < DEADLINE, "{path}");
        after *= 4;
    }
    assert!(!hour.is_go() && !ran[1].is_go());
    runtime.shutdown().unwrap();
}

#[test]
fn a_target_that_blocks_holds_up_no_other() {
    if crate::support::in_own_process(module_path!(), "a_target_that_blocks_holds_up_no_other") {
        return;
    }
    let (let_go, ran) = (Signal::new("let go"), Arc::new(AtomicUsize::new(0)));
    let all = Progress::new("targets that have run");
    // Several targets block, each the first of several of one Till, and one waits for a target of a
    // later Till.
    let tills: Vec<_> = (0..5).map(|n| Till::after(Duration::from_millis(1000 + 20 * n))).collect();
    for till in &tills {
        let (waits, counts) = (let_go.clone(), ran.clone());
        till.on_go(move || {
            waits.wait_for_go_timeout(DEADLINE);
            counts.fetch_add(1, Ordering::SeqCst);
        });
        let counts = all.clone();
        till.on_go(move || {
            counts.advance(1);
        });
    }
    assert!(all.wait_for_timeout(5, DEADLINE), "only {} ran", all.get());
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let_go.go();
    let deadline = Instant::now() + DEADLINE;
    while ran.load(Ordering::SeqCst) < 5 {
        assert!(Instant::now() < deadline, "only {} of the blocked targets have ended", ran.load(Ordering::SeqCst));
        std::thread::yield_now();
    }
}

#[test]
fn targets_of_tills_run_in_their_order() {
    if crate::support::in_own_process(module_path!(), "targets_of_tills_run_in_their_order") {
        return;
    }
    let order = Queue::unbounded("order");
    let begin = Instant::now() + Duration::from_millis(500);
    for n in (0..100_u64).rev() {
        let order = order.clone();
        Till::at(begin + Duration::from_micros(n)).on_go(move || order.add(n).unwrap());
    }
    for n in 0..100 {
        assert_eq!(order.pop_till(&Till::after(DEADLINE)), Ok(n));
    }
}

/// The target of one waits for the target of the other.
#[test]
fn what_holds_up_other_targets_is_told() {
    if crate::support::in_own_process(module_path!(), "what_holds_up_other_targets_is_told") {
        return;
    }
    let folder = Folder::new("target-blocks");
    let ended = run(&mut subject("target-blocks", &folder.config("")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("the other has run: true"), "{}", ended.stdout);
    let log = folder.read("app.log");
    let told = log.lines().filter(|line| line.contains("holds up other targets")).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].starts_with("WARN ") && told[0].contains("a target of on_go, attached at "), "{}", told[0]);
    assert!(told[0].contains("tests/programs/subject.rs:") && told[0].contains("\"till "), "{}", told[0]);
}
