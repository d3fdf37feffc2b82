//! The command `selvedge`: looks at a running program that uses the crate selvedge, through its
//! socket. It changes nothing in the program.

mod args;
mod connect;
mod diff;
mod doctor;
mod dump;
mod fault;
mod find;
mod folded;
mod http;
mod looks;
mod manual;
mod model;
mod open;
mod pprof;
mod ps;
mod record;
mod text;
mod top;
mod tree;

use args::{Arguments, Command};
use clap::Parser;
use fault::{Exit, Fault};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = match run(Arguments::parse().command) {
        Ok(exit) => exit,
        Err(fault) => {
            note(&fault.text);
            fault.exit
        }
    };
    ExitCode::from(exit as u8)
}

fn run(command: Command) -> Result<Exit, Fault> {
    match command {
        Command::Ps { program, json, all, filter } => ps::run(&program, json, all, &filter)?,
        Command::Top { program } => top::run(&program)?,
        Command::Dump { program, json } => dump::run(&program, json)?,
        Command::Record { program, seconds, clock, frequency, output } => {
            record::run(&program, seconds, clock, frequency, &output)?;
        }
        Command::Diff { before, after, svg, top } => diff::run(&before, &after, svg.as_deref(), top)?,
        Command::Open { program, port } => open::run(&program, port)?,
        Command::Doctor { program } => return doctor::run(&program),
        Command::Completions { shell } => print(&manual::completions(shell))?,
        Command::Man => {
            let page = manual::page().map_err(|error| Fault::failed(format!("cannot make the page: {error}")))?;
            print(&page)?;
        }
    }
    Ok(Exit::Done)
}

/// To stdout. A reader that has gone, as `head` does, is no failure.
fn print(bytes: &[u8]) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Fault::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// A line to stderr.
fn note(text: &str) {
    // There is no other place to tell that stderr cannot be written to.
    let _ = writeln!(std::io::stderr(), "selvedge: {text}");
}
