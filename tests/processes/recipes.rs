//! The pools of docs/recipes.md belong to the tree: they are found there, in log and profile, and
//! end with their owner.

use crate::support::{DEADLINE, Folder, until};
use rayon::prelude::*;
use selvedge::{Builder, Config, Failure, Registered, Runtime, Signal, Thread, Till, spawn};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One runtime at a time, in this process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Some CPU time that a profile can see.
fn burn() {
    let used = || Thread::current().cpu_time().expect("a thread of the tree");
    let (before, mut sum) = (used(), 0_u64);
    while used() - before < Duration::from_millis(150) {
        sum = std::hint::black_box(sum.wrapping_mul(3) + 1);
    }
}

fn pool_of(threads: usize) -> rayon::ThreadPool {
    let owner = Thread::current();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|n| format!("rayon-{n}"));
    let pool = pool.spawn_handler(move |worker| {
        let builder = Builder::new(worker.name().unwrap_or("rayon")).parent(&owner);
        builder.spawn(move |_please_stop| worker.run()).map(drop)
    });
    pool.build().unwrap()
}

thread_local! {
    static WORKER: RefCell<Option<Registered>> = const { RefCell::new(None) };
}

fn runtime_of(workers: usize) -> tokio::runtime::Runtime {
    let owner = Thread::current();
    let started = AtomicUsize::new(0);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(workers)
        .thread_name_fn(move || match started.fetch_add(1, Ordering::Relaxed) {
            number if number < workers => format!("tokio-worker-{number}"),
            number => format!("tokio-blocking-{}", number - workers),
        })
        .on_thread_start(move || {
            let name = std::thread::current().name().unwrap_or("tokio").to_owned();
            WORKER.set(Builder::new(name).parent(&owner).register().ok());
        })
        .on_thread_stop(|| drop(WORKER.take()))
        .build()
        .unwrap()
}

fn paths(thread: &Thread) -> Vec<String> {
    thread.children().iter().map(|child| child.path().to_owned()).collect()
}

/// The log's lines, and the folded stacks where there are any, of a program whose only thread is
/// this one.
fn run(test: &str, name: &str, body: impl FnOnce(&Signal) + Send + 'static) -> (String, String) {
    let folder = Folder::new(test);
    let config = Config::load(folder.config("")).unwrap().name("recipe");
    let config = config.profile_enabled(cfg!(feature = "profiling")).profile_output(folder.path());
    let runtime = Runtime::start(config).unwrap();
    let owner = spawn(name, body);
    let thread = owner.thread().clone();
    drop(owner);
    assert!(thread.stopped().wait_for_go_timeout(DEADLINE), "{:?}", paths(&thread));
    assert!(thread.children().is_empty());
    runtime.shutdown().unwrap();
    let folded = if cfg!(feature = "profiling") { folder.read("recipe.folded") } else { String::new() };
    (folder.read("app.log"), folded)
}

#[test]
fn a_rayon_pool_is_of_the_tree() {
    if crate::support::in_own_process(module_path!(), "a_rayon_pool_is_of_the_tree") {
        return;
    }
    let _alone = alone();
    let (log, folded) = run("recipe-rayon", "compute", |_| {
        let pool = pool_of(2);
        until("two workers", || paths(&Thread::current()) == ["main/compute/rayon-0", "main/compute/rayon-1"]);
        let both = pool.broadcast(|_| {
            burn();
            log::info!("works");
            Thread::current().path().to_owned()
        });
        assert_eq!(both, ["main/compute/rayon-0", "main/compute/rayon-1"]);
        assert_eq!(pool.install(|| (1..=10_u64).into_par_iter().sum::<u64>()), 55);
        let workers = Thread::current().children();
        assert!(workers.iter().all(|worker| worker.is_alive() && !worker.please_stop().is_go()));
    });
    for worker in ["rayon-0", "rayon-1"] {
        assert!(log.contains(&format!("INFO main/compute/{worker} works")), "{log}");
        assert!(folded.is_empty() || folded.contains(&format!("main;compute;{worker};")), "{folded}");
    }
}

#[test]
fn a_rayon_pool_ends_with_its_owner() {
    if crate::support::in_own_process(module_path!(), "a_rayon_pool_ends_with_its_owner") {
        return;
    }
    let _alone = alone();
    for panics in [false, true] {
        let owner = spawn("compute", move |please_stop| {
            let pool = pool_of(3);
            assert!(!panics, "with the pool up");
            let me = please_stop.clone();
            // Work that would never end by itself.
            pool.install(move || {
                (0..3).into_par_iter().for_each(|_| {
                    while !me.is_go() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
            });
        });
        let thread = owner.thread().clone();
        until("the workers", || panics || thread.children().len() == 3);
        owner.stop();
        let result = owner.join_till(&Till::after(DEADLINE)).expect("the pool ends");
        assert_eq!(result.is_err(), panics);
        assert!(thread.children().is_empty());
    }
}

/// As in docs/recipes/rayon.md.
struct GlobalPool(());

impl GlobalPool {
    fn join_tree() -> GlobalPool {
        let owner = Thread::current();
        rayon::broadcast(|worker| {
            let builder = Builder::new(format!("rayon-{}", worker.index())).parent(&owner);
            WORKER.set(builder.register().ok());
        });
        GlobalPool(())
    }
}

impl Drop for GlobalPool {
    fn drop(&mut self) {
        rayon::broadcast(|_| drop(WORKER.take()));
    }
}

#[test]
fn rayons_global_pool_joins_and_leaves() {
    if crate::support::in_own_process(module_path!(), "rayons_global_pool_joins_and_leaves") {
        return;
    }
    let _alone = alone();
    // Another library has started it.
    assert_eq!((1..=10_u64).into_par_iter().sum::<u64>(), 55);
    // It outlives a runtime, and joins the next one's tree.
    for _ in 0..2 {
        let (log, folded) = run("recipe-global-rayon", "compute", |_| {
            let _pool = GlobalPool::join_tree();
            let paths = rayon::broadcast(|_| {
                burn();
                log::info!("works");
                Thread::current().path().to_owned()
            });
            let expected: Vec<String> = (0..paths.len()).map(|n| format!("main/compute/rayon-{n}")).collect();
            assert_eq!(paths, expected);
        });
        assert!(log.contains("INFO main/compute/rayon-0 works"), "{log}");
        assert!(folded.is_empty() || folded.contains("main;compute;rayon-0;"), "{folded}");
    }
}

#[test]
fn a_tokio_runtime_is_of_the_tree() {
    if crate::support::in_own_process(module_path!(), "a_tokio_runtime_is_of_the_tree") {
        return;
    }
    let _alone = alone();
    let (log, folded) = run("recipe-tokio", "service", |_| {
        let runtime = runtime_of(2);
        until("two workers", || {
            let mut paths = paths(&Thread::current());
            paths.sort();
            paths == ["main/service/tokio-worker-0", "main/service/tokio-worker-1"]
        });
        let task = runtime.spawn(async {
            burn();
            log::info!("works");
            Thread::current().path().to_owned()
        });
        assert!(runtime.block_on(task).unwrap().starts_with("main/service/tokio-worker-"));
        // Its blocking threads too.
        let blocking = runtime.spawn_blocking(|| (Thread::current().path().to_owned(), Thread::current().id()));
        let (path, id) = runtime.block_on(blocking).unwrap();
        assert_eq!(path, "main/service/tokio-blocking-0");
        assert!(Thread::current().children().iter().any(|child| child.id() == id));
        runtime.shutdown_timeout(DEADLINE);
    });
    assert!(log.contains("INFO main/service/tokio-worker-"), "{log}");
    assert!(folded.is_empty() || folded.contains("main;service;tokio-worker-"), "{folded}");
}

#[test]
fn a_tokio_runtime_ends_with_its_owner() {
    if crate::support::in_own_process(module_path!(), "a_tokio_runtime_ends_with_its_owner") {
        return;
    }
    let _alone = alone();
    let owner = spawn("service", |please_stop| {
        let runtime = runtime_of(2);
        let stop = please_stop.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        let target = stop.on_go(move || {
            let _ = tell.send(());
        });
        drop(runtime.spawn(std::future::pending::<()>()));
        runtime.block_on(told).unwrap();
        assert!(!target.cancel(), "it has run");
        // Not waited for here: the owner's end does.
        runtime.shutdown_background();
    });
    let thread = owner.thread().clone();
    until("the workers", || thread.children().len() == 2);
    let workers = thread.children();
    owner.stop();
    owner.join_till(&Till::after(DEADLINE)).expect("the runtime ends").unwrap();
    assert!(workers.iter().all(|worker| !worker.is_alive()));
}

/// The log of a program whose only thread has failed, and that failure.
fn run_failing(test: &str, body: impl FnOnce(&Signal) -> String + Send + 'static) -> (String, Failure) {
    let folder = Folder::new(test);
    let config = Config::load(folder.config("")).unwrap().name("recipe");
    let runtime = Runtime::start(config).unwrap();
    let failure = spawn("owner", body).join().unwrap_err();
    runtime.shutdown().unwrap();
    (folder.read("app.log"), failure)
}

/// The one line of the log that has all of these.
fn only_line<'a>(log: &'a str, parts: &[&str]) -> &'a str {
    let lines: Vec<&str> = log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).collect();
    assert_eq!(lines.len(), 1, "{parts:?} in\n{log}");
    lines[0]
}

/// The owner's failure tells where in the pool it happened, and how the code came there.
fn assert_is_of_bad_item(failure: &Failure) {
    let text = failure.to_string();
    assert!(text.contains("main/owner panicked at tests/processes/recipes.rs:"), "{text}");
    assert!(text.contains("item 7 is bad"), "{text}");
    let backtrace = failure.backtrace().expect("the panic's").to_string();
    assert!(backtrace.contains("bad_item"), "{backtrace}");
}

#[inline(never)]
fn bad_item(number: u32) {
    assert!(number != 7, "item {number} is bad");
}

#[test]
fn a_panic_in_a_rayon_pool_is_its_owners_failure_with_its_place() {
    if crate::support::in_own_process(module_path!(), "a_panic_in_a_rayon_pool_is_its_owners_failure_with_its_place") {
        return;
    }
    let _alone = alone();
    let (log, failure) = run_failing("recipe-rayon-panics", |_| {
        pool_of(2).install(|| (0..10).into_par_iter().for_each(bad_item));
        unreachable!("the panic comes out of install")
    });
    assert_is_of_bad_item(&failure);
    // The log has it at once. The backtrace comes with the failure.
    only_line(&log, &["main/owner/rayon-", "panicked at", "item 7 is bad"]);
}

#[test]
fn a_panic_in_rayons_global_pool_is_logged_by_its_worker_and_comes_out_of_the_call() {
    let name = "a_panic_in_rayons_global_pool_is_logged_by_its_worker_and_comes_out_of_the_call";
    if crate::support::in_own_process(module_path!(), name) {
        return;
    }
    let _alone = alone();
    let (log, failure) = run_failing("recipe-global-rayon-panics", |_| {
        let _pool = GlobalPool::join_tree();
        rayon::scope(|scope| scope.spawn(|_| (0..10).into_par_iter().for_each(bad_item)));
        unreachable!("the panic comes out of scope")
    });
    assert_is_of_bad_item(&failure);
    // The backtrace too: a registered thread has no body that the failure could come from.
    only_line(&log, &["main/owner/rayon-", "panicked at", "item 7 is bad"]);
    assert!(log.contains("bad_item"), "no backtrace in\n{log}");
}

#[test]
fn a_panic_in_a_tokio_task_is_logged_and_told_to_the_task_that_awaits() {
    let name = "a_panic_in_a_tokio_task_is_logged_and_told_to_the_task_that_awaits";
    if crate::support::in_own_process(module_path!(), name) {
        return;
    }
    let _alone = alone();
    let (log, failure) = run_failing("recipe-tokio-panics", |_| {
        let runtime = runtime_of(2);
        let task = runtime.block_on(runtime.spawn(async { bad_item(7) })).unwrap_err();
        let blocking = runtime.block_on(runtime.spawn_blocking(|| bad_item(7))).unwrap_err();
        assert!(task.is_panic() && blocking.is_panic());
        // The workers are as they were.
        assert_eq!(runtime.block_on(runtime.spawn(async { 5 })).unwrap(), 5);
        runtime.shutdown_timeout(DEADLINE);
        panic!("told: {}", task.into_panic().downcast_ref::<String>().unwrap())
    });
    assert!(failure.to_string().contains("told: item 7 is bad"), "{failure}");
    only_line(&log, &["main/owner/tokio-worker-", "panicked at", "item 7 is bad"]);
    only_line(&log, &["main/owner/tokio-blocking-0", "panicked at", "item 7 is bad"]);
    assert!(log.contains("bad_item"), "no backtrace in\n{log}");
}

#[test]
fn a_thread_local_registration_ends_with_its_thread() {
    if crate::support::in_own_process(module_path!(), "a_thread_local_registration_ends_with_its_thread") {
        return;
    }
    let _alone = alone();
    let owner = spawn("owner", |please_stop| please_stop.wait_for_go());
    let parent = owner.thread().clone();
    let worker = Arc::new(Mutex::new(None));
    let left = worker.clone();
    let os = std::thread::spawn(move || {
        let registered = Builder::new("left").parent(&parent).register().unwrap();
        *left.lock().unwrap() = Some(registered.thread().clone());
        WORKER.set(Some(registered));
    });
    os.join().unwrap();
    let worker = worker.lock().unwrap().take().unwrap();
    assert!(!worker.is_alive());
    owner.stop();
    owner.join_till(&Till::after(DEADLINE)).expect("it has no child left").unwrap();
}
