//! The log: strict reading of log4rs files, the logger that they describe, and the queue and thread
//! that take its writing off the callers. Names `error`, `os`, `model`, `signal`, `wait`, `thread`
//! and log4rs; inside this crate the facade is `::log`.
//!
//! A record's way: `logger` → log4rs's levels and filters → `queued` captures a `record` →
//! `channel` → (the `writer` thread) → `sink` → `file` (which may be `rolling`) or `console`, or an
//! appender of log4rs, with an encoder of `encode`. Everything before the arrow to the writer runs
//! on the caller; from there on nothing of the user's but appenders. docs/logging.md says what a
//! user sees of it.

mod abort;
mod build;
mod channel;
mod check;
mod checked;
mod console;
mod contained;
mod deserialize;
mod drain_lock;
mod encode;

mod draining_threads;
mod file;
mod forked_child;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod install;
mod line_buffer;
mod logger;
pub mod logging;
mod output;
mod paths;
mod pattern_syntax;
mod process_hooks;
mod queue_appender;
mod queued;
mod recent;
mod record;
mod reload;
mod rolling;
mod rust_log;
mod seam;
mod settings;
mod sink;
mod sinks;
mod stall;
mod target;
mod wiring;
mod writer;

pub(crate) use check::load;
pub(crate) use checked::{CheckedLog, console};
pub(crate) use install::{finish, installed_files as files, is_console, is_installed, switch_off, tell_log_and_stderr};
pub(crate) use process_hooks::{begin_exit, flush_in_time, install_exit_hook};
pub(crate) use recent::of_this_thread as recent_of_this_thread;
pub(crate) use reload::start as start_reload;
pub(crate) use rust_log::is_asked_by_environment;
pub(crate) use wiring::{Overflow, Queue, Wiring, read_level, read_queue};
pub(crate) use writer::start as start_writer;

/// What a setting that only log4rs can follow is refused with. `None`: log4rs is there.
pub(crate) fn not_built_in() -> Option<&'static str> {
    None
}

#[cfg(all(test, not(selvedge_model)))]
mod channel_tests;
#[cfg(all(test, selvedge_loom))]
mod loom_tests;
#[cfg(all(test, selvedge_model, not(selvedge_loom)))]
mod model_tests;
#[cfg(all(test, not(selvedge_model)))]
mod tests;
