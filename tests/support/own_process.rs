//! A test in a process of its own, if it needs what a process has once: a logger, a timer, an
//! environment.
#![allow(dead_code, unreachable_pub)] // shared by tests inside and outside of the crate; each uses a part of it

use std::process::Command;

/// The command that runs this test alone. `None` in the process that runs it.
pub fn command(module: &str, test: &str) -> Option<Command> {
    const OWN: &str = "SELVEDGE_TEST_IN_OWN_PROCESS";
    if std::env::var(OWN).is_ok_and(|own| own == test) {
        return None;
    }
    let name = match module.split_once("::") {
        Some((_, module)) => format!("{module}::{test}"),
        None => test.to_owned(),
    };
    let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
    // With one thread, the harness would run the test on the main thread.
    command.args(["--exact", &name, "--nocapture", "--test-threads=2"]).env(OWN, test);
    Some(command)
}

/// Runs the test in a process of its own, with these variables in its environment. Returns `true`
/// in the process of all tests, when the test has passed in the other; there it returns `false`.
/// `hang.rs` ends a test that hangs, in both.
///
/// # Panics
/// The test failed in the other process.
#[track_caller]
pub fn passes(module: &str, test: &str, variables: &[(&str, &str)]) -> bool {
    let Some(mut command) = command(module, test) else { return false };
    let output = command.envs(variables.iter().copied()).output().expect("the tests run");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let is_well = output.status.success() && said.contains("1 passed");
    assert!(is_well, "{test}: {}\n{said}\n{errors}", output.status);
    true
}
