//! The public face of the log room.

use std::path::PathBuf;

use super::plan;

/// The log files that the runtime's logger writes, each with its variables expanded.
///
/// Relative paths are relative to the working directory at the time the runtime started. Empty if the runtime has
/// installed no logger, or one without files.
///
/// # Examples
///
/// ```
/// for file in selvedge::logging::files() {
///     println!("the log is in {}", file.display());
/// }
/// ```
pub fn files() -> Vec<PathBuf> {
    plan::installed_files()
}

/// Writes out what the logger holds back. Blocks until it is written.
///
/// # Examples
///
/// ```
/// selvedge::logging::flush();
/// ```
pub fn flush() {
    ::log::logger().flush();
}
