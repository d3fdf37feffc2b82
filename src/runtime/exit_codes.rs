//! The exit codes of a program that the runtime has run. `run` documents them.

pub(super) const FAILURE: u8 = 1;
/// EX_SOFTWARE of sysexits.
pub(super) const STUCK: u8 = 70;
/// EX_CONFIG of sysexits.
pub(super) const CONFIG: u8 = 78;
/// What a shell shows of a program that SIGINT has ended.
pub(super) const INTERRUPTED: u8 = 130;
/// The same of SIGTERM.
#[cfg(unix)]
pub(super) const TERMINATED: u8 = 143;
