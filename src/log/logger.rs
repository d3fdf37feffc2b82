//! What the facade calls: log4rs's logger, with code of the user's kept out of its locks. Also
//! keeps the tail, the filtered records that an error brings with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use ::log::{Level, LevelFilter, Log, Metadata, Record};
use arc_swap::ArcSwapOption;

use super::record::{Captured, Time, at_one_time, format_into};
use super::route::Route;
use super::{recent, tail};
use crate::thread::panic_flags::enter_logger;
#[cfg(feature = "profiling")]
use crate::wait;

#[derive(Debug)]
pub(super) struct Logger(pub(super) log4rs::Logger);

/// Where there is one appender, and it only captures: the way past log4rs. Nothing of log4rs is
/// locked there, so a message is formatted while it is captured.
static ROUTE: ArcSwapOption<Route> = ArcSwapOption::const_empty();
/// How many filtered records an error brings with it.
static TAIL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The last records of this thread that no appender got.
    static FILTERED: RefCell<VecDeque<Captured>> = const { RefCell::new(VecDeque::new()) };
}

/// `route`: the direct way; `None` is correct for any appenders, also while they are replaced. A
/// thread that still has the old route puts its record into the old queue, as with log4rs.
pub(super) fn set_route(route: Option<Route>, tail: usize) {
    ROUTE.store(route.map(Arc::new));
    // Relaxed: a thread that still sees the old value keeps a record more or less.
    TAIL.store(tail, Ordering::Relaxed);
}

/// The macros of the facade check this level before they call the logger. With a tail the logger
/// must get all records. Called when a log is installed or a level is set, by `install.rs`.
pub(super) fn raise_max_level(tail: usize, level: LevelFilter) {
    ::log::set_max_level(if tail > 0 { LevelFilter::Trace } else { level });
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let tail = TAIL.load(Ordering::Relaxed);
        if tail > 0 {
            if !self.0.enabled(record.metadata()) {
                return keep_filtered(record, tail);
            }
            if record.level() == Level::Error {
                self.log_tail();
            }
        }
        let route = ROUTE.load();
        if let Some(route) = &*route
            && !wants_events()
        {
            return route.log(record);
        }
        if !self.0.enabled(record.metadata()) {
            return;
        }
        // log4rs formats while it holds the appender's lock. A Display or Debug that logs, or
        // panics so that the hook logs, would wait there for itself; so they run here.
        let mut message = String::new();
        format_into(&mut message, *record.args());
        note_event(record, &message);
        if let Some(route) = &*route {
            // The message is formatted, so it is copied.
            return route.log(&record.to_builder().args(format_args!("{message}")).build());
        }
        recent::note_parts(SystemTime::now(), record.level(), &message);
        tail::note_parts(Time::now(), record.level(), record.target(), &message);
        at_one_time(|| self.write(record, &message));
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Returns `true` while a recording wants log records among the events of their threads.
fn wants_events() -> bool {
    #[cfg(feature = "profiling")]
    return wait::is_counted();
    #[cfg(not(feature = "profiling"))]
    false
}

/// Puts the record's level, place and text among the thread's events, while a recording wants them.
fn note_event(record: &Record<'_>, message: &str) {
    #[cfg(feature = "profiling")]
    if wants_events() {
        let place = (record.file().unwrap_or("?"), record.line().unwrap_or(0));
        wait::note_log(record.level() as u8, place, message);
    }
    #[cfg(not(feature = "profiling"))]
    let _ = (record, message);
}

impl Logger {
    fn write(&self, record: &Record<'_>, message: &str) {
        let _in_logger = enter_logger();
        // A copy of it keeps which of its names are static, and so need not be copied.
        self.0.log(&record.to_builder().args(format_args!("{message}")).build());
    }

    /// Logs the records that were filtered out on this thread. log4rs gets them as errors, so they
    /// reach the appenders for errors.
    fn log_tail(&self) {
        let filtered =
            FILTERED.try_with(|filtered| filtered.try_borrow_mut().map(|mut kept| std::mem::take(&mut *kept)));
        for captured in filtered.ok().and_then(Result::ok).into_iter().flatten() {
            captured.with_record(|record| {
                let message = format!("(tail, {}) {}", record.level(), record.args());
                let as_error = record.to_builder().level(Level::Error).build();
                super::record::again(&captured, || self.write(&as_error, &message));
            });
        }
    }
}

fn keep_filtered(record: &Record<'_>, tail: usize) {
    // Captured before the cell is borrowed: its Display may log.
    let captured = Captured::new(record);
    let _ = FILTERED.try_with(|filtered| {
        if let Ok(mut kept) = filtered.try_borrow_mut() {
            while kept.len() >= tail {
                kept.pop_front();
            }
            kept.push_back(captured);
        }
    });
}
