//! Formats what a program logs. A Display that returns an error is noted in the text.

use std::fmt;

/// Writes `arguments`, and says so where their Display gives up.
pub(in crate::log) fn format_into(text: &mut String, arguments: fmt::Arguments<'_>) {
    match arguments.as_str() {
        Some(fixed) => text.push_str(fixed),
        None if fmt::write(text, arguments).is_err() => text.push_str("… (formatting failed)"),
        None => {}
    }
}
