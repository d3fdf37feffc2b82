//! Programs for the tests of the log: `log_subject SCENARIO CONFIG [ACKNOWLEDGED]`. What a scenario
//! has flushed it tells in the file ACKNOWLEDGED, a line "thread count" each time.

use crate::log_ends::{double_panic, fork, fork_and_log_much, log_while_others_log, thread_exit, until_killed};
use selvedge::{Config, Signal, logging, spawn};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [scenario, config, more @ ..] = &args[..] else { return ExitCode::from(2) };
    let acknowledged = more.first().cloned().unwrap_or_default();
    if scenario == "unwound-abort" {
        std::panic::set_hook(Box::new(|_| ()));
    }
    match scenario.as_str() {
        "deadlocked-writer" | "waiting-writer" => waiting::install_logger(),
        other if other.starts_with("own-logger") => install_deaf_logger(),
        "hung-logger-and-a-held-failure" => install_hung_logger(),
        other if other.starts_with("broken-logger") => install_broken_logger(),
        _ => {}
    }
    #[cfg(unix)]
    if scenario.starts_with("exit") {
        extern "C" fn last_word() {
            log::info!("an exit handler's last word");
        }
        // Before the log's own, and so run after it.
        // SAFETY: the function stays valid, and does nothing that an exit handler may not.
        unsafe { libc::atexit(last_word) };
    }
    selvedge::run(Config::from(config.as_str()), |please_stop| match scenario.as_str() {
        "until-killed" => until_killed(please_stop, &acknowledged),
        "exit" => {
            log_some();
            std::process::exit(7)
        }
        "exit-in-thread" => {
            drop(spawn("leaver", |_| {
                log_some();
                std::process::exit(7)
            }));
            please_stop.wait_for_go();
            Ok(())
        }
        "abort" => {
            log_some();
            std::process::abort()
        }
        "wait" => {
            log_some();
            please_stop.wait_for_go();
            Ok(())
        }
        "moves" => {
            std::env::set_current_dir("elsewhere")?;
            log_some();
            please_stop.wait_for_go();
            // Long enough to be worth a picture, also where the watch of the stop gets no processor for long.
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        }
        "hang-end" => {
            log_much();
            Ok(())
        }
        "hang-thread" => {
            drop(spawn("talker", |_| log_much()));
            Ok(())
        }
        "hang-exit" => {
            log_much();
            std::process::exit(7)
        }
        "hang-abort" => {
            log_much();
            std::process::abort()
        }
        "hang-fork" => {
            log_much();
            fork_and_log_much()
        }
        "abort-while-others-log" => {
            log_while_others_log();
            std::process::abort()
        }
        "exit-while-others-log" => {
            log_while_others_log();
            std::process::exit(7)
        }
        "abort-after-a-rest" => {
            // The writer sleeps by now; what wakes it is the one record.
            std::thread::sleep(Duration::from_millis(50));
            log::info!("some 0 end");
            std::process::abort()
        }
        "panic" => {
            log_some();
            panic!("the only panic")
        }
        "panic-in-thread" => {
            drop(spawn("panicker", |_| {
                log_some();
                panic!("the only panic")
            }));
            please_stop.wait_for_go();
            Ok(())
        }
        "panic-outside-the-tree" => {
            log_some();
            let _panicked = std::thread::spawn(|| panic!("the only panic")).join();
            Ok(())
        }
        "double-panic" => double_panic(),
        "fork" => fork(),
        "thread-exit" => thread_exit(),
        "many" => many(),
        "steady" => {
            for number in 0.. {
                log::info!("record 0 {number} end");
                if please_stop.wait_for_go_timeout(Duration::from_millis(1)) {
                    println!("{} records", number + 1);
                    break;
                }
            }
            Ok(())
        }
        #[cfg(unix)]
        "file-limit" => file_limit(please_stop),
        "stdout-held" => stdout_held(),
        "stdout-held-by-a-joined-thread" => {
            let holder = spawn("holder", |_| stdout_held().map_err(|error| error.to_string()));
            holder.join()??;
            Ok(())
        }
        "stderr-held-at-exit" => {
            let mut stderr = std::io::stderr().lock();
            log::error!("the input is bad");
            writeln!(stderr, "usage")?;
            std::process::exit(7)
        }
        "stderr-held-by-a-deaf-thread" => {
            let held = selvedge::Signal::new("held");
            let take = held.clone();
            drop(spawn("deaf", move |_| {
                let _stderr = std::io::stderr().lock();
                take.go();
                std::thread::sleep(Duration::from_secs(600));
            }));
            held.wait_for_go();
            Ok(())
        }
        "stderr-held-at-a-failure" => {
            // Never given back, so that the report of the runtime finds it held.
            std::mem::forget(std::io::stderr().lock());
            Err("the only failure".into())
        }
        "prints-and-logs" => prints_and_logs(),
        "levels" => {
            log::error!("an error end");
            log::warn!("a warning end");
            log::info!("an information end");
            Ok(())
        }
        "deadlocked-writer" => waiting::for_a_lock_of_ours(),
        "waiting-writer" => waiting::for_a_lock_of_std(),
        "own-logger-panic" | "panic-in-a-joined-thread" => {
            let _failure = spawn("panicker", |_| panic!("the only panic")).join();
            Ok(())
        }
        "own-logger-stuck" => {
            let _tracked = spawn("deaf", |_| std::thread::sleep(Duration::from_secs(600)));
            Ok(())
        }
        "own-logger-deadlock" => deadlock(),
        "own-logger-released" => {
            selvedge::spawn_fallible("released", |_| Err::<(), _>("the only failure")).release();
            Ok(())
        }
        "hung-logger-and-a-held-failure" => {
            let _held = selvedge::spawn_fallible("held", |_| Err::<(), _>("out of paper"));
            HUNG.wait_for_go();
            let _tracked = spawn("deaf", |_| std::thread::sleep(Duration::from_secs(600)));
            Ok(())
        }
        "broken-logger-at-the-end" => {
            let child = selvedge::spawn_fallible("child", |_| Err::<(), _>("out of paper"));
            child.thread().stopped().wait_for_go();
            BROKEN.store(true, Ordering::SeqCst);
            Ok(())
        }
        "broken-logger-after-success" => {
            BROKEN.store(true, Ordering::SeqCst);
            Ok(())
        }
        "broken-logger-after-an-error" => {
            BROKEN.store(true, Ordering::SeqCst);
            Err("out of ink".into())
        }
        "broken-logger-at-a-call" => {
            let child = spawn("child", |_| {
                BROKEN.store(true, Ordering::SeqCst);
                log::info!("a line of the program's own");
            });
            let failure = child.join().expect_err("its logger panics");
            BROKEN.store(false, Ordering::SeqCst);
            println!("the joiner has the panic: {}", failure.is_panic());
            Err(failure.into())
        }
        "broken-logger-in-a-target" => {
            broken_logger_in_a_target();
            Ok(())
        }
        other => Err(format!("no scenario \"{other}\"").into()),
    })
}

/// The logger panics from now on.
static BROKEN: AtomicBool = AtomicBool::new(false);

/// A logger of the program's own that panics as `println!` does when the reader of stdout is gone.
fn install_broken_logger() {
    struct Broken;
    impl log::Log for Broken {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, _: &log::Record<'_>) {
            assert!(!BROKEN.load(Ordering::SeqCst), "failed printing to stdout");
        }
        fn flush(&self) {}
    }
    log::set_max_level(log::LevelFilter::Info);
    log::set_logger(&Broken).expect("the first logger");
}

/// A target panics while the logger is broken. Another thread cancels it then.
fn broken_logger_in_a_target() {
    let bell = Signal::new("bell");
    let target = bell.on_go(|| {
        BROKEN.store(true, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("the target is broken"));
    });
    // Not of the tree: nothing here depends on how its panic is told.
    let rings = std::thread::spawn(move || bell.go());
    let _ = rings.join();
    println!("the target was cancelled: {}", target.cancel());
    BROKEN.store(false, Ordering::SeqCst);
}

/// A thread hangs in the logger.
static HUNG: std::sync::LazyLock<selvedge::Signal> = std::sync::LazyLock::new(|| selvedge::Signal::new("hung"));

/// A logger of the program's own that hangs at the first error.
fn install_hung_logger() {
    struct Hung;
    impl log::Log for Hung {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.level() == log::Level::Error {
                HUNG.go();
                std::thread::sleep(Duration::from_secs(600));
            }
        }
        fn flush(&self) {}
    }
    log::set_max_level(log::LevelFilter::Info);
    log::set_logger(&Hung).expect("the first logger");
}

/// A logger of the program's own that takes nothing.
fn install_deaf_logger() {
    struct Deaf;
    impl log::Log for Deaf {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            false
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    static DEAF: Deaf = Deaf;
    log::set_max_level(log::LevelFilter::Info);
    log::set_logger(&DEAF).expect("the first logger");
}

/// The idiom for fast output, with more records than the queue has room for.
fn stdout_held() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for number in 0..20_000 {
        writeln!(out, "result {number} end")?;
        log::info!("record 0 {number} end");
    }
    Ok(())
}

/// Logs more than the limit of a file's size allows. Lifts the limit when it is asked to stop, if
/// LIFT is set. Exits at once if EXIT is set.
#[cfg(unix)]
fn file_limit(please_stop: &Signal) -> Result<(), Box<dyn Error>> {
    let limit = |soft: libc::rlim_t| {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: `limit` is readable.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    };
    limit(64 * 1024);
    for number in 0..6000 {
        log::info!("record 0 {number} end");
    }
    logging::flush();
    println!("flushed");
    if std::env::var_os("EXIT").is_some() {
        std::process::exit(7);
    }
    please_stop.wait_for_go();
    if std::env::var_os("LIFT").is_some() {
        limit(libc::RLIM_INFINITY);
    }
    Ok(())
}

/// Two threads that print whole lines, and two that log.
fn prints_and_logs() -> Result<(), Box<dyn Error>> {
    selvedge::scope(|s| {
        for name in 0..2 {
            let _tracked = s.spawn(format!("printer-{name}"), move |_| {
                for number in 0..5_000 {
                    println!("printed {name} {number} end");
                }
            });
            let _tracked = s.spawn(format!("logger-{name}"), move |_| {
                for number in 0..5_000 {
                    log::info!("record {name} {number} end");
                }
            });
        }
    });
    Ok(())
}

/// Two threads that wait for each other.
fn deadlock() -> Result<(), Box<dyn Error>> {
    let (one, two) = (selvedge::Lock::new("one", ()), selvedge::Lock::new("two", ()));
    let (one, two) = (std::sync::Arc::new(one), std::sync::Arc::new(two));
    let met = selvedge::Progress::new("met");
    for (name, first, second) in [("left", one.clone(), two.clone()), ("right", two, one)] {
        let met = met.clone();
        drop(spawn(name, move |_| {
            let _first = first.lock();
            met.advance(1);
            met.wait_for(2);
            drop(second.lock());
        }));
    }
    selvedge::Signal::new("forever").wait_for_go();
    Ok(())
}

/// A writer that waits, within an appender of the program, for what the thread that logs holds.
mod waiting {
    use std::error::Error;
    use std::sync::{LazyLock, Mutex};

    use log4rs::append::Append;
    use selvedge::Lock;
    use selvedge::logging::Queued;

    static OURS: LazyLock<Lock<()>> = LazyLock::new(|| Lock::new("ours", ()));
    static OF_STD: Mutex<()> = Mutex::new(());

    #[derive(Debug)]
    struct Waits;

    impl Append for Waits {
        fn append(&self, record: &log::Record<'_>) -> anyhow::Result<()> {
            match record.args().to_string().as_str() {
                "for ours" => drop(OURS.lock()),
                "for std's" => drop(OF_STD.lock()),
                _ => {}
            }
            Ok(())
        }

        fn flush(&self) {}
    }

    pub(super) fn install_logger() {
        let queued = Queued::builder().capacity(4).appender("waits", Waits).build().expect("a thread");
        let appender = log4rs::config::Appender::builder().build("out", Box::new(queued));
        let root = log4rs::config::Root::builder().appender("out").build(log::LevelFilter::Info);
        let config = log4rs::Config::builder().appender(appender).build(root).expect("a config");
        log4rs::init_config(config).expect("the first logger");
    }

    pub(super) fn for_a_lock_of_ours() -> Result<(), Box<dyn Error>> {
        let _ours = OURS.lock();
        loop {
            log::info!("for ours");
        }
    }

    pub(super) fn for_a_lock_of_std() -> Result<(), Box<dyn Error>> {
        let _of_std = OF_STD.lock();
        loop {
            log::info!("for std's");
        }
    }
}

pub(crate) fn log_some() {
    for number in 0..1000 {
        log::info!("some {number} end");
    }
}

/// More than a pipe without a reader holds: the writing thread hangs.
pub(crate) fn log_much() {
    for number in 0..6000 {
        log::info!("much {number} and a text of some length, so that it will not fit into the pipe end");
    }
}

/// Eight threads with 25,000 numbered records each, as fast as they can.
fn many() -> Result<(), Box<dyn Error>> {
    let threads: Vec<_> = (0..8)
        .map(|name| {
            spawn(format!("logger-{name}"), move |_| {
                for number in 0..25_000 {
                    match number % 10 {
                        0 => log::warn!("record {name} {number} end"),
                        _ => log::info!("record {name} {number} end"),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join()?;
    }
    Ok(())
}
