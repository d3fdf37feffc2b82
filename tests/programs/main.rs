//! What the tests run as processes of their own: several programs in one file. Each is chosen by
//! the name under which it is started, which is a link that `support::program` makes.

#![allow(clippy::unit_arg)] // some programs have no exit code of their own

#[path = "../support/random.rs"]
mod random;
#[path = "../support/wait.rs"]
mod wait;

mod abort_compiler;
#[cfg(all(feature = "inspect", feature = "profiling", unix))]
mod changing;
#[cfg(feature = "profiling")]
mod compare;
mod deadlock;
mod dump_subject;
mod ending;
#[cfg(all(feature = "profiling", target_os = "linux"))]
mod executing;
mod failing;
mod forking;
#[cfg(all(feature = "inspect", unix))]
mod inspected;
mod letters;
mod log_ends;
mod log_subject;
#[cfg(all(feature = "profiling", target_os = "linux"))]
mod nameless;
mod pipeline;
#[cfg(all(feature = "push", unix))]
mod pushing;
#[cfg(unix)]
mod service;
mod spanning;
#[cfg(feature = "profiling")]
mod storm;
mod subject;
#[cfg(unix)]
mod taking;
mod tool;
mod unregistered;

use std::path::Path;
use std::process::{ExitCode, Termination};

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "abort_compiler" => abort_compiler::main().report(),
        #[cfg(feature = "profiling")]
        "compare" => compare::main().report(),
        "deadlock" => deadlock::main().report(),
        "dump_subject" => dump_subject::main().report(),
        #[cfg(all(feature = "profiling", target_os = "linux"))]
        "executing" => executing::main().report(),
        "ending" => ending::main().report(),
        "failing" => failing::main().report(),
        #[cfg(all(feature = "inspect", unix))]
        "inspected" => inspected::main().report(),
        "letters" => letters::main().report(),
        "log_subject" => log_subject::main().report(),
        #[cfg(all(feature = "profiling", target_os = "linux"))]
        "nameless" => nameless::main().report(),
        "pipeline" => pipeline::main().report(),
        #[cfg(all(feature = "push", unix))]
        "pushing" => pushing::main().report(),
        #[cfg(unix)]
        "service" => service::main().report(),
        #[cfg(feature = "profiling")]
        "storm" => storm::main().report(),
        "forking" => forking::main().report(),
        "spanning" => spanning::main().report(),
        "subject" => subject::main().report(),
        #[cfg(unix)]
        "taking" => taking::main().report(),
        "tool" => tool::main().report(),
        "unregistered" => unregistered::main().report(),
        // `cargo test` runs it under its own name, as a test of nothing.
        _ => ExitCode::SUCCESS,
    }
}
