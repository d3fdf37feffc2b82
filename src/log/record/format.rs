//! Formats what a program logs. A Display that returns an error is noted in the text.

use std::fmt;

/// Writes `arguments`, and says so where their Display gives up.
pub(in crate::log) fn format_into<W: fmt::Write>(text: &mut W, arguments: fmt::Arguments<'_>) {
    match arguments.as_str() {
        // What is written to here takes any text.
        Some(fixed) => drop(text.write_str(fixed)),
        None if fmt::write(text, arguments).is_err() => drop(text.write_str("… (formatting failed)")),
        None => {}
    }
}
