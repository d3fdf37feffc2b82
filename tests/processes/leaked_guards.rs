//! A guard that is leaked (`mem::forget`) costs memory, and nothing else: no thread has another
//! one's identity, and each end is seen.

use crate::support::{DEADLINE, until};
use selvedge::{
    BinarySemaphore, Builder, Config, Lock, Monitor, Promise, Restart, Runtime, Semaphore, Sequencer, Signal, Thread,
    register, register_once, scope, spawn,
};
use std::mem::forget;

/// An OS thread that this crate has not made.
fn foreign<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(f).join().unwrap()
}

#[test]
fn a_leaked_registration_ends_with_its_thread() {
    if crate::support::in_own_process(module_path!(), "a_leaked_registration_ends_with_its_thread") {
        return;
    }
    let thread = foreign(|| {
        let registered = register("leaky");
        let thread = registered.thread();
        forget(registered);
        assert!(thread.is_alive());
        thread
    });
    assert!(thread.stopped().wait_for_go_timeout(DEADLINE), "{thread:?}");
    let before = thread.cpu_time();
    // A new thread may have the same pthread_t and, where ids are few, the same kernel id.
    foreign(|| (0..5_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
    assert_eq!(thread.cpu_time(), before);
    assert!(!thread.parent().unwrap().children().contains(&thread));
    assert!(!selvedge::dump().to_string().contains("leaky"));
}

#[test]
fn a_leaked_registration_ends_its_children() {
    if crate::support::in_own_process(module_path!(), "a_leaked_registration_ends_its_children") {
        return;
    }
    let (thread, child) = foreign(|| {
        let registered = register("leaky");
        let child = spawn("child", |please_stop| please_stop.wait_for_go());
        let both = (registered.thread(), child.thread().clone());
        forget((registered, child));
        both
    });
    assert!(child.stopped().wait_for_go_timeout(DEADLINE), "{child:?}");
    assert!(thread.stopped().wait_for_go_timeout(DEADLINE), "{thread:?}");
    assert!(child.stop_reason().unwrap().to_string().contains("leaky"), "{:?}", child.stop_reason());
}

#[test]
fn leaked_registrations_end_with_their_body() {
    if crate::support::in_own_process(module_path!(), "leaked_registrations_end_with_their_body") {
        return;
    }
    let spawned = spawn("body", |_| {
        let (outer, inner) = (register("outer"), register("inner"));
        let threads = [outer.thread(), inner.thread()];
        forget((outer, inner));
        threads
    });
    // Without the end of the registrations it would wait for them, and they for it.
    assert!(spawned.thread().stopped().wait_for_go_timeout(DEADLINE));
    for thread in spawned.join().unwrap() {
        assert!(!thread.is_alive(), "{thread:?}");
    }
}

#[test]
fn leaked_registrations_end_with_their_run() {
    if crate::support::in_own_process(module_path!(), "leaked_registrations_end_with_their_run") {
        return;
    }
    let restarted = Builder::new("again").restart(Restart::up_to(2)).spawn_fallible(|_| {
        assert!(Thread::current().path().ends_with("/again"), "{}", Thread::current().path());
        forget(register("leaky"));
        Err::<(), _>("once more")
    });
    let restarted = restarted.unwrap();
    assert!(restarted.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(restarted.thread().restarts(), 2);
    restarted.join().unwrap_err();
}

#[test]
fn a_guard_outliving_its_body_does_nothing() {
    if crate::support::in_own_process(module_path!(), "a_guard_outliving_its_body_does_nothing") {
        return;
    }
    std::thread_local! {
        static KEPT: std::cell::RefCell<Option<selvedge::Registered>> = const { std::cell::RefCell::new(None) };
    }
    let spawned = spawn("body", |_| {
        let registered = register("kept");
        let thread = registered.thread();
        KEPT.set(Some(registered));
        thread
    });
    assert!(spawned.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert!(!spawned.join().unwrap().is_alive());
    let thread = foreign(|| {
        let registered = register("kept-by-a-pool");
        let thread = registered.thread();
        KEPT.set(Some(registered));
        thread
    });
    assert!(thread.stopped().wait_for_go_timeout(DEADLINE));
}

#[test]
fn ended_threads_outside_the_tree_are_known() {
    if crate::support::in_own_process(module_path!(), "ended_threads_outside_the_tree_are_known") {
        return;
    }
    let thread = foreign(|| {
        let thread = Thread::current();
        assert!(thread.is_alive() && thread.path().starts_with("other/"));
        thread
    });
    assert!(thread.stopped().wait_for_go_timeout(DEADLINE));
    let before = thread.cpu_time();
    foreign(|| (0..5_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
    assert_eq!(thread.cpu_time(), before, "it is another thread's");
}

#[test]
fn late_registrations_have_no_identity() {
    if crate::support::in_own_process(module_path!(), "late_registrations_have_no_identity") {
        return;
    }
    struct Late(std::sync::mpsc::Sender<Thread>);
    impl Drop for Late {
        fn drop(&mut self) {
            let registered = register("late");
            self.0.send(registered.thread()).unwrap();
            forget(registered);
        }
    }
    std::thread_local! {
        static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
    }
    let (tell, told) = std::sync::mpsc::channel();
    foreign(move || {
        LATE.set(Some(Late(tell)));
        // What this crate keeps for the thread is made after that, so it is destroyed before.
        drop(register("early"));
    });
    let thread = told.recv().unwrap();
    assert_eq!(thread.cpu_time(), None, "another thread's, as soon as its kernel id is used again");
    println!("{}", selvedge::dump());
}

#[test]
fn leaked_primitive_guards_only_keep_their_locks() {
    if crate::support::in_own_process(module_path!(), "leaked_primitive_guards_only_keep_their_locks") {
        return;
    }
    let lock: &'static Lock<u32> = Box::leak(Box::new(Lock::new("leaked lock", 1)));
    let monitor: &'static Monitor<u32> = Box::leak(Box::new(Monitor::new("leaked monitor", 1)));
    let semaphore: &'static Semaphore = Box::leak(Box::new(Semaphore::new("leaked permits", 1)));
    let sequencer: &'static Sequencer = Box::leak(Box::new(Sequencer::new("leaked turn")));
    let binary: &'static BinarySemaphore = Box::leak(Box::new(BinarySemaphore::new("binary")));
    let promise: Promise<u32> = Promise::new("leaked claim");
    let claimed = promise.clone();
    foreign(move || {
        forget(lock.lock());
        forget(monitor.enter());
        forget(semaphore.acquire());
        forget(sequencer.take_ticket().wait_turn());
        forget(claimed.claim().unwrap());
        forget(Signal::new("never").on_go(|| ()));
        binary.post();
    });
    assert!(binary.try_wait());
    assert!(lock.try_lock().is_none() && semaphore.try_acquire().is_none() && promise.claim().is_none());
    let waiting = [
        spawn("locks", move |please_stop| drop(lock.lock_till(please_stop))),
        spawn("enters", move |please_stop| drop(monitor.enter_till(please_stop))),
        spawn("acquires", move |please_stop| drop(semaphore.acquire_till(please_stop))),
        spawn("claims", move |please_stop| assert!(promise.wait_till(please_stop).is_err())),
    ];
    until("it waits for the lock", || waiting[0].thread().waiting_for().is_some());
    let dump = selvedge::dump().to_string();
    assert!(dump.contains("leaked lock") && dump.contains("a thread that has ended"), "{dump}");
    waiting.iter().for_each(|thread| thread.stop());
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn leaked_handles_of_a_scope_let_it_end() {
    if crate::support::in_own_process(module_path!(), "leaked_handles_of_a_scope_let_it_end") {
        return;
    }
    let mut number = 1;
    scope(|s| {
        let clone = s.clone();
        forget(s.spawn("adds", |_| number += 1));
        forget(clone);
    });
    assert_eq!(number, 2);
}

#[cfg(unix)]
#[test]
fn a_leaked_runtime_leaves_main_without_an_identity() {
    if crate::support::in_own_process(module_path!(), "a_leaked_runtime_leaves_main_without_an_identity") {
        return;
    }
    foreign(|| forget(selvedge::Runtime::start(selvedge::Config::new("leaky")).unwrap()));
    let main = spawn("child", |_| Thread::current().parent().unwrap()).join().unwrap();
    let before = main.cpu_time();
    foreign(|| (0..5_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
    assert_eq!((main.path(), main.cpu_time()), ("main", before));
    println!("{}", selvedge::dump());
    #[cfg(feature = "profiling")]
    {
        let recording = selvedge::profile::start(selvedge::profile::Options::new()).unwrap();
        println!("{} samples", recording.finish().samples());
        forget(selvedge::profile::start(selvedge::profile::Options::new()).unwrap());
        spawn("recorded", |_| (0..5_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n))).join().unwrap();
    }
}

/// A pool keeps its threads for as long as it likes; each runtime has them while it lives.
#[test]
fn a_thread_registered_once_does_not_hold_up_the_end() {
    if crate::support::in_own_process(module_path!(), "a_thread_registered_once_does_not_hold_up_the_end") {
        return;
    }
    type Job = Box<dyn FnOnce() + Send>;
    let (send, jobs) = std::sync::mpsc::channel::<Job>();
    let pool = std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
    let in_pool = || {
        let (tell, told) = std::sync::mpsc::channel();
        let job = move || {
            register_once("pool");
            let child = spawn("child", |please_stop| please_stop.wait_for_go());
            tell.send((Thread::current(), child.thread().clone())).unwrap();
        };
        send.send(Box::new(job)).unwrap();
        told.recv().unwrap()
    };
    let mut before = None;
    for _ in 0..2 {
        let runtime = Runtime::start(Config::new("lent").log_off()).unwrap();
        let (thread, child) = in_pool();
        assert_eq!((thread.path(), child.path()), ("main/pool", "main/pool/child"));
        assert!(thread.is_alive() && before.as_ref() != Some(&thread));
        assert!(selvedge::dump().to_string().contains("main/pool/child"));
        runtime.shutdown().unwrap();
        // Its child was joined, and itself let go of.
        assert!(!child.is_alive() && !thread.is_alive() && thread.please_stop().is_go());
        let reason = thread.stop_reason().unwrap().to_string();
        assert!(reason.contains("main"), "{reason}");
        before = Some(thread);
    }
    // Without a runtime too, and the thread ends while it is registered.
    let (thread, child) = in_pool();
    drop(send);
    pool.join().unwrap();
    assert!(thread.stopped().wait_for_go_timeout(DEADLINE) && !child.is_alive());
}
