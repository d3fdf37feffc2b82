//! How the programs of `log_subject` end while they log: killed, aborted, forked, at a thread's
//! exit.

use crate::log_subject::{log_much, log_some};
#[cfg(unix)]
use crate::wait::until;
use selvedge::{Signal, logging, spawn};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

/// A child of a fork, made while the writer is within a sink, logs more than the queue has room
/// for.
#[cfg(unix)]
pub(crate) fn fork_and_log_much() -> Result<(), Box<dyn Error>> {
    // The writer is in the sink that hangs, or about to be.
    until("stdout is full", || !can_be_written(1));
    // The child has the lock of the standard library's stderr, and no thread that gives it back.
    let (held, is_held) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _stderr = std::io::stderr().lock();
        let _ = held.send(());
        std::thread::sleep(Duration::from_secs(600));
    });
    is_held.recv()?;
    // SAFETY: as in `fork`.
    let id = unsafe { libc::fork() };
    if id == 0 {
        log_much();
        logging::flush();
        // By `exit`, so that it tells what it has lost.
        std::process::exit(0);
    }
    let mut status = 0;
    // SAFETY: `status` is writable; `id` is our child.
    assert_eq!(unsafe { libc::waitpid(id, &raw mut status, 0) }, id);
    assert_eq!(status, 0, "the child has not left by itself");
    std::process::exit(7)
}

/// A write to the descriptor would not block.
#[cfg(unix)]
fn can_be_written(descriptor: libc::c_int) -> bool {
    let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, which can be written.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    assert!(ready >= 0, "{}", std::io::Error::last_os_error());
    ready > 0
}

#[cfg(not(unix))]
pub(crate) fn fork_and_log_much() -> Result<(), Box<dyn Error>> {
    Ok(())
}

/// Four threads that log, flush, and say in another file what is safe now; until the process is
/// killed.
pub(crate) fn until_killed(please_stop: &Signal, acknowledged: &str) -> Result<(), Box<dyn Error>> {
    let mut threads = Vec::new();
    for name in 0..4 {
        let mut safe = OpenOptions::new().append(true).create(true).open(acknowledged)?;
        threads.push(spawn(format!("logger-{name}"), move |please_stop| {
            for number in 0_u32.. {
                log::info!("record {name} {number} end");
                if number % 50 == 49 {
                    logging::flush();
                    // One write, which an end of the process does not tear.
                    let _ = safe.write_all(format!("{name} {}\n", number + 1).as_bytes());
                }
                if please_stop.is_go() {
                    break;
                }
            }
        }));
    }
    println!("ready");
    std::io::stdout().flush()?;
    if let Some(micros) = std::env::var_os("EXIT_AFTER") {
        std::thread::sleep(Duration::from_micros(micros.to_str().ok_or("a number")?.parse()?));
        std::process::exit(7);
    }
    please_stop.wait_for_go();
    if std::env::var_os("STUBBORN").is_some() {
        // A second signal ends it here.
        selvedge::Signal::new("forever").wait_for_go();
    }
    Ok(())
}

pub(crate) fn log_while_others_log() {
    let begun = selvedge::Progress::new("begun");
    for name in 0..3 {
        let begun = begun.clone();
        drop(spawn(format!("logger-{name}"), move |_| {
            for number in 0_u32.. {
                log::info!("record {name} {number} end");
                if number == 1000 {
                    begun.advance(1);
                }
            }
        }));
    }
    begun.wait_for(3);
    log_some();
}

/// A panic while another one unwinds: the process aborts, and the hook is the last that runs.
pub(crate) fn double_panic() -> Result<(), Box<dyn Error>> {
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            // More than the writer can write before the process is gone.
            for number in 0..8000 {
                log::info!("late {number} end");
            }
            panic!("the second panic");
        }
    }
    log_some();
    let _again = Again;
    panic!("the first panic");
}

#[cfg(unix)]
pub(crate) fn fork() -> Result<(), Box<dyn Error>> {
    let busy = spawn("busy", |please_stop| {
        let mut number = 0;
        while !please_stop.is_go() {
            log::info!("busy {number} end");
            number += 1;
        }
        log::info!("busy total {number} end");
    });
    for child in 0..20 {
        log::info!("before fork {child} end");
        // SAFETY: the child only logs and leaves; it shares only our own locks and the allocator's,
        // and both are made ready for a fork.
        let id = unsafe { libc::fork() };
        if id == 0 {
            for number in 0..10 {
                log::info!("child {child} {number} end");
            }
            // SAFETY: ends the child without the parent's destructors; has no preconditions.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: `status` is writable; `id` is our child.
        assert_eq!(unsafe { libc::waitpid(id, &raw mut status, 0) }, id);
        assert_eq!(status, 0, "the child has not left by itself");
    }
    busy.stop();
    busy.join()?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn fork() -> Result<(), Box<dyn Error>> {
    Ok(())
}

/// Logs while the thread-locals of the thread are being destroyed, its MDC among them.
pub(crate) fn thread_exit() -> Result<(), Box<dyn Error>> {
    struct Late(&'static str);
    impl Drop for Late {
        fn drop(&mut self) {
            log::info!("late from {} end", self.0);
        }
    }
    /// Takes a dump and catches a panic when the time zone and the context of the thread are gone.
    struct Demanding;
    impl Drop for Demanding {
        fn drop(&mut self) {
            let dump = selvedge::dump().to_string();
            let caught = std::panic::catch_unwind(|| panic!("in a destructor")).is_err();
            log::info!("demanding {} {caught} end", dump.starts_with("dump of process"));
        }
    }
    thread_local! {
        static DEMANDING: Demanding = const { Demanding };
        static BEFORE: Late = const { Late("before") };
        static AFTER: Late = const { Late("after") };
    }
    for _ in 0..50 {
        spawn("leaver", |_| {
            BEFORE.with(|_| ());
            log_mdc::insert("key", "value");
            log::info!("while it lives end");
            AFTER.with(|_| ());
        })
        .join()?;
        // A thread that has never logged before.
        spawn("silent", |_| {
            BEFORE.with(|_| ());
            log_mdc::insert("key", "value");
        })
        .join()?;
    }
    // Not of the tree: there a panic behind the body is told as the end of the process.
    let foreign = std::thread::spawn(|| {
        DEMANDING.with(|_| ());
        log_mdc::insert("key", "value");
        log::info!("a dump of {} bytes end", selvedge::dump().to_string().len());
    });
    foreign.join().map_err(|_| "a panic")?;
    Ok(())
}
