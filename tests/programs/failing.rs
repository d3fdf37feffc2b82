//! Programs that fail in odd ways, for tests/processes/failure_output.rs: `failing SCENARIO
//! CONFIG`.

use anyhow::Context;
use selvedge::{Builder, Failure, JoinHandle, Restart, Signal, spawn, spawn_fallible};
use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let config = args.next().expect("a config");
    if scenario == "context-in-main" {
        return selvedge::run(config.as_str(), |_: &Signal| -> anyhow::Result<()> {
            spawn("loader", |_| look_up("tenant 17")).join().context("while loading tenant 17")
        });
    }
    if scenario == "held" {
        return selvedge::run(config.as_str(), held);
    }
    selvedge::run(config.as_str(), |_: &Signal| -> Result<(), String> {
        match scenario.as_str() {
            "reported" => reported(),
            "no-string" => drop(spawn("odd", |_| std::panic::panic_any(42u8))),
            "rude-payload" => drop(spawn("rude", |_| std::panic::panic_any(RudePayload))),
            "panic-at-thread-exit" => panic_at_thread_exit(),
            "caught-at-thread-exit" => caught_at_thread_exit(),
            "target-at-thread-exit" => target_at_thread_exit(),
            "service" => service(),
            "released" => released(),
            "unseen" => (0..3).for_each(|_| drop(spawn("plain", |_| Err::<(), _>("boom")))),
            "connections" => connections(),
            "double-panic" => double_panic(),
            "unheard" => unheard(),
            "registered" => foreign(|| callback("callback")),
            "registered-twice" => foreign(|| {
                let _outer = selvedge::register("outer");
                callback("inner");
            }),
            "registered-caught" => foreign(|| {
                let _registered = selvedge::register("callback");
                drop(std::panic::catch_unwind(|| look_up("caught")));
            }),
            "registered-once" => foreign(|| {
                selvedge::register_once("callback");
                look_up("once");
            }),
            "registered-and-raised" => {
                let callback = std::thread::spawn(|| callback("callback"));
                callback.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
            }
            "registered-in-a-thread" => drop(spawn("worker", |_| callback("callback"))),
            "registered-and-raised-unseen" => foreign(|| {
                let _outer = selvedge::register("outer");
                let _inner = selvedge::register("inner");
                std::panic::resume_unwind(Box::new(42_u8));
            }),
            "registered-once-and-main-fails" => {
                let (tell, told) = std::sync::mpsc::channel();
                let pool = std::thread::spawn(move || {
                    selvedge::register_once("pool");
                    tell.send(()).expect("main waits");
                    std::thread::park();
                });
                told.recv().expect("the pool is registered");
                // It goes on until the process ends.
                std::mem::forget(pool);
                return Err("the pool is empty".to_owned());
            }
            "registered-target-panics" => foreign(|| {
                let _outer = selvedge::register("outer");
                let _inner = selvedge::register("inner");
                let child = spawn("child", |please_stop| please_stop.wait_for_go());
                child.thread().please_stop().on_go(|| panic!("the target is broken"));
                // The guard's drop stops the child.
                drop(child);
                look_up("the callback");
            }),
            "registered-after-a-panic" => foreign(|| {
                drop(std::panic::catch_unwind(|| panic!("handled long ago")));
                let _registered = selvedge::register("second");
                std::panic::resume_unwind(Box::new(42_u8));
            }),
            "registered-again-after-a-panic" => foreign(|| {
                drop(std::panic::catch_unwind(|| callback("first")));
                let _registered = selvedge::register("second");
                std::panic::resume_unwind(Box::new(42_u8));
            }),
            other => return Err(format!("no scenario \"{other}\"")),
        }
        Ok(())
    })
}

/// Two levels down, with a context and something in the log.
fn reported() {
    let service = spawn("service", |_| {
        log_mdc::insert("request", "17");
        let worker = spawn("worker", |_| {
            drop(spawn("lamp", |please_stop| please_stop.wait_for_go()));
            for step in 1..=12 {
                log::info!("step {step}");
            }
            log::debug!("not in the log");
            look_up("Zürich");
        });
        worker.thread().stopped().wait_for_go();
    });
    service.thread().stopped().wait_for_go();
}

/// Faults that are no failures of a thread.
fn unheard() {
    let signal = selvedge::Signal::new("bell");
    signal.on_go(|| panic!("the target is broken"));
    signal.go();
    (&selvedge::Signal::new("a") | &selvedge::Signal::new("b")).go();
    let mut runs = 0;
    let policy = selvedge::Restart::up_to(1).backoff(std::time::Duration::ZERO, std::time::Duration::ZERO);
    let again = selvedge::Builder::new("again").restart(policy).spawn_fallible(move |_| {
        runs += 1;
        if runs == 1 { Err("the first run is bad") } else { Ok(()) }
    });
    again.expect("a thread").join().expect("the second run is well");
    let queue = selvedge::Queue::unbounded("orders");
    queue.add(1).expect("it is open");
}

/// Runs `f` on a thread that this crate has not made. Its owner takes no notice of a panic.
fn foreign(f: fn()) {
    drop(std::thread::Builder::new().name("foreign".into()).spawn(f).expect("a thread").join());
}

fn callback(name: &str) {
    let _registered = selvedge::register(name);
    look_up("the callback");
}

#[inline(never)]
fn look_up(key: &str) {
    panic!("the map has no entry\nfor {key}");
}

/// Panics when it is dropped.
struct RudePayload;

impl Drop for RudePayload {
    fn drop(&mut self) {
        panic!("the payload is rude");
    }
}

/// What the thread leaves in its thread-local panics when that is destroyed.
struct Late(fn());

impl Drop for Late {
    fn drop(&mut self) {
        (self.0)();
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

fn leave(late: fn()) {
    let thread = spawn("leaver", move |_| {
        log::info!("before the end");
        LATE.set(Some(Late(late)));
    });
    // A failure is told before: what is asked for here is the end of the OS thread.
    let _ = thread.join();
}

fn panic_at_thread_exit() {
    leave(|| panic!("too late"));
    unreachable!("the process has aborted");
}

fn caught_at_thread_exit() {
    leave(|| drop(std::panic::catch_unwind(|| panic!("too late, and caught"))));
    log::info!("still here");
}

/// A target panics at the end of a thread, and what another one has captured does. The crate
/// catches both.
fn target_at_thread_exit() {
    leave(|| {
        let (gone, dropped) = (Signal::new("gone"), Signal::new("dropped"));
        gone.on_go(|| panic!("the target panics"));
        gone.go();
        let captured = Late(|| panic!("the captured value panics"));
        dropped.on_go(move || drop(captured));
        drop(dropped);
    });
    log::info!("still here");
}

/// Waits for its end without joining it.
fn ended<T>(thread: JoinHandle<T>, give_up: fn(JoinHandle<T>)) {
    let stopped = thread.thread().stopped().clone();
    give_up(thread);
    stopped.wait_for_go();
}

/// A thread that is not joined fails long before the program ends.
fn service() {
    ended(spawn_fallible("ingest", |_| Err::<(), _>("cannot reach the broker")), drop);
    ended(spawn("parent", |_| drop(spawn_fallible("child", |_| Err::<(), _>("two levels down")))), drop);
    log::info!("main goes on");
}

/// A service that joins its threads when it is asked to stop.
fn held(please_stop: &Signal) -> Result<(), Failure> {
    drop(spawn_fallible("quick", |_| Err::<(), _>("joined at once")).join());
    let once = Restart::up_to(1).backoff(Duration::ZERO, Duration::ZERO);
    let flaky = Builder::new("flaky").restart(once).spawn_fallible(|_| Err::<(), _>("no cache"));
    let ingest = spawn_fallible("ingest", |_| Err::<(), _>("cannot reach the broker"));
    let panics = spawn("panics", |_| panic!("told by the hook"));
    please_stop.wait_for_go();
    drop((flaky.expect("a thread"), panics));
    ingest.join()
}

fn released() {
    ended(spawn("panics", |_| panic!("released panic")), JoinHandle::release);
    ended(spawn_fallible("errs", |_| Err::<(), _>("released error")), JoinHandle::release);
    log::info!("main goes on");
}

/// A thread for each connection, none of which is joined.
fn connections() {
    for number in 0..500 {
        let connection =
            spawn_fallible(format!("connection-{number}"), move |_| Err::<(), _>(format!("reset {number}.")));
        ended(connection, drop);
    }
}

/// What it has captured panics while a panic unwinds.
fn double_panic() {
    let thread = spawn("worker", |_| {
        let _late = Late(|| panic!("the second"));
        panic!("the first");
    });
    let _ = thread.join();
    unreachable!("the process has aborted");
}
