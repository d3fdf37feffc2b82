//! Finds what is wrong with a pattern. log4rs accepts any pattern, and prints `{ERROR: …}` into
//! each line of the log, or panics.

use std::fmt;
use std::io;
use std::iter::Peekable;
use std::str::CharIndices;

use log4rs::encode::Encode;
use log4rs::encode::pattern::PatternEncoder;

use crate::yaml::{did_you_mean, quoted};

/// The formatters without an argument. `{thread_id}` and `{key_value}` are missing, since log4rs
/// reads no `_` in a name.
const PLAIN: [&str; 20] = [
    "l", "level", "m", "message", "M", "module", "n", "f", "file", "L", "line", "T", "thread", "I", "P", "pid", "i",
    "tid", "t", "target",
];
/// The formatters with one argument, a pattern.
const NESTING: [&str; 7] = ["", "h", "highlight", "D", "debug", "R", "release"];
const MORE: [&str; 5] = ["d", "date", "X", "mdc", "K"];
/// Deep enough for any layout; log4rs recurses.
const DEEPEST: usize = 16;
/// log4rs pads to any width, and panics or wraps where the number overflows.
const WIDEST: usize = 10_000;

/// What is wrong with `pattern`, in words that follow "this pattern".
pub(super) fn fault(pattern: &str) -> Option<String> {
    let mut check = Check { letters: pattern.char_indices().peekable(), pattern, depth: 0 };
    check.pieces(false).err().or_else(|| rendered_fault(pattern))
}

/// What `format` gives as the date and time of now, in log4rs's own hands.
pub(super) fn render_date(format: &str) -> Option<String> {
    let mut escaped = String::new();
    for letter in format.chars() {
        if matches!(letter, '{' | '}' | '(' | ')' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    render(&format!("{{d({escaped})}}")).ok()
}

fn render(pattern: &str) -> Result<String, String> {
    struct Buffer(Vec<u8>);
    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
        /// The provided one panics where a date format is none, and so do log4rs's own writers.
        fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
            let mut text = String::new();
            fmt::write(&mut text, arguments).map_err(io::Error::other)?;
            self.write_all(text.as_bytes())
        }
    }
    impl log4rs::encode::Write for Buffer {}

    let mut buffer = Buffer(Vec::new());
    let encoder = PatternEncoder::new(pattern);
    match encoder.encode(&mut buffer, &::log::Record::builder().args(format_args!("")).build()) {
        Ok(()) => Ok(String::from_utf8_lossy(&buffer.0).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What this version of log4rs objects to beyond the check, as a formatter that needs one of its
/// features.
fn rendered_fault(pattern: &str) -> Option<String> {
    const MARK: &str = "{ERROR: ";
    let line = match render(pattern) {
        Ok(line) => line,
        Err(error) => return Some(format!("cannot be rendered: {error}")),
    };
    let (_, reason) = line.split_once(MARK).filter(|_| !pattern.contains("ERROR: "))?;
    Some(format!("is refused by log4rs: {}", reason.split('}').next().unwrap_or(reason)))
}

/// Reads as log4rs does (its grammar is in the docs of `log4rs::encode::pattern`), but stops at the
/// first fault.
struct Check<'a> {
    letters: Peekable<CharIndices<'a>>,
    pattern: &'a str,
    depth: usize,
}

/// An argument in parentheses.
#[derive(Default)]
struct Argument {
    text: String,
    has_formatter: bool,
}

impl Check<'_> {
    fn eat(&mut self, letter: char) -> bool {
        self.letters.next_if(|(_, next)| *next == letter).is_some()
    }

    /// Up to the end, or up to the `)` of the argument.
    fn pieces(&mut self, in_argument: bool) -> Result<Argument, String> {
        let mut read = Argument::default();
        while let Some((at, letter)) = self.letters.next() {
            match letter {
                ')' if in_argument => return Ok(read),
                '{' if !self.eat('{') => {
                    read.has_formatter = true;
                    self.formatter(at)?;
                }
                '}' | '(' | ')' if !self.eat(letter) => {
                    let at = self.position(at);
                    return Err(format!("has a `{letter}` too many at {at}; to print it, write `{letter}{letter}`"));
                }
                '\\' => match self.letters.next_if(|(_, next)| "{}()\\".contains(*next)) {
                    Some((_, escaped)) => read.text.push(escaped),
                    None => return Err(format!("has a lone `\\` at {}; to print it, write `\\\\`", self.position(at))),
                },
                letter => read.text.push(letter),
            }
        }
        if in_argument { Err("has a `(` that is never closed".to_owned()) } else { Ok(read) }
    }

    /// From behind its `{` to its `}`.
    fn formatter(&mut self, start: usize) -> Result<(), String> {
        let place = self.position(start);
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("is nested more than {DEEPEST} deep at {place}"));
        }
        let mut name = String::new();
        if let Some((_, first)) = self.letters.next_if(|(_, letter)| letter.is_alphabetic()) {
            name.push(first);
            while let Some((_, letter)) = self.letters.next_if(|(_, letter)| letter.is_alphanumeric()) {
                name.push(letter);
            }
        }
        let mut arguments = Vec::new();
        while self.eat('(') {
            arguments.push(self.pieces(true)?);
        }
        self.parameters(&place)?;
        if !self.eat('}') {
            let reason = match self.letters.peek().copied() {
                Some((at, letter)) => format!("found {} at {}", quoted(&letter.to_string()), self.position(at)),
                None => "the pattern ends".to_owned(),
            };
            return Err(format!("needs a `}}` for the `{{` at {place}, but {reason}"));
        }
        self.depth -= 1;
        arguments_fault(&name, &arguments).map_or(Ok(()), |fault| Err(format!("{fault} at {place}")))
    }

    /// `:` fill, alignment and widths.
    fn parameters(&mut self, place: &str) -> Result<(), String> {
        if !self.eat(':') {
            return Ok(());
        }
        let mut ahead = self.letters.clone();
        if ahead.next().is_some() && ahead.next().is_some_and(|(_, letter)| matches!(letter, '<' | '>')) {
            self.letters.next();
        }
        let _aligned = self.eat('<') || self.eat('>');
        let _truncated = self.eat('-');
        self.width(place)?;
        if self.eat('.') {
            self.width(place)?;
        }
        Ok(())
    }

    fn width(&mut self, place: &str) -> Result<(), String> {
        let mut width = 0;
        while let Some((_, letter)) = self.letters.next_if(|(_, letter)| letter.is_ascii_digit()) {
            width = width * 10 + letter as usize - '0' as usize;
            if width > WIDEST {
                return Err(format!("asks for a width above {WIDEST} at {place}"));
            }
        }
        Ok(())
    }

    fn position(&self, at: usize) -> String {
        format!("character {}", self.pattern[..at].chars().count() + 1)
    }
}

fn arguments_fault(name: &str, arguments: &[Argument]) -> Option<String> {
    match name {
        "d" | "date" => {
            let none = |format: &&Argument| {
                format.has_formatter || format.text.is_empty() || render_date(&format.text).is_none()
            };
            if let Some(format) = arguments.first().filter(none) {
                return Some(format!("has the date format {}, which is none,", quoted(&format.text)));
            }
            let zone =
                arguments.get(1).is_none_or(|zone| !zone.has_formatter && ["utc", "local"].contains(&&*zone.text));
            (!zone || arguments.len() > 2).then(|| "has a date that is not `{d(format)(utc)}` or `(local)`".to_owned())
        }
        "X" | "mdc" | "K" => {
            let good =
                matches!(arguments.len(), 1 | 2) && arguments.iter().all(|a| !a.has_formatter && !a.text.is_empty());
            (!good).then(|| format!("has `{{{name}}}` where `{{{name}(key)(default)}}` is needed"))
        }
        name if NESTING.contains(&name) => {
            (arguments.len() != 1).then(|| format!("has `{{{name}…}}` where `{{{name}(…)}}` is needed"))
        }
        name if PLAIN.contains(&name) => {
            (!arguments.is_empty()).then(|| format!("has `{{{name}(…)}}` where `{{{name}}}` takes no argument,"))
        }
        name => {
            let long = [&PLAIN[..], &NESTING[1..], &MORE[..]].concat();
            let hint = did_you_mean(name, &long);
            Some(format!("has an unknown formatter `{{{name}}}` (known: {}{hint})", long.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_log4rs_documents_is_good() {
        for good in [
            "{d} {l} {t} - {m}{n}",
            "{d(%Y-%m-%d %H:%M:%S)} {d(%Y-%m-%d %H:%M:%S %Z)(utc)}{n}",
            "{h(the level is {l})} {D({f}:{L})}{R({M})}",
            "{K(user)} {K(user)(none)}",
            "{X(user_id)} {mdc(nonexistent_key)(no mapping)}",
            "{({l} {m}):15.15} {m:>10.15} {m:~<5} {({l} {m}):-15.15}",
            "{{ }} (( )) \\{ \\} \\( \\) \\\\",
            "{T} {thread} {I} {P} {pid} {i} {tid} {date} {level:<5}",
            "plain ERROR: text",
            "",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
    }

    #[test]
    fn each_fault_is_found_before_log4rs_renders_it() {
        for (bad, message) in [
            ("{q}", "unknown formatter `{q}`"),
            ("{levl}", "did you mean `level`"),
            ("{d(%Q)}", "date format `%Q`"),
            ("{R({d(%Q)})}", "date format `%Q`"),
            ("{d(%Y)(cet)}", "(utc)"),
            ("{d(%Y)(utc)(x)}", "(utc)"),
            ("{d({l})}", "date format"),
            ("{m", "needs a `}`"),
            ("{m(", "`(` that is never closed"),
            ("{m(x)}", "takes no argument"),
            ("{h}", "`{h(…)}`"),
            ("{X}", "`{X(key)(default)}`"),
            ("m}", "`}` too many at character 2"),
            ("(m", "`(` too many"),
            ("a\\n", "lone `\\`"),
            ("{thread_id}", "needs a `}`"),
            ("{m:99999999999999999999}", "width above"),
            ("{K}", "`{K(key)(default)}`"),
            (&"{(".repeat(100_000), "nested"),
        ] {
            let found = fault(bad).unwrap_or_default();
            assert!(found.contains(message), "{bad:.40}: {found}");
        }
    }
}
