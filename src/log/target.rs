//! The names of targets, to which loggers and RUST_LOG give levels.

/// As log4rs: words that are parted by `::`, not empty at the end.
pub(super) fn is_logger_name(name: &str) -> bool {
    let good = !name.replace("::", " ").contains(':') && !name.ends_with(':') && !name.contains(":::");
    !name.is_empty() && good
}
