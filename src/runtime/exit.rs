//! Ends of the process that are not a return from `main`, and the reports that are made then.
//! Nothing here may wait without a limit: the log or a thread may hang.

#[cfg(unix)]
use super::exit_codes::INTERRUPTED;
use super::exit_codes::STUCK;
use super::reserve::{self, Job, LAST_WORDS, run_within};
use super::{inspection, last_profile, left};
use crate::dump::Dump;
use crate::os::console::{self, Stream};
pub(super) use crate::os::tell::say;
use crate::os::tell::{remark, was_logged};
use crate::thread::leaving::Leaving;
use crate::thread::{Failure, Thread, roots};
use crossbeam_channel::{Receiver, bounded, never, select};
use log::Level;
use std::convert::Infallible;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time limit for the final dump, stacks included.
pub(super) const DUMP_PATIENCE: Duration = Duration::from_secs(3);

/// A dump that takes longer than this is announced: a report that comes late is of no use.
const PROMPT: Duration = Duration::from_millis(300);

/// Returns `true` if a report on stderr is to be coloured: stderr is a terminal with colours, and
/// the environment does not refuse them (no-color.org).
pub(super) fn is_coloured() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    console::is_terminal(Stream::Stderr)
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What to do about a failure whose text shows that the program could not install its own logger;
/// empty for others.
pub(super) fn hint(report: &str) -> &'static str {
    // Of an error that was boxed by another crate, as tracing-subscriber does it, only the text can
    // be had.
    const TEXTS: [&str; 2] =
        ["attempted to set a logger after the logging system was already initialized", "SetLoggerError"];
    if !crate::log::is_installed() || !TEXTS.iter().any(|text| report.contains(text)) {
        return "";
    }
    "\nthe runtime has installed its logger before main was called: for a logger or subscriber of your own \
     write `log: own` in the YAML, or call Config::log_own()"
}

/// Starts to make a dump, aside: to find the names on the stacks may take long on a machine that is
/// busy.
pub(super) fn start_dump() -> Receiver<Dump> {
    let (done, wait) = bounded(1);
    let body = move || {
        let _ = done.send(crate::dump::dump());
    };
    // Without a thread for it `wait` is disconnected, which its user sees.
    let _ = reserve::run("main/selvedge/dump", body);
    wait
}

/// Why there is no dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoDump {
    TakesLong,
    /// The system gives no thread to make it.
    NoThread,
    /// It is not needed any more.
    IsOver,
}

/// Waits for a dump for [`DUMP_PATIENCE`], or until `is_over` is disconnected. If the dump is not
/// there promptly, calls `announce` first.
pub(super) fn wait_for_dump(
    dumping: &Receiver<Dump>,
    is_over: &Receiver<Infallible>,
    announce: impl FnOnce(),
) -> Result<Dump, NoDump> {
    let wait = |patience| {
        select! {
            recv(dumping) -> dump => dump.map_err(|_| NoDump::NoThread),
            recv(is_over) -> _ => Err(NoDump::IsOver),
            default(patience) => Err(NoDump::TakesLong),
        }
    };
    match wait(PROMPT) {
        Err(NoDump::TakesLong) => {
            announce();
            wait(DUMP_PATIENCE - PROMPT)
        }
        result => result,
    }
}

/// Reports the threads that do not stop, each with everything that is known of the reason.
pub(super) fn report_stuck(reports: Vec<String>) {
    reports.into_iter().for_each(|report| tell_aside("stuck", Level::Warn, report));
}

/// Logs `text` on a thread of its own, because the log may be the very thing that `text` is about.
/// What the log does not take in time, or filters out, goes to stderr.
pub(super) fn tell_aside(thread: &str, level: Level, text: String) {
    let for_log = text.clone();
    let log = move || {
        let logged = was_logged(|| log::log!(level, "{for_log}"));
        log::logger().flush();
        logged
    };
    match run_within(thread, LAST_WORDS, log) {
        Some(true) => {}
        Some(false) => remark(&format!("selvedge: {text}")),
        None => remark(&format!("selvedge: {text}\n  (the log does not take this in time)")),
    }
}

/// Reports a thread whose function has returned and which the system still has. Called by
/// `thread/leaving.rs`, on the thread that joins it; `lifecycle.rs` has installed it there.
pub(super) fn report_leaving(leaving: &Leaving) {
    report_stuck(vec![format!("the runtime waits to join a thread: {leaving}")]);
}

/// With `shutdown.on_stuck: abort`, ends the process because of such a thread. While the program
/// goes on, the thread is only reported. Called as [`report_leaving`] is.
pub(super) fn abort_leaving(leaving: &Leaving) {
    if !roots::root().please_stop.is_go() {
        return report_leaving(leaving);
    }
    let dumping = start_dump();
    end(&format!("{leaving}; shutdown.on_stuck is abort{}", write_profile()), None, &dumping, STUCK)
}

pub(super) fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["\n  ", line]).collect()
}

/// The threads that have not stopped, `stuck` first; with stacks, if `dumping` has found their
/// names in time.
fn left(why: &str, stuck: Option<&Thread>, dumping: &Receiver<Dump>) -> String {
    let announce = || tell_aside("announce", Level::Error, format!("{why}; the stacks are being looked for"));
    let (dump, no_stacks) = match wait_for_dump(dumping, &never(), announce) {
        Ok(dump) => (dump, ""),
        Err(_) => (Dump::without_stacks(), "\n  (their stacks were not found in time)"),
    };
    let first = stuck.map_or_else(|| "; ".to_owned(), |stuck| format!(":{}\n", indented(&dump.explain(stuck))));
    format!("{first}not stopped:{}{no_stacks}", indented(&dump.living()))
}

/// Tells in the log and on stderr which threads are left, and ends the process. Nothing more runs.
pub(super) fn at_once(why: &str, code: u8) -> ! {
    end(why, None, &start_dump(), code)
}

fn end(why: &str, stuck: Option<&Thread>, dumping: &Receiver<Dump>, code: u8) -> ! {
    let text = format!("{why}{}{}", left(why, stuck, dumping), indented(&left::lines()));
    // On threads of their own, since an appender may be the very thing that hangs, and it may hold
    // stderr.
    let (done, wait) = mpsc::channel();
    let for_stderr = text.clone();
    let first_line = text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned();
    let words: [(&str, Job); 2] = [
        ("main/selvedge/last-words", Box::new(move || say(&format!("selvedge: {for_stderr}")))),
        (
            "main/selvedge/last-log",
            Box::new(move || {
                // A console has it from stderr already.
                let is_console = crate::log::is_console();
                log::error!("{}", if is_console { &first_line } else { &text });
                log::logger().flush();
            }),
        ),
    ];
    let deadline = Instant::now() + LAST_WORDS;
    let mut spoken = 0;
    for (name, speak) in words {
        let said = done.clone();
        let body = move || {
            speak();
            let _ = said.send(());
        };
        match reserve::run(name, body) {
            Ok(()) => spoken += 1,
            // No thread at all, and both of the reserve hang. Nothing ends in silence: stderr may
            // hang as well, and is tried.
            Err(body) if spoken == 0 => {
                body();
                spoken += 1;
            }
            Err(_) => {}
        }
    }
    for _ in 0..spoken {
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
    inspection::forget();
    // Others still log: the end must not come in the middle of the writer's line.
    crate::log::begin_exit();
    now(code)
}

#[cfg(unix)]
fn now(code: u8) -> ! {
    die_as(code);
    // Not std::process::exit: it runs destructors that may wait for threads that do not stop.
    signal_hook::low_level::exit(i32::from(code))
}

#[cfg(not(unix))]
fn now(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

/// Ends the process by SIGINT, if `code` is the exit code that stands for it. A shell that runs a
/// script or a loop goes on after any exit code, and stops after this; it shows 130 in both cases.
/// Called at the very end of the process by the function that `os/inherit.rs` has given to
/// `on_exit`.
#[cfg(unix)]
pub(super) fn die_as(code: u8) {
    // The kernel does not let the first process of a namespace die of a signal that it sends
    // itself, and signal-hook aborts then.
    if code == INTERRUPTED && std::process::id() != 1 {
        // It returns only if it fails; then the exit code says it.
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGINT);
    }
}

/// `shutdown.on_stuck: abort`. The profile is written, since it shows how it came to this.
pub(super) fn abort_stuck(thread: &Thread, waited: Duration, others: &str) -> ! {
    // Made while the profile is written: finding the names on the stacks may take long.
    let dumping = start_dump();
    let unwritten = write_profile();
    let path = thread.path();
    let why = format!("{path} does not stop, and shutdown.on_stuck is abort, after {waited:.1?}{others}{unwritten}");
    end(&why, Some(thread), &dumping, STUCK)
}

/// The same because of a target of `on_go` that blocks: `what` says which.
pub(super) fn abort_target(what: &str) -> ! {
    let dumping = start_dump();
    let unwritten = write_profile();
    end(&format!("{what}, and shutdown.on_stuck is abort{unwritten}"), None, &dumping, STUCK)
}

/// Before the process aborts because of a panic: what the end in order would have said and written.
/// `failure` is the panic, if a runtime is up. Called by the panic hook in `thread/panic.rs`, where
/// `lifecycle.rs` has installed it.
pub(super) fn before_abort(failure: Option<&Failure>) {
    if let Some(failure) = failure {
        remark(&format!("selvedge: a panic aborts the process\n{}", failure.report(is_coloured())));
    }
    if !last_profile::snapshot_in_time() {
        remark("selvedge: the profile was not written in time");
    }
    crate::log::flush_in_time();
}

/// Returns what is to be said of it: nothing, if it was written.
fn write_profile() -> &'static str {
    if last_profile::finish_in_time() { "" } else { " (and the profile was not written in time)" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_that_is_late_is_announced_and_still_waited_for() {
        let (done, wait) = bounded(1);
        let mut announced = 0;
        let dump = wait_for_dump(&wait, &never(), || {
            announced += 1;
            done.send(Dump::without_stacks()).unwrap();
        });
        assert!(dump.is_ok());
        assert_eq!(announced, 1);
        done.send(Dump::without_stacks()).unwrap();
        assert!(wait_for_dump(&wait, &never(), || panic!("the dump is there")).is_ok());
        drop(done);
        let gone = wait_for_dump(&wait, &never(), || panic!("there will be none"));
        assert_eq!(gone.err(), Some(NoDump::NoThread));
    }
}
