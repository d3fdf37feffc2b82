//! Replaces characters that a format cannot hold in a name or a title: one function for each
//! format. Names come from threads of other libraries, files, symbols and a program's own titles,
//! so they may contain any character.

use crate::os::printable::is_unprintable;

/// The text for XML and for one line of a terminal. A control character becomes a space, and so
/// does a character that XML 1.0 does not have, or that reorders or breaks the line. Markup stays:
/// the XML writer escapes it.
pub(super) fn text(text: &str) -> String {
    text.chars().map(|c| if is_unfit(c) { ' ' } else { c }).collect()
}

/// The name as one frame of a folded line, where `;` separates frames, a newline ends the line, and
/// readers take a number after a space for the weight.
pub(super) fn frame(name: &str) -> String {
    let mut escaped = text(name).replace(';', ":");
    escaped.truncate(escaped.trim_end().len());
    if let Some(space) = escaped.rfind(' ')
        && escaped[space + 1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        escaped.replace_range(space..=space, "_");
    }
    if escaped.is_empty() { "[unnamed]".into() } else { escaped }
}

fn is_unfit(c: char) -> bool {
    let is_no_character = u32::from(c) & 0xFFFE == 0xFFFE || matches!(c, '\u{FDD0}'..='\u{FDEF}');
    is_unprintable(c) || is_no_character
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_every_reader() {
        let names = [
            ("work", "work"),
            ("a;b", "a:b"),
            ("two\nlines\r\n", "two lines"),
            ("reader 12", "reader_12"),
            ("v 1.5", "v_1.5"),
            ("fn 2x", "fn 2x"),
            ("", "[unnamed]"),
            (" \t", "[unnamed]"),
            ("odd\u{FFFE}name\u{FFFF}", "odd name"),
            ("\u{1FFFE}plane", " plane"),
            ("nul\0 esc\u{1b}[1m", "nul  esc [1m"),
            ("line\u{2028}end", "line end"),
            ("left\u{202E}right", "left right"),
            ("naïve 線", "naïve 線"),
        ];
        for (name, expected) in names {
            assert_eq!(frame(name), expected, "{name:?}");
        }
    }

    #[test]
    fn characters_that_xml_lacks_are_replaced() {
        // The characters of XML 1.0: #x9 #xA #xD, #x20-#xD7FF, #xE000-#xFFFD, #x10000-#x10FFFF.
        let is_xml =
            |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
        for c in (0..=0x10FFFF).filter_map(char::from_u32) {
            let text = text(&String::from(c));
            assert!(text.chars().all(is_xml), "{c:?}");
        }
    }
}
