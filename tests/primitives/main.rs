//! The thread tree, signals, locks and queues, in one process: one file for each promise. A test
//! that needs what a process has once, such as the logger, runs in a process of its own.

#[cfg(target_os = "linux")]
#[path = "../support/hang.rs"]
mod hang;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

mod actor;
mod algebra;
mod batches;
mod contexts;
#[cfg(feature = "log4rs")]
mod deadlocks;
mod depth;
mod draining;
mod drops;
mod failure_reports;
mod failures;
mod join_limits;
mod late_children;
mod names;
mod net;
mod own_records;
mod queues;
mod reasons;
mod registration;
mod signals;
mod stop_targets;
mod stopped;
#[cfg(feature = "log4rs")]
mod supervision;
mod sync_irreversible;
mod sync_locks;
mod sync_semaphores;
mod sync_waits;
mod threads;
mod trees;
mod unwind_safety;

/// For `hang`.
#[cfg(target_os = "linux")]
use selvedge::{Signal, dump};
