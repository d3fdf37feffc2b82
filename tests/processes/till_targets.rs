//! A target on a Till runs at its time: while a runtime ends, without a runtime, and beside targets
//! that block or panic.

use crate::support::{DEADLINE, Folder, run, subject, until};
use selvedge::{Config, Progress, Queue, Runtime, Signal, Till, spawn_actor};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

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

/// What `attach` has attached to Tills of that time and later, before the time has come. A target that is
/// attached later runs at once, on the thread that attaches it. Then this starts over, with a later time.
fn attached_in_time<T>(attach: impl Fn(Instant) -> T, discard: impl Fn(T)) -> T {
    let mut lead = Duration::from_millis(100);
    loop {
        let begin = Instant::now() + lead;
        let attached = attach(begin);
        if Instant::now() < begin {
            return attached;
        }
        assert!(lead < DEADLINE, "nothing is attached within {lead:?}");
        discard(attached);
        lead *= 4;
    }
}

#[test]
fn a_target_that_blocks_holds_up_no_other() {
    if crate::support::in_own_process(module_path!(), "a_target_that_blocks_holds_up_no_other") {
        return;
    }
    // Several targets block, each the first of several of one Till, and one waits for a target of a
    // later Till.
    let attach = |begin: Instant| {
        let (let_go, ran) = (Signal::new("let go"), Arc::new(AtomicUsize::new(0)));
        let (all, attacher) = (Progress::new("targets that have run"), std::thread::current().id());
        for n in 0..5 {
            let till = Till::at(begin + Duration::from_millis(20 * n));
            let (waits, counts) = (let_go.clone(), ran.clone());
            till.on_go(move || {
                // On the thread that attaches it, it would keep the next from being attached.
                if std::thread::current().id() != attacher {
                    waits.wait_for_go_timeout(DEADLINE);
                }
                counts.fetch_add(1, Ordering::SeqCst);
            });
            let counts = all.clone();
            till.on_go(move || {
                counts.advance(1);
            });
        }
        (let_go, ran, all)
    };
    let (let_go, ran, all) = attached_in_time(attach, |(let_go, ..)| {
        let_go.go();
    });
    assert!(all.wait_for_timeout(5, DEADLINE), "only {} ran", all.get());
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let_go.go();
    until("the blocked targets have ended", || ran.load(Ordering::SeqCst) == 5);
}

#[test]
fn targets_of_tills_run_in_their_order() {
    if crate::support::in_own_process(module_path!(), "targets_of_tills_run_in_their_order") {
        return;
    }
    let attach = |begin: Instant| {
        let order = Queue::unbounded("order");
        for n in (0..100_u64).rev() {
            let order = order.clone();
            Till::at(begin + Duration::from_micros(n)).on_go(move || order.add(n).unwrap());
        }
        order
    };
    let order = attached_in_time(attach, drop);
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
    // On a busy machine another target may take as long. Its line is of another place.
    let program = include_str!("../programs/subject.rs").split_once("\nfn target_blocks()").expect("its targets");
    let outer = program.1.lines().position(|line| line.contains(".on_go(move || {")).expect("the outer one");
    let place = format!("tests/programs/subject.rs:{}:", program.0.lines().count() + outer + 1);
    let is_told = |line: &&str| line.contains("holds up other targets") && line.contains(&place);
    let told = log.lines().filter(is_told).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "no line of {place} in {log}");
    assert!(told[0].starts_with("WARN ") && told[0].contains("a target of on_go, attached at "), "{}", told[0]);
    assert!(told[0].contains("\"till "), "{}", told[0]);
}
