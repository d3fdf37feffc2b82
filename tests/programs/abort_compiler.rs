//! The compiler's wrapper that builds this package to abort at a panic: Cargo gives it the compiler and its arguments.

use std::process::{Command, ExitCode};

pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(compiler) = arguments.next() else {
        eprintln!("abort_compiler: no compiler is named");
        return ExitCode::FAILURE;
    };
    let compiled = Command::new(&compiler).args(arguments).args(["-Cpanic=abort", "-Cdebuginfo=0"]).status();
    match compiled {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("abort_compiler: {}: {error}", compiler.display());
            ExitCode::FAILURE
        }
    }
}
