//! A program in which another library takes a signal of the runtime's, for
//! tests/processes/taken_signals.rs: `taking SCENARIO [CONFIG]`.

use selvedge::{Config, Runtime, Signal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

static CAME: AtomicU32 = AtomicU32::new(0);

/// Does not call the handler before it.
extern "C" fn takes_it(_: libc::c_int) {
    CAME.fetch_add(1, Ordering::SeqCst);
}

fn set(signal: libc::c_int, handler: usize) {
    // SAFETY: the handler is a function of this program that only adds to an atomic, or one of the
    // two constants.
    unsafe { libc::signal(signal, handler) };
}

fn function() -> usize {
    takes_it as extern "C" fn(libc::c_int) as usize
}

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let config = args.next().map_or_else(|| Config::new("taking"), Config::from);
    let config = if scenario == "off" { config.log_off() } else { config };
    if scenario.starts_with("before") {
        set(libc::SIGINT, function());
    }
    if scenario == "before-and-after" {
        // No runtime is up when it comes: the program's handler has it alone.
        Runtime::start(config).expect("a runtime").shutdown().expect("a good end");
        // SAFETY: the handler only adds to an atomic.
        unsafe { libc::raise(libc::SIGINT) };
        println!("came {}", CAME.load(Ordering::SeqCst));
        return ExitCode::SUCCESS;
    }
    let hook = || {
        let hooked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(libc::SIGINT, hooked).expect("a handler");
    };
    // What a second runtime finds, or the first one after another user of signal-hook.
    if scenario.starts_with("between") {
        Runtime::start(Config::new("earlier")).expect("a runtime").shutdown().expect("a good end");
    }
    match scenario.as_str() {
        "between" => set(libc::SIGINT, function()),
        "between-default" => set(libc::SIGINT, libc::SIG_DFL),
        "between-ignored" => set(libc::SIGINT, libc::SIG_IGN),
        "between-abort" => set(libc::SIGABRT, function()),
        "hooked" => {
            hook();
            set(libc::SIGINT, function());
        }
        _ => {}
    }
    let code = selvedge::run(config, |please_stop: &Signal| {
        match scenario.as_str() {
            "handled" | "off" | "at-the-end" => set(libc::SIGINT, function()),
            "ignored" => set(libc::SIGINT, libc::SIG_IGN),
            "default" => set(libc::SIGTERM, libc::SIG_DFL),
            "dump" => set(libc::SIGUSR1, function()),
            "abort" => set(libc::SIGABRT, function()),
            // Another user of the crate that the runtime uses shares its handler.
            "shared" => hook(),
            "before" | "hooked" => {}
            between if between.starts_with("between") => {}
            other => panic!("no scenario \"{other}\""),
        }
        if scenario == "at-the-end" {
            return;
        }
        println!("ready");
        please_stop.wait_for_go();
    });
    println!("came {}", CAME.load(Ordering::SeqCst));
    code
}
