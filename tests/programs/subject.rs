//! Programs for the tests that need a process of their own: `subject SCENARIO [CONFIG]`.
//!
//! Each says "ready" on stdout when a signal may come.

use crate::wait::until;
use selvedge::{Builder, Config, Queue, Restart, Runtime, Signal, StopOrder, Thread, Till, spawn, spawn_fallible};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

/// So long that only a test that has failed sees its end.
const LONG: Duration = Duration::from_secs(120);

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let config = args.next().map_or_else(|| Config::new("subject"), Config::from);
    // Its second signal comes at once.
    let config = if scenario == "stuck-end" { config.grace(Duration::ZERO) } else { config };
    match scenario.as_str() {
        "own-main" => return own_main(config),
        "register-on-panic" => return register_on_panic(),
        "stuck-log" | "stuck-end" => {
            log::set_boxed_logger(Box::new(StuckLogger)).expect("the first");
            log::set_max_level(log::LevelFilter::Info);
        }
        "rude-error" => return selvedge::run(config, |_| Err::<(), _>(RudeError)),
        _ => {}
    }
    let code = selvedge::run(config, |please_stop| match scenario.as_str() {
        "ok" => {
            log::info!("all is well");
            Ok(())
        }
        "error" => Err(std::fs::read("/there/is/no/such/file").unwrap_err().into()),
        "panic" => panic!("main is broken"),
        "child-panic" => {
            let child = spawn("child", |_| panic!("the child is broken"));
            child.thread().stopped().wait_for_go();
            Ok(())
        }
        "returned" => {
            let parent = Builder::new("parent").spawn_fallible(|_| spawn("child", |_| panic!("told once")).join())?;
            parent.join()?;
            Ok(())
        }
        "caught" => {
            let child = spawn("child", |_| drop(std::panic::catch_unwind(|| panic!("caught by the program"))));
            child.join()?;
            Ok(())
        }
        "child-error" => {
            drop(spawn_fallible("child", |please_stop| {
                please_stop.wait_for_go();
                Err::<(), _>("the child could not")
            }));
            Ok(())
        }
        "restarted" => {
            let policy = Restart::up_to(2).backoff(Duration::from_millis(1), Duration::from_secs(1));
            let mut attempt = 0;
            let client = Builder::new("client").restart(policy).spawn_fallible(move |_| {
                attempt += 1;
                Err::<(), _>(format!("refused, attempt {attempt}"))
            })?;
            client.thread().stopped().wait_for_go();
            Ok(())
        }
        "wait" => wait(please_stop),
        "join-only" => {
            let worker = spawn("worker", |please_stop| please_stop.wait_for_go());
            ready();
            worker.join()?;
            Ok(())
        }
        "left-exit" => {
            left()?;
            std::process::exit(3)
        }
        "target-of-main" => {
            please_stop.on_go(|| std::thread::sleep(LONG));
            ready();
            Ok(())
        }
        "target-of-child" => {
            let child = spawn("child", |please_stop| please_stop.wait_for_go());
            child.thread().please_stop().on_go(|| std::thread::sleep(LONG));
            ready();
            Ok(())
        }
        "target-of-stop" => {
            let child = spawn("child", |please_stop| please_stop.wait_for_go());
            child.thread().please_stop().on_go(|| std::thread::sleep(LONG));
            ready();
            child.stop();
            Ok(())
        }
        "target-of-stopped" => {
            let child = spawn("child", |please_stop| please_stop.wait_for_go());
            child.thread().stopped().on_go(|| std::thread::sleep(LONG));
            ready();
            Ok(())
        }
        "slow-to-stop" => {
            ready();
            please_stop.wait_for_go();
            println!("asked");
            (0..20).for_each(|_| std::thread::sleep(Duration::from_millis(50)));
            Ok(())
        }
        "order" => order(please_stop),
        "deaf" => deaf(please_stop),
        "stuck-main" => {
            ready();
            stuck(please_stop);
            Ok(())
        }
        "stuck-join" => Ok(spawn("stuck", stuck).join()?),
        "stuck-scope" => Ok(selvedge::scope(|s| s.spawn("stuck", stuck).join())?),
        "stuck-middle" => Ok(spawn("middle", |_| spawn("stuck", stuck).join().unwrap()).join()?),
        "stuck-beside" => {
            drop(spawn("stuck", stuck));
            // Also stuck itself, outside of this crate.
            std::thread::sleep(LONG);
            Ok(())
        }
        "stuck-many" => {
            (0..40).for_each(|number| drop(spawn(format!("stuck-{number}"), stuck)));
            please_stop.wait_for_go();
            Ok(())
        }
        "stuck-destructor" => {
            drop(spawn("leaving", |_| HANGS.with(|hangs| hangs.set(Some(Hangs)))));
            DESTROYS.wait_for_go();
            Ok(())
        }
        "stuck-destructor-joined" => Ok(spawn("leaving", |_| HANGS.with(|hangs| hangs.set(Some(Hangs)))).join()?),
        "one-is-stopped" => one_is_stopped(),
        "drain" => {
            ready();
            please_stop.wait_for_go();
            println!("drains");
            Signal::new("the drain").wait_for_go_timeout(Duration::from_millis(500));
            println!("drained");
            Ok(())
        }
        "asked" | "all-asked" => {
            let child = spawn("child", |please_stop| please_stop.wait_for_go());
            ready();
            please_stop.wait_for_go();
            // All would be asked at once. Where only `main` is, no condition tells that nothing comes.
            let enough = if scenario == "asked" { Duration::from_secs(1) } else { LONG };
            let is_asked = child.thread().please_stop().wait_for_go_timeout(enough);
            println!("the child was asked before main returned: {is_asked}");
            Ok(())
        }
        #[cfg(target_os = "linux")]
        "no-threads" => {
            spawn_deaf("stuck")?;
            forbid_threads();
            ready();
            please_stop.wait_for_go();
            Ok(())
        }
        "child-signals" => {
            println!("{}", signals_of_a_child());
            Ok(())
        }
        "impatient" => impatient(),
        "sluggish" => sluggish(),
        "log-panic" => log_panic(),
        "target-blocks" => target_blocks(),
        "left" => left(),
        "left-stuck" => {
            left()?;
            // It has a please_stop and does not look at it.
            drop(spawn("stuck", |_| std::thread::sleep(LONG)));
            Ok(())
        }
        "stuck-log" => {
            please_stop.on_go(|| println!("asked"));
            ready();
            Signal::never().wait_for_go();
            Ok(())
        }
        "stuck-end" => {
            wait(please_stop)?;
            println!("ends");
            Ok(())
        }
        other => Err(format!("no scenario \"{other}\"").into()),
    });
    match scenario.as_str() {
        "wait" => println!("run has returned"),
        "child-signals" => println!("{}", signals_of_a_child()),
        _ => {}
    }
    code
}

/// Does not look at its `please_stop`, in a call that no signal ends.
fn stuck(_: &Signal) {
    ready();
    std::thread::sleep(LONG);
}

struct Hangs;

impl Drop for Hangs {
    fn drop(&mut self) {
        ready();
        DESTROYS.go();
        std::thread::sleep(LONG);
    }
}

/// Goes when the destructor runs.
static DESTROYS: LazyLock<Signal> = LazyLock::new(|| Signal::new("destroys"));

thread_local!(static HANGS: std::cell::Cell<Option<Hangs>> = const { std::cell::Cell::new(None) });

/// A thread is asked to stop while the program goes on, and takes its time.
fn one_is_stopped() -> Result<(), Box<dyn Error>> {
    let go_on = Signal::new("go on");
    let until = go_on.clone();
    let slow = Builder::new("slow").patience(Duration::from_millis(50)).spawn(move |_| until.wait_for_go())?;
    slow.stop();
    let mut line = String::new();
    ready();
    // The test says when.
    std::io::stdin().read_line(&mut line)?;
    go_on.go();
    slow.join()?;
    Ok(())
}

/// The signals that a child process ignores and blocks.
fn signals_of_a_child() -> String {
    let mut child = std::process::Command::new("cat");
    let output = child.arg("/proc/self/status").output().expect("cat");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| line.starts_with("SigIgn") || line.starts_with("SigBlk"));
    lines.collect::<Vec<_>>().join(" ").replace('\t', " ")
}

/// From now on the system gives this process no thread.
#[cfg(target_os = "linux")]
fn forbid_threads() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid rlimit; the other takes a number. The limit does not hold for root,
    // which becomes another user.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const none), 0);
        if libc::getuid() == 0 {
            assert_eq!(libc::setuid(65534), 0);
        }
    }
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "a thread was to be had");
}

fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

/// Threads of several kinds, all of which stop when asked.
fn wait(please_stop: &Signal) -> Result<(), Box<dyn Error>> {
    let queue: Queue<u32> = Queue::bounded("jobs", 1);
    let jobs = queue.clone();
    drop(spawn("popper", move |please_stop| jobs.pop_till(please_stop).is_ok()));
    drop(spawn("parent", |please_stop| {
        drop(spawn("sleeper", |please_stop| (Till::after(LONG) | please_stop).wait_for_go()));
        please_stop.wait_for_go();
    }));
    drop(spawn("burner", |please_stop| {
        let mut sum = 0_u64;
        while !please_stop.is_go() {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }));
    ready();
    please_stop.wait_for_go();
    Ok(())
}

/// Logs when each thread stops.
fn order(please_stop: &Signal) -> Result<(), Box<dyn Error>> {
    let parent = Builder::new("parent").stop_order(StopOrder::OneByOne).spawn(|please_stop| {
        for name in ["oldest", "middle", "youngest"] {
            drop(spawn(name, |please_stop| {
                please_stop.wait_for_go();
                log::info!("ends");
            }));
        }
        please_stop.wait_for_go();
        log::info!("body ends");
    })?;
    until("three children", || parent.thread().children().len() == 3);
    drop(parent);
    ready();
    please_stop.wait_for_go();
    Ok(())
}

/// A thread that does not look at its `please_stop`, in a wait that has a name. It has a patience of its
/// own, so that a test may give `main` another one.
fn spawn_deaf(name: &str) -> std::io::Result<()> {
    let builder = Builder::new(name).patience(Duration::from_millis(50));
    let deaf = builder.spawn(|_| Signal::new("a bell").wait_for_go_timeout(LONG))?;
    until("it waits", || deaf.thread().waiting_for().is_some());
    Ok(())
}

fn deaf(please_stop: &Signal) -> Result<(), Box<dyn Error>> {
    spawn_deaf("deaf")?;
    ready();
    please_stop.wait_for_go();
    Ok(())
}

/// The first target waits for the second; a third one is due meanwhile.
fn target_blocks() -> Result<(), Box<dyn Error>> {
    let done = Signal::new("inner done");
    Till::after(Duration::from_millis(50)).on_go(move || {
        let inner = done.clone();
        Till::after(Duration::from_millis(50)).on_go(move || {
            inner.go();
        });
        done.wait_for_go();
    });
    let other = Signal::new("other");
    let goes = other.clone();
    Till::after(Duration::from_millis(200)).on_go(move || {
        goes.go();
    });
    println!("the other has run: {}", other.wait_for_go_timeout(LONG));
    Ok(())
}

/// The slowest thread ends first, and six prompt threads after it.
fn sluggish() -> Result<(), Box<dyn Error>> {
    let pool = Builder::new("pool").stop_order(StopOrder::OneByOne).spawn(|_| {
        for number in 0..6 {
            drop(spawn(format!("prompt-{number}"), |please_stop| please_stop.wait_for_go()));
        }
        drop(spawn("sluggish", |please_stop| {
            please_stop.wait_for_go();
            // What makes it the slowest.
            std::thread::sleep(Duration::from_millis(700));
        }));
    })?;
    pool.join()?;
    Ok(())
}

/// Two children take their time to stop, until the test has seen a report. One of them was to be quick.
fn impatient() -> Result<(), Box<dyn Error>> {
    let is_reported = Signal::new("is reported");
    let take_time = |goes_on: Signal| {
        move |please_stop: &Signal| {
            please_stop.wait_for_go();
            goes_on.wait_for_go();
            let has_taken = || Thread::current().stop_latency() >= Some(Duration::from_secs(1));
            until("a second", has_taken);
        }
    };
    drop(spawn("unhurried", take_time(is_reported.clone())));
    // The youngest is waited for first.
    let quick = Builder::new("quick").patience(Duration::from_millis(20));
    drop(quick.spawn(take_time(is_reported.clone()))?);
    // Not of the tree, so that nothing waits for it.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        is_reported.go();
    });
    Ok(())
}

/// Values that no thread pops: in a queue that is dropped, in a leaked queue, in a queue that may
/// keep them.
fn left() -> Result<(), Box<dyn Error>> {
    static HELD: OnceLock<Queue<u8>> = OnceLock::new();
    let (dropped, ticks) = (Queue::unbounded("dropped"), Queue::unbounded("ticks").may_be_left());
    dropped.extend([1, 2, 3])?;
    ticks.extend([1, 2, 3])?;
    HELD.get_or_init(|| Queue::unbounded("held")).extend([1, 2])?;
    Ok(())
}

/// A panic while the record is being formatted, with the appender's lock held.
fn log_panic() -> Result<(), Box<dyn Error>> {
    struct Rude;
    impl std::fmt::Display for Rude {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no text for you")
        }
    }
    let child = spawn("rude", |_| log::info!("{Rude}"));
    let failure = child.join().unwrap_err();
    log::info!("survived: {failure}");
    Ok(())
}

/// Hangs as soon as something is wrong, with stderr locked as by a writer to a full pipe.
struct StuckLogger;

impl log::Log for StuckLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn || record.target() == "selvedge::stopping" {
            let _stderr = std::io::stderr().lock();
            Signal::never().wait_for_go();
        }
    }

    fn flush(&self) {}
}

/// Its text cannot be had.
struct RudeError;

impl std::fmt::Display for RudeError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no text for you")
    }
}

/// The first thing that this program asks of the crate is asked during a panic.
fn register_on_panic() -> ExitCode {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            drop(selvedge::register("late"));
        }
    }
    let panicked = std::panic::catch_unwind(|| {
        let _late = Late;
        panic!("on purpose");
    });
    let failure = spawn("child", |_| panic!("also")).join().unwrap_err();
    assert!(panicked.is_err() && failure.location().is_some());
    ExitCode::SUCCESS
}

/// A program that keeps its own main.
fn own_main(config: Config) -> ExitCode {
    let refused = spawn("inside", |_| Runtime::start(Config::new("inside")).map(drop).unwrap_err().to_string());
    assert_eq!(
        refused.join().unwrap(),
        "this thread is main/inside; the runtime starts on the thread that is to be main"
    );
    let runtime = match Runtime::start(config) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(78);
        }
    };
    let second = Runtime::start(Config::new("second")).map(drop).unwrap_err();
    assert!(second.is_already_running(), "{second}");
    let root = Thread::current();
    assert_eq!(root.path(), "main");
    drop(spawn("worker", |please_stop| please_stop.wait_for_go()));
    runtime.shutdown().unwrap();
    assert!(!root.is_alive());

    // What hangs on the old main goes with it, and may ask which thread is main now.
    struct Asks;
    impl Drop for Asks {
        fn drop(&mut self) {
            assert!(Thread::current().is_alive());
            println!("asked which thread is main");
        }
    }
    let asks = Asks;
    root.child_failed().on_go(move || drop(asks));
    drop(root);

    // The place is free again, and main is a new one.
    let runtime = Runtime::start(Config::new("third")).unwrap();
    assert!(Thread::current().is_alive() && !Thread::current().please_stop().is_go());
    drop(spawn("unlucky", |_| panic!("on purpose")));
    let failure = runtime.shutdown().unwrap_err();
    assert_eq!(failure.children()[0].message(), "on purpose");
    println!("own main is done");
    ready();
    // With no runtime, a signal does what it does to any program.
    std::thread::sleep(LONG);
    ExitCode::SUCCESS
}
