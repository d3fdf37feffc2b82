//! Text of other people as it may stand in a message: on one line, short, in quotes.

use crate::os::printable::on_one_line;
use std::path::Path;

/// Other people's text as it may stand in a message: on one line, and without control characters.
pub(crate) fn plain(text: &str) -> String {
    on_one_line(text).into_owned()
}

/// A path, so too.
pub(crate) fn plain_path(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

/// The same in quotes, and short.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", plain(&text[..end])),
        None => format!("`{}`", plain(text)),
    }
}
