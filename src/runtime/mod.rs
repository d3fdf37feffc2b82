//! The runtime: configuration, start, OS signals, reports, end. Above all other rooms.
//!
//! `lifecycle` starts and ends it, `run` makes a whole program of it.

mod at_exit;
mod claim;
pub(crate) mod config;
#[cfg(unix)]
mod dumps;
mod exit;
mod exit_codes;
#[cfg(all(feature = "inspect", unix))]
mod inspection;
#[cfg(not(all(feature = "inspect", unix)))]
#[path = "no_inspection.rs"]
mod inspection;
mod last_profile;
mod left;
mod lifecycle;
mod limits;
mod log_at_end;
#[cfg(unix)]
mod profile_signal;
#[cfg(not(feature = "profiling"))]
#[path = "no_profiler.rs"]
mod profiler;
#[cfg(feature = "profiling")]
mod profiler;
#[cfg(all(feature = "push", unix))]
mod pushing;
#[cfg(not(all(feature = "push", unix)))]
#[path = "no_pushing.rs"]
mod pushing;
mod report_plan;
mod reserve;
mod run;
#[cfg(not(unix))]
#[path = "no_signals.rs"]
mod signals;
#[cfg(unix)]
mod signals;
mod stop_watch;
mod stuck_targets;
#[cfg(unix)]
mod taken_signals;
mod watch;

#[cfg(feature = "push")]
pub use config::Push;
pub use config::{Ask, Config, OnStuck, OsSignal, ProfileFormat};
pub use lifecycle::{Runtime, profile_files};
pub use run::{MainResult, interrupted, run};
