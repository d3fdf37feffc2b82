//! The log: strict reading of log4rs files, the logger that they describe, and the queue and thread
//! that take the writing off the calling threads. May name `error`, `os`, `yaml`, `model`,
//! `signal`, `wait`, `thread` and log4rs. Inside this crate the facade is `::log`. docs/logging.md
//! says what a user sees.
//!
//! How a record travels:
//!
//! ```text
//!     calling thread                              |   log writer
//!     logger, and levels and filters: of log4rs,  |
//!      or by `route`, if there is one appender    |
//!      -> queue_appender captures a record        |
//!      -> channel.put  ----------- queue -------------> channel.drain -> sinks -> sink
//!                                                 |      -> file (rolling), console,
//!                                                 |         or an appender of log4rs
//! ```
//!
//! From the queue on, only appenders run code of the user's. An encoder (`encode`, `line_buffer`)
//! prints what was captured. How the configuration travels: `check` reads a log4rs file and makes a
//! `checked` log, `build` opens its appenders, `install` makes it the process's logger; `reload`
//! does so again when the file changes.

mod abort;
mod build;
mod channel;
mod check;
mod checked;
mod console;
mod contained;
mod deserialize;
mod drain_lock;
mod draining_threads;
mod encode;
mod file;
mod forked_child;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod install;
mod line_buffer;
mod logger;
pub mod logging;
mod output;
mod pace;
mod paths;
mod pattern_syntax;
mod process_hooks;
mod process_state;
mod queue_appender;
mod queued;
mod recent;
mod record;
mod refresh;
mod reload;
mod rolling;
mod room;
mod route;
mod rust_log;
mod seam;
mod settings;
mod sink;
mod sinks;
mod stall;
#[cfg(feature = "inspect")]
mod tail;
#[cfg(not(feature = "inspect"))]
#[path = "no_tail.rs"]
mod tail;
#[cfg(feature = "inspect")]
mod tail_record;
mod target;
mod wake_up;
mod wiring;
mod writer;

pub(crate) use check::load;
pub(crate) use checked::{CheckedLog, console, plain_file};
pub(crate) use install::{finish, installed_files as files, is_console, is_installed, switch_off, tell_log_and_stderr};
pub(crate) use paths::unwritable;
pub(crate) use process_hooks::{begin_exit, finish_exit, flush_in_time, install_exit_hook};
pub(crate) use recent::of_this_thread as recent_of_this_thread;
pub(crate) use refresh::Refresh;
pub(crate) use reload::start as start_reload;
pub(crate) use rust_log::is_asked_by_environment;
#[cfg(feature = "inspect")]
pub(crate) use tail::{counts, keep_tail, tail};
#[cfg(feature = "inspect")]
pub(crate) use tail_record::TailRecord;
pub(crate) use wiring::{Overflow, Queue, Wiring, read_level, read_queue};
pub(crate) use writer::start as start_writer;

/// What a setting that only log4rs can follow is refused with. `None`: log4rs is there.
pub(crate) fn not_built_in() -> Option<&'static str> {
    None
}

#[cfg(all(test, not(selvedge_model)))]
mod channel_tests;
#[cfg(all(test, not(selvedge_model)))]
mod file_tests;
#[cfg(all(test, not(selvedge_model)))]
mod fork_exit_tests;
#[cfg(all(test, selvedge_loom))]
mod loom_tests;
#[cfg(all(test, selvedge_model, not(selvedge_loom)))]
mod model_tests;
#[cfg(all(test, not(selvedge_model)))]
mod sink_tests;
#[cfg(all(test, not(selvedge_model)))]
mod tests;
