//! Text for people: nothing that a program sends reaches the terminal raw, and times are short.

use std::borrow::Cow;
use std::fmt::Write;

/// Control characters, and marks that change the direction of writing or are not seen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A text on one line, with codes like `\u{1b}` in place of hidden characters.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, |out, c| write!(out, "\\u{{{:x}}}", u32::from(c)))
}

/// The same for a text of several lines: line ends and tabs stay.
pub(crate) fn plain_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n' || c == '\t', |out, c| write!(out, "\\u{{{:x}}}", u32::from(c)))
}

/// JSON with the same characters as JSON's own escapes. They can stand in strings only, since JSON
/// permits no other places, but for line ends and tabs between the values.
pub(crate) fn plain_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c| matches!(c, '\n' | '\r' | '\t'), |out, c| write!(out, "\\u{:04x}", u32::from(c)))
}

fn escaped(
    text: &str,
    stays: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char) -> std::fmt::Result,
) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hidden(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) && !stays(c) {
            escape(&mut out, c).expect("writing to a String cannot fail");
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A time of at most seven characters.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() || s < 0.0 => "?".to_owned(),
        0.0 => "0 s".to_owned(),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// A share of one processor.
pub(crate) fn percent(share: f64) -> String {
    if share < 0.0995 { format!("{:.1} %", share * 100.0) } else { format!("{:.0} %", share * 100.0) }
}

pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_stays() {
        let evil = "a\x1b[31m\u{9b}2J\u{7f}\u{202e}x\r\n\0\u{2066}";
        for out in [plain(evil), plain_json(&serde_json::to_string(evil).unwrap())] {
            assert!(!out.chars().any(is_hidden), "{out:?}");
        }
        assert_eq!(plain(evil), r"a\u{1b}[31m\u{9b}2J\u{7f}\u{202e}x\u{d}\u{a}\u{0}\u{2066}");
        assert!(!plain_lines(evil).chars().any(|c| is_hidden(c) && c != '\n'));
        // The escapes of JSON mean the same text.
        let json = serde_json::to_string(evil).unwrap();
        assert_eq!(serde_json::from_str::<String>(&plain_json(&json)).unwrap(), evil);
        assert_eq!(plain("größe ✓ 名前"), "größe ✓ 名前");
    }

    #[test]
    fn times_are_short() {
        let given = [0.0, 5e-9, 1.5e-5, 0.25, 0.9996, 9.94, 9.96, 119.0, 7100.0, 100_000.0, 1e7, f64::NAN, -1.0];
        let shown = given.map(span);
        let wanted =
            ["0 s", "5 ns", "15 µs", "250 ms", "1.0 s", "9.9 s", "10 s", "119 s", "118 min", "28 h", "116 d", "?", "?"];
        assert_eq!(shown, wanted);
        assert_eq!([0.0, 0.056, 0.0996, 5.6].map(percent), ["0.0 %", "5.6 %", "10 %", "560 %"]);
    }
}
