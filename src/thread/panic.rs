//! The panic hook. Only the hook sees where a panic came from, only `catch_unwind` sees what it
//! carried: the hook leaves what it saw in `seen`, and the thread's body picks it up.

use super::Failure;
use super::failure_context::FailureContext;
use super::seen::{self, Identity, Seen};
use super::tree;
use crate::error::drop_payload;
use crate::os::tell::was_logged;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};

thread_local! {
    static IN_LOGGER: Cell<bool> = const { Cell::new(false) };
    /// What is left of this thread of ours are the destructors of its thread-locals.
    static PAST: Cell<bool> = const { Cell::new(false) };
    /// A panic is not told.
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

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

/// The calling thread's body has ended, and its outcome was told.
pub(super) fn past_body() {
    PAST.set(true);
}

pub(super) fn is_past_body() -> bool {
    PAST.get()
}

/// Calls `f`, in which a panic is an answer: no hook is told of it. `None` if it panicked.
pub(crate) fn silenced<R>(f: impl FnOnce() -> R) -> Option<R> {
    let outer = SILENT.replace(true);
    // AssertUnwindSafe: what `f` leaves half-done is dropped with it.
    let result = catch_unwind(AssertUnwindSafe(f));
    SILENT.set(outer);
    result.map_err(drop_payload).ok()
}

/// Marks the calling thread as being within the logger, until the guard drops. A panic there (in a
/// `Debug` of the user's) must not log: the appender's lock is held.
#[cfg(feature = "log4rs")]
pub(crate) fn enter_logger() -> InLogger {
    InLogger(IN_LOGGER.try_with(|inside| inside.replace(true)).unwrap_or(true))
}

/// Holds what the mark was before.
#[cfg(feature = "log4rs")]
pub(crate) struct InLogger(bool);

#[cfg(feature = "log4rs")]
impl Drop for InLogger {
    fn drop(&mut self) {
        let _ = IN_LOGGER.try_with(|inside| inside.set(self.0));
    }
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
            // Unless the destructor itself catches it, the process aborts.
            let past = PAST.get();
            let seen = see(info, past || tree::is_in_tree());
            let is_end = cfg!(panic = "abort") || past || aborts(info);
            let reports = is_end && BEFORE_ABORT.get().is_some() && TO_LOG.load(Ordering::SeqCst);
            if !is_standard || !(seen.logged || reports) {
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
    let logged = to_log && tell(info);
    let (location, backtrace) = (place(info), Arc::new(Backtrace::force_capture()));
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
/// before ours tells it.
fn tell(info: &PanicHookInfo<'_>) -> bool {
    let in_logger = IN_LOGGER.try_with(Cell::get).unwrap_or(true);
    if in_logger || !TO_LOG.load(Ordering::SeqCst) {
        return false;
    }
    was_logged(|| {
        log::error!(
            target: "selvedge::panic",
            "{} panicked at {}: {}",
            my_path(),
            place(info).as_deref().unwrap_or("an unknown place"),
            payload_text(info),
        );
    })
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

/// The lines of a backtrace between the panic's machinery and the thread's own start.
pub(crate) fn own_frames(backtrace: &Backtrace) -> Vec<String> {
    let text = backtrace.to_string();
    // Each frame is a line " 12: path::to::function", and mostly a second one " at
    // file:line:column".
    let mut frames: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        match trimmed.split_once(": ") {
            Some((number, name)) if number.bytes().all(|b| b.is_ascii_digit()) => frames.push((name, Vec::new())),
            _ => {
                if let Some((_, places)) = frames.last_mut() {
                    places.push(trimmed);
                }
            }
        }
    }
    // From the outermost entry into the panic's machinery, past what of the standard library called
    // it.
    let end = frames.iter().position(|(name, places)| is_start(name, places)).unwrap_or(frames.len());
    let entry = frames[..end].iter().rposition(|(name, _)| is_entry(name)).map_or(0, |at| at + 1);
    let inner = frames[entry..end].iter().take_while(|(name, _)| is_raising(name)).count();
    let mut lines = Vec::new();
    for (name, places) in &frames[entry + inner..end] {
        lines.push(format!("at {name}"));
        lines.extend(places.iter().map(|place| format!("   {place}")));
    }
    lines
}

fn is_entry(name: &str) -> bool {
    name.ends_with("rust_begin_unwind") || name.contains("std::panicking::begin_panic")
}

fn is_raising(name: &str) -> bool {
    name.starts_with("core::") || name.starts_with("<core::") || name.starts_with("std::panic")
}

/// The frames that a thread of ours, or `main`, starts from. By the file too: not all debug
/// information has whole names.
fn is_start(name: &str, places: &[&str]) -> bool {
    // Where this crate lay when it was built: "src/", or an absolute path.
    let sources = file!().trim_end_matches("thread/panic.rs");
    let is_ours = |place: &str| {
        let at = place.rfind(sources).map(|at| &place[at + sources.len()..]);
        at.is_some_and(|file| {
            ["thread/spawn.rs", "thread/scope.rs", "runtime/run.rs"].iter().any(|our| file.starts_with(our))
        })
    };
    name.contains("__rust_begin_short_backtrace")
        || name.contains("selvedge::thread::spawn::")
        || name.contains("selvedge::thread::scope::")
        || name.contains("selvedge::runtime::")
        || places.iter().any(|place| is_ours(place))
}
