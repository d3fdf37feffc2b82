//! Tools of others that tests use where they are there.

use std::process::{Command, Stdio};

/// Whether the tool is there: this command of it succeeds. If not, it says so, and with the variable
/// `need` in the environment, as `.ci/run` sets it, the test fails.
#[track_caller]
pub fn has_tool(program: &str, arguments: &[&str], need: &str) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        assert!(std::env::var_os(need).is_none(), "{program} {} fails; install it", arguments.join(" "));
        eprintln!("{program} {} fails, so this is not tested", arguments.join(" "));
    }
    is_there
}

/// Whether Go's own tools are there, which read profiles.
#[track_caller]
pub fn has_go() -> bool {
    has_tool("go", &["version"], "SELVEDGE_NEED_GO")
}

/// Whether the tests run with all rights. If not, prints that the rest is not tested.
#[cfg(unix)]
pub fn is_root() -> bool {
    // SAFETY: has no preconditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        eprintln!("only root may do this, so it is not tested");
    }
    is_root
}
