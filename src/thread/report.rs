//! Writes a failure: as text, with colour or without, and as JSON. Not recursive, since failures
//! may be nested deeper than a stack.

use super::backtrace::own_frames;
use super::failure::Failure;
use crate::os::printable::is_unprintable;
use serde_json::{Map, Value, json};
use std::fmt::{self, Formatter};
use std::panic::Location;
use std::sync::Arc;

/// How much is written, and in which form.
#[derive(Clone, Copy)]
struct Style {
    /// Everything that is known, not only a line for each failure.
    whole: bool,
    /// For a terminal.
    colour: bool,
}

/// Bytes of indentation from which on deeper failures are not indented further: each line names its
/// thread.
const MOST_INDENT: usize = 160;

/// What is said of a panic that has unwound the guard of a registration.
const HANDLED: &str = "a registered thread: whether its owner has caught this and handled it is not known here; a \
                       panic that is caught before its guard drops is no failure";

/// What stands at a place in the report.
enum Line<'a> {
    Failure(&'a Failure),
    /// So many more.
    Omitted(u64),
}

const PLAIN: &str = "";
const PATH: &str = "1";
const BAD: &str = "31";
const ASIDE: &str = "2";

impl Style {
    /// Writes text of unknown origin: a control character in it is shown, not sent to the terminal.
    fn write(self, f: &mut Formatter<'_>, look: &str, text: &str) -> fmt::Result {
        let coloured = self.colour && !look.is_empty();
        if coloured {
            write!(f, "\x1b[{look}m")?;
        }
        for part in text.split_inclusive(is_unprintable) {
            match part.chars().next_back() {
                Some(last) if is_unprintable(last) && last != '\t' => {
                    f.write_str(&part[..part.len() - last.len_utf8()])?;
                    write!(f, "{}", last.escape_default())?;
                }
                _ => f.write_str(part)?,
            }
        }
        if coloured { f.write_str("\x1b[0m") } else { Ok(()) }
    }
}

impl Failure {
    fn write_own(&self, f: &mut Formatter<'_>, indent: &str, style: Style) -> fmt::Result {
        style.write(f, PATH, self.thread_path())?;
        let again = match self.restarts() {
            0 => String::new(),
            restarts => format!(" after {restarts} restart{}", if restarts == 1 { "" } else { "s" }),
        };
        let what = match (self.is_panic(), self.location()) {
            (true, Some(location)) => format!(" panicked{again} at {location}: "),
            (true, None) => format!(" panicked{again}: "),
            _ if self.is_reported() => format!(" failed{again}; "),
            _ if self.is_stopped() => " was stopped: ".to_owned(),
            _ => format!(" failed{again}: "),
        };
        style.write(
            f,
            if self.is_of_children() || self.is_reported() || self.is_stopped() { PLAIN } else { BAD },
            &what,
        )?;
        let bar = if self.children().is_empty() { "   " } else { "│  " };
        for (number, line) in self.message().lines().enumerate() {
            if number > 0 {
                write!(f, "\n{indent}{bar}")?;
            }
            style.write(f, PLAIN, line)?;
        }
        if style.whole {
            for line in self.details() {
                write!(f, "\n{indent}{bar}")?;
                style.write(f, ASIDE, &line)?;
            }
        }
        Ok(())
    }

    /// Not recursive: failures may be nested deeper than a stack.
    fn write(&self, f: &mut Formatter<'_>, style: Style) -> fmt::Result {
        let mut next = vec![(Line::Failure(self), String::new(), String::new())];
        while let Some((line, head, indent)) = next.pop() {
            f.write_str(&head)?;
            let failure = match line {
                Line::Failure(failure) => failure,
                Line::Omitted(count) => {
                    write!(f, "and {count} more, each of which is in the log")?;
                    continue;
                }
            };
            failure.write_own(f, &indent, style)?;
            let children = failure.children().iter().map(Line::Failure);
            let lines: Vec<_> =
                children.chain((failure.omitted() > 0).then(|| Line::Omitted(failure.omitted()))).collect();
            // The last one first onto the stack.
            for (number, line) in lines.into_iter().rev().enumerate() {
                let (bar, below) = if number == 0 { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                let is_deep = indent.len() >= MOST_INDENT;
                let inner = if is_deep { indent.clone() } else { format!("{indent}{below}") };
                next.push((line, format!("\n{indent}{bar}"), inner));
            }
        }
        Ok(())
    }

    /// What is known beside the message, as lines.
    fn details(&self) -> Vec<String> {
        let mut lines = self.backtrace().map(own_frames).unwrap_or_default();
        if self.is_of_guard() {
            lines.push(HANDLED.to_owned());
        }
        for (parent, at) in self.spawned() {
            lines.push(format!("spawned by {parent} at {at}"));
        }
        if let Some(reason) = self.stop_reason() {
            lines.push(format!("asked to stop: {reason}"));
        }
        if !self.context().is_empty() {
            let pairs: Vec<_> = self.context().iter().map(|(key, value)| format!("{key}={value}")).collect();
            lines.push(format!("context: {}", pairs.join(", ")));
        }
        let mut list = |title: &str, items: &[String]| {
            if !items.is_empty() {
                lines.push(title.to_owned());
                // An item may be of several lines.
                lines.extend(items.iter().flat_map(|item| item.lines()).map(|item| format!("   {item}")));
            }
        };
        list("it had logged:", self.records());
        list("below it, and well:", self.survivors());
        lines
    }

    /// The report as the runtime prints it, with everything that is known, coloured for a terminal.
    pub(crate) fn report(&self, colour: bool) -> impl fmt::Display {
        struct Report<'a>(&'a Failure, Style);
        impl fmt::Display for Report<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                self.0.write(f, self.1)
            }
        }
        Report(self, Style { whole: true, colour })
    }

    /// Everything that is known of it and of the failures below it, as one JSON object:
    ///
    /// `thread`, `kind` (`panic`, `error`, `children`, `stopped` or `reported`), `message`,
    /// `location`, `backtrace` (the program's own frames, innermost first), `spawned` (a list of
    /// `by` and `at`), `asked_to_stop` (why, or null), `context`, `records`, `survivors`,
    /// `restarts`, `registered` (a panic that has unwound the guard of a registration), `children`,
    /// a list of such objects, and `omitted`, how many more of them there were.
    ///
    /// ```
    /// let failure = selvedge::spawn("config", |_| panic!("no such file")).join().unwrap_err();
    /// let json: serde_json::Value = serde_json::from_str(&failure.to_json()).unwrap();
    /// assert_eq!(json["kind"], "panic");
    /// assert_eq!(json["message"], "no such file");
    /// ```
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        self.write_json(&mut text);
        text
    }

    /// Not as one value: that is as deep as the failures, and needs as much stack to be made,
    /// written and dropped.
    fn write_json(&self, text: &mut String) {
        enum Part<'a> {
            Failure(&'a Failure),
            Text(&'static str),
        }
        let mut next = vec![Part::Failure(self)];
        while let Some(part) = next.pop() {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Failure(failure) => {
                    let own = failure.own_json().to_string();
                    // It has keys, so the list is one more.
                    text.push_str(own.strip_suffix('}').unwrap_or(&own));
                    text.push_str(",\"children\":[");
                    next.push(Part::Text("]}"));
                    for (number, child) in failure.children().iter().enumerate().rev() {
                        next.push(Part::Failure(child));
                        if number > 0 {
                            next.push(Part::Text(","));
                        }
                    }
                }
            }
        }
    }

    fn own_json(&self) -> Value {
        let kind = match self {
            _ if self.is_panic() => "panic",
            _ if self.is_error() => "error",
            _ if self.is_reported() => "reported",
            _ if self.is_stopped() => "stopped",
            _ => "children",
        };
        let place = |(by, at): &(Arc<str>, &Location<'_>)| json!({ "by": &**by, "at": at.to_string() });
        let context: Map<_, _> = self.context().iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        json!({
            "thread": self.thread_path(),
            "kind": kind,
            "message": self.message(),
            "location": self.location(),
            "backtrace": self.backtrace().map(own_frames).unwrap_or_default(),
            "asked_to_stop": self.stop_reason().map(ToString::to_string),
            "spawned": self.spawned().iter().map(place).collect::<Vec<_>>(),
            "context": context,
            "records": self.records(),
            "survivors": self.survivors(),
            "restarts": self.restarts(),
            "registered": self.is_of_guard(),
            "omitted": self.omitted(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write(f, Style { whole: f.alternate(), colour: false })
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
