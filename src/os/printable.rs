//! Which characters a text of unknown origin may bring to a terminal, a file or a page: names of
//! threads, signals and queues, values of contexts, what a panic said. No system calls.

use std::borrow::Cow;

/// Returns `true` for a character that is not shown as itself: a control character, an end of a
/// line, or a mark that changes the order in which the text around it is shown.
pub(crate) fn is_unprintable(c: char) -> bool {
    let is_line_end = matches!(c, '\u{2028}' | '\u{2029}');
    let is_reordering =
        matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_line_end || is_reordering
}

/// The text on one line: each such character as its escape, `\n` or `\u{202e}`.
pub(crate) fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if is_unprintable(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_stays_on_its_line_and_in_its_order() {
        let texts = [
            ("plain naïve 線", "plain naïve 線"),
            ("two\nlines\r\n", "two\\nlines\\r\\n"),
            ("esc\u{1b}[2J nul\0", "esc\\u{1b}[2J nul\\u{0}"),
            ("next\u{85}line\u{2028}end", "next\\u{85}line\\u{2028}end"),
            ("left\u{202e}right\u{200f}", "left\\u{202e}right\\u{200f}"),
        ];
        for (text, shown) in texts {
            assert_eq!(on_one_line(text), shown);
        }
    }
}
