//! The runtime, the log, the configuration and the ends of a program: one file for each promise.
//! The tests run programs of this package, or themselves, as processes of their own.

#[path = "../support/damage.rs"]
mod damage;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

mod command_line;
mod config_broken;
mod config_files;
mod deployed;
mod dump;
mod executing;
mod exit_codes;
mod failure_output;
mod fork;
mod half_started;
mod http_server;
mod indexer;
mod inspect;
#[cfg(feature = "profiling")]
mod last_profile;
mod leaked_guards;
mod log4rs_files;
mod log_choice;
mod log_console;
mod log_ends;
mod log_fifo;
mod log_live;
mod log_loss;
mod log_paths;
mod log_sinks;
mod outage;
mod own_file;
mod pipeline_example;
mod push;
mod recipes;
mod runtime;
mod runtime_threads;
mod sandbox;
mod shutdown;
mod stopping;
mod sync_example;
mod taken_signals;
mod tidy;
mod till_targets;
mod unload;
