//! The panic hook. Only the hook sees where a panic came from, only `catch_unwind` sees what it
//! carried: the hook leaves what it saw in `seen`, and the thread's body picks it up.

use super::backtrace::own_frames;
use super::current::is_in_tree;
use super::failure::Failure;
use super::failure_context::FailureContext;
use super::panic_flags::{IN_LOGGER, PAST, SILENT, is_registered};
use super::panic_log::log_panic;
use super::seen::{self, Identity, Seen};
use crate::error::is_catching;
use crate::os::tell::{is_logging, remark};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};

/// A runtime is up: panics of the tree's threads go to its log and its report, and not also to
/// stderr.
static TO_LOG: AtomicBool = AtomicBool::new(false);

pub(crate) fn panics_go_to_log(yes: bool) {
    TO_LOG.store(yes, Ordering::SeqCst);
}

/// What is done in the hook, within bounded time, before a panic aborts the process. It gets the
/// panic while a runtime is up, and tells it.
static BEFORE_ABORT: OnceLock<fn(Option<&Failure>)> = OnceLock::new();

pub(crate) fn set_before_abort(run: fn(Option<&Failure>)) {
    let _ = BEFORE_ABORT.set(run);
}

/// Puts our hook in front of the present hook; once for the process.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    if std::thread::panicking() {
        // Changing the hook would panic again. The next call comes soon enough.
        return;
    }
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        // Taking the hook leaves the standard one; if that is what we got, both are the same
        // function, and none is kept: where we log and report, its lines on stderr would tell
        // everything twice. Another library's hook is always called.
        let standard = std::panic::take_hook();
        #[allow(ambiguous_wide_pointer_comparisons)]
        let is_standard = std::ptr::eq(&*previous, &*standard);
        std::panic::set_hook(Box::new(move |info| {
            if SILENT.get() {
                return;
            }
            let past = PAST.get();
            let seen = see(info, past || is_in_tree());
            // Past the body, the process aborts, unless the destructor itself catches the panic.
            let is_end = cfg!(panic = "abort") || (past && !is_catching()) || aborts(info);
            let reports = is_end && BEFORE_ABORT.get().is_some() && TO_LOG.load(Ordering::SeqCst);
            if !is_standard || !(seen.logged || reports) {
                if is_standard && is_registered() {
                    // std knows the name that the thread was started with, if any.
                    remark(&format!("selvedge: {} panics:", my_path()));
                }
                previous(info);
            }
            if is_end {
                // The last that happens in this process.
                let failure = reports.then(|| Failure::of_abort(&my_path(), seen.clone()));
                BEFORE_ABORT.get().iter().for_each(|run| run(failure.as_ref()));
            }
            if !past {
                seen::remember(seen);
            }
        }));
    });
}

/// Keeps what the body's `catch_unwind` cannot see. Also on a thread that is not in the tree, since
/// the panic may be raised again on a thread that is.
fn see(info: &PanicHookInfo<'_>, to_log: bool) -> Seen {
    let failure_context = FailureContext::of_now();
    let (location, backtrace) = (place(info), Arc::new(Backtrace::force_capture()));
    let logged = to_log && tell(info, &backtrace);
    let (text, payload) = (payload_text(info).to_owned(), Identity::of_text(info.payload()));
    Seen { text, location, backtrace, logged, failure_context, payload }
}

/// Returns `true` for a panic that the standard library raises before it aborts: because a panic
/// leaves a destructor during another panic, or leaves a function that cannot unwind. The hook is
/// not told of it otherwise; a panic that the program catches within a destructor, or one after
/// another, is none.
fn aborts(info: &PanicHookInfo<'_>) -> bool {
    const TEXTS: [&str; 2] = ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];
    // By its place too, should a text change: other panics have the place of their caller.
    let is_cores = info.location().is_some_and(|at| at.file().ends_with("core/src/panicking.rs"));
    is_cores || TEXTS.contains(&payload_text(info))
}

fn place(info: &PanicHookInfo<'_>) -> Option<String> {
    info.location().map(|at| format!("{}:{}:{}", at.file(), at.line(), at.column()))
}

/// Returns `true` if the log takes it. Another logger of the program may drop it: then the hook
/// before ours tells it. The panic of a logger is not logged.
fn tell(info: &PanicHookInfo<'_>, backtrace: &Backtrace) -> bool {
    let in_logger = IN_LOGGER.try_with(Cell::get).unwrap_or(true) || is_logging();
    if in_logger || !TO_LOG.load(Ordering::SeqCst) {
        return false;
    }
    // Of a thread of ours the failure has the backtrace. The panic of a registered thread is caught
    // by another library, and mostly makes no failure.
    let frames = if is_registered() { own_frames(backtrace) } else { Vec::new() };
    let frames: String = frames.iter().flat_map(|line| ["\n   ", line]).collect();
    let (path, place) = (my_path(), place(info));
    let place = place.as_deref().unwrap_or("an unknown place");
    let text = format!("{path} panicked at {place}: {}{frames}", payload_text(info));
    log_panic(&path, text)
}

fn my_path() -> Arc<str> {
    let path = crate::wait::my_path();
    // Past its body it has left the tree; the OS still knows its path as its name.
    if PAST.get() { Arc::from(path.trim_start_matches("other/")) } else { path }
}

fn payload_text<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    match (payload.downcast_ref::<&'static str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "a payload that is no string",
    }
}
