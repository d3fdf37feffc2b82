//! A dump names what each thread does or waits for, and where: of a program that is well, that
//! hangs, and that does not stop.

use selvedge::{Lock, Queue, Signal, Thread, spawn};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether threads can be asked for their stacks here.
const STACKS: bool =
    cfg!(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")));

fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + crate::support::ALARM;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < deadline, "{what}, not within {:?}: {last}", crate::support::ALARM),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first dump in which that thread is as it should be. Others' tests have threads in the same
/// tree.
fn dump_with(path: &str, is_right: impl Fn(&Value) -> bool) -> (String, Value) {
    until(path, || {
        let dump = selvedge::dump();
        let whole: Value = serde_json::from_str(&dump.to_json()).unwrap();
        let found = whole["threads"].as_array().unwrap().iter().find(|thread| thread["path"] == path).cloned();
        found.filter(|thread| is_right(thread)).map(|thread| (dump.to_string(), thread)).ok_or(dump.to_string())
    })
}

/// Its stack, or all that there can be.
fn has(thread: &Value, function: &str) -> bool {
    let frames = thread["stack"].as_array().map_or(&[][..], Vec::as_slice);
    !STACKS || frames.iter().any(|frame| frame["function"].as_str().unwrap().contains(function))
}

/// The entry of a thread in the text, with what is below it.
fn entry<'a>(text: &'a str, path: &str) -> &'a str {
    let start = text.find(&format!("\n{path}")).unwrap_or_else(|| panic!("no {path} in {text}")) + 1;
    let end = text[start..].find("\n\n").map_or(text.len(), |end| start + end);
    &text[start..end]
}

#[inline(never)]
fn spin_till(please_stop: &Signal) {
    while !please_stop.is_go() {
        std::hint::spin_loop();
    }
}

#[test]
fn a_spinning_thread_is_shown_with_its_place() {
    let spinner = spawn("dumped-spinner", spin_till);
    let spins = |thread: &Value| {
        // On a machine with more to do than processors it may not run in that instant.
        thread["state"] == "running" && thread["cpu_share"].as_f64() > Some(0.2) && has(thread, "spin_till")
    };
    let (text, thread) = dump_with("main/dumped-spinner", spins);
    let entry = entry(&text, "main/dumped-spinner, running");
    assert!(entry.contains(" % now") && entry.contains("tid "), "{entry}");
    assert!(thread["cpu_s"].as_f64() > Some(0.0) && thread["waiting_for"].is_null());
    if STACKS {
        assert!(entry.contains("\n    at processes::dump::spin_till (tests/processes/dump.rs:"), "{entry}");
        assert!(!entry.contains("selvedge::thread"), "machinery is not shown: {entry}");
    }
    spinner.stop();
    spinner.join().unwrap();
}

#[test]
fn a_wait_is_shown_with_time_and_holder() {
    let lock = Arc::new(Lock::new("ledger", ()));
    let (theirs, has_it) = (lock.clone(), Signal::new("has it"));
    let seen = has_it.clone();
    let holder = spawn("dumped-holder", move |please_stop| {
        let _held = theirs.lock();
        seen.go();
        please_stop.wait_for_go();
    });
    has_it.wait_for_go();
    let waiter = spawn("dumped-waiter", move |_| drop(lock.lock()));
    let waits = |thread: &Value| thread["state"] == "waiting" && has(thread, "Lock");
    let (text, thread) = dump_with("main/dumped-waiter", waits);
    let wait = &thread["waiting_for"];
    assert_eq!((&wait["kind"], &wait["name"]), (&Value::from("lock"), &Value::from("ledger")));
    assert_eq!(wait["held_by"], "main/dumped-holder");
    assert!(
        wait["for_s"].as_f64() >= Some(0.0)
            && thread["spawned_at"].as_str().unwrap().contains("tests/processes/dump.rs")
    );
    let entry = entry(&text, "main/dumped-waiter, waiting ");
    assert!(
        entry.contains("for lock \"ledger\", held by main/dumped-holder since tests/processes/dump.rs:"),
        "{entry}"
    );
    holder.thread().stop_because("the test has seen enough");
    holder.join().unwrap();
    waiter.join().unwrap();
}

#[test]
fn stops_and_unjoined_failures_are_shown() {
    let bell = Signal::new("a bell");
    let rung = bell.clone();
    let deaf = spawn("dumped-deaf", move |_| rung.wait_for_go());
    deaf.thread().stop_because("its shard has moved");
    let (text, thread) = dump_with("main/dumped-deaf", |thread| thread["state"] == "waiting");
    assert_eq!(
        (&thread["stop"]["text"], &thread["stop"]["by"]),
        (&"its shard has moved".into(), &Thread::current().path().into())
    );
    assert!(entry(&text, "main/dumped-deaf").contains("\n    asked to stop: its shard has moved ("), "{text}");
    bell.go();
    deaf.join().unwrap();

    let unlucky = spawn("dumped-unlucky", |_| panic!("out of luck"));
    let (text, thread) = dump_with("main/dumped-unlucky", |thread| thread["state"] == "ended");
    assert!(thread["failures"][0].as_str().unwrap().contains("out of luck"), "{thread}");
    let entry = entry(&text, "main/dumped-unlucky, ended ");
    assert!(
        entry.contains("ago, to be joined")
            && entry.contains("failure not joined yet: ")
            && entry.contains("out of luck")
    );
    assert!(unlucky.join().is_err());
}

#[test]
fn its_times_are_of_the_taking() {
    let bell = Signal::new("a late bell");
    let rung = bell.clone();
    let thread = spawn("dumped-early", move |_| rung.wait_for_go());
    thread.thread().stop_because("to have a time in the dump");
    let dump = selvedge::dump();
    let (text, json) = (dump.to_string(), dump.to_json());
    assert!(text.contains("to have a time in the dump"), "{text}");
    // Longer than the precision of the times, which is a tenth of a second.
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(dump.to_string(), text);
    assert_eq!(dump.to_json(), json);
    bell.go();
    thread.join().unwrap();
}

#[test]
fn siblings_that_do_the_same_are_one_entry() {
    let jobs: Queue<u32> = Queue::bounded("dumped jobs", 4);
    let pool = spawn("dumped-pool", move |please_stop| {
        for n in 0..8 {
            let jobs = jobs.clone();
            drop(spawn(format!("worker-{n}"), move |please_stop| while jobs.pop_till(please_stop).is_ok() {}));
        }
        drop(spawn("odd-one", spin_till));
        please_stop.wait_for_go();
    });
    until("one entry", || {
        let text = selvedge::dump().to_string();
        let all = "\nmain/dumped-pool/worker-0 … worker-7 (8 threads), waiting ";
        if text.contains(all) && text.contains("\nmain/dumped-pool/odd-one, ") { Ok(()) } else { Err(text) }
    });
    pool.stop();
    pool.join().unwrap();
}

#[cfg(unix)]
mod processes;

#[cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod recordings {
    use super::*;
    use selvedge::profile::{self, Engine, Options};

    #[test]
    fn a_recording_does_not_see_dump_requests() {
        let recording = profile::start(Options::new().engine(Engine::Timer).frequency(100)).unwrap();
        // A refused start does not free the place for the next.
        assert!((0..3).all(|_| profile::start(Options::new()).is_err()));
        let sleeper = spawn("dumped-sleeper", |please_stop| please_stop.wait_for_go());
        let spinner = spawn("dumped-busy", spin_till);
        let mut answers = 0;
        until("answers", || {
            let whole: Value = serde_json::from_str(&selvedge::dump().to_json()).unwrap();
            let threads = whole["threads"].as_array().unwrap();
            let sleeper = threads.iter().find(|thread| thread["path"] == "main/dumped-sleeper");
            answers += usize::from(sleeper.is_some_and(|thread| thread["stack"].is_array()));
            if answers >= 8 { Ok(()) } else { Err(format!("{answers} answers")) }
        });
        crate::support::until("time for a sample", || spinner.thread().cpu_time() > Some(Duration::from_millis(100)));
        for thread in [sleeper, spinner] {
            thread.stop();
            thread.join().unwrap();
        }
        let profile = recording.finish();
        let of = |path: &str| profile.threads().iter().find(|thread| thread.path() == path).unwrap();
        // It has used next to no time, so no timer has found it; only a question that is taken for
        // a sample would have.
        assert!(of("main/dumped-sleeper").samples() < 4, "{:?}", of("main/dumped-sleeper"));
        assert!(of("main/dumped-busy").samples() > 0);
        for thread in profile.threads() {
            assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time(), "{thread:?}");
        }
    }
}

#[inline(never)]
fn spin_unregistered(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn wait_unregistered(end: &std::sync::mpsc::Receiver<()>) {
    let _ = end.recv();
    std::hint::black_box(end);
}

/// The other threads under that path, in the first dump in which they are as they should be.
#[cfg(target_os = "linux")]
fn others_with(path: &str, is_right: impl Fn(&[Value]) -> bool) -> (String, Vec<Value>) {
    until(path, || {
        let dump = selvedge::dump();
        let whole: Value = serde_json::from_str(&dump.to_json()).unwrap();
        let others = whole["others"].as_array().unwrap().iter();
        let found: Vec<Value> =
            others.filter(|other| other["path"].as_str().unwrap().starts_with(path)).cloned().collect();
        if is_right(&found) { Ok((dump.to_string(), found)) } else { Err(dump.to_string()) }
    })
}

#[test]
#[cfg(target_os = "linux")]
fn threads_outside_the_tree_are_listed() {
    let stop = Arc::new(AtomicBool::new(false));
    let stops = stop.clone();
    let named = |name: &str| std::thread::Builder::new().name(name.into());
    let spinner = named("visitor").spawn(move || spin_unregistered(&stops)).unwrap();
    let is_busy = |one: &Value| one["state"] == "running" && one["cpu_share"].as_f64() > Some(0.2);
    let spins = |found: &[Value]| matches!(found, [one] if is_busy(one) && has(one, "spin_unregistered"));
    let (text, found) = others_with("other/visitor", spins);
    let entry = entry(&text, "other/visitor, running | CPU ");
    assert!(entry.contains(" % now | age ") && entry.contains(" | tid "), "{entry}");
    assert!(found[0]["cpu_s"].as_f64() > Some(0.0) && found[0]["age_s"].as_f64() < Some(600.0), "{found:?}");
    assert!(text.lines().next().unwrap().contains(" not in the tree"), "{text}");
    if STACKS {
        assert!(entry.contains("\n    at processes::dump::spin_unregistered (tests/processes/dump.rs:"), "{entry}");
        assert!(!entry.contains("[the way on was not found]"), "its stack is whole: {entry}");
    }
    stop.store(true, Ordering::Relaxed);
    spinner.join().unwrap();

    let (ends, pool): (Vec<_>, Vec<_>) = (0..3)
        .map(|n| {
            let (end, ended) = std::sync::mpsc::channel();
            (end, named(&format!("guest-{n}")).spawn(move || wait_unregistered(&ended)).unwrap())
        })
        .unzip();
    let wait = |found: &[Value]| {
        found.len() == 3 && found.iter().all(|one| one["state"] == "asleep" && has(one, "wait_unregistered"))
    };
    let (text, _) = others_with("other/guest-", wait);
    assert!(text.contains("\nother/guest-0 … guest-2 (3 threads), asleep in a call outside of selvedge"), "{text}");
    drop(ends);
    pool.into_iter().for_each(|guest| guest.join().unwrap());
    // The test's own threads are there, the runtime's helpers are not.
    assert!(!text.contains("other/main:reserve"), "{text}");
}
