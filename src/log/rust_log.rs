//! The levels of the console that the environment variable RUST_LOG asks for, in env_logger's form
//! without its regular expression. May not log.

use ::log::LevelFilter;
use std::env;

use crate::yaml::did_you_mean;

const VARIABLE: &str = "RUST_LOG";

/// What RUST_LOG is at most, in a remark about it.
const LONGEST_QUOTE: usize = 100;

#[derive(Debug, PartialEq)]
pub(super) struct Levels {
    /// For targets that have no level of their own.
    pub(super) root: LevelFilter,
    pub(super) targets: Vec<(String, LevelFilter)>,
    /// What was not understood, each a sentence. It is reported and skipped: a variable of the
    /// environment must not keep a program from its start.
    pub(super) faults: Vec<String>,
}

impl Default for Levels {
    /// As env_logger: what no directive names is not logged.
    fn default() -> Levels {
        Levels { root: LevelFilter::Off, targets: Vec::new(), faults: Vec::new() }
    }
}

impl Levels {
    /// Records of the program from info on. Of the runtime itself, what is wrong, and the tables that
    /// the program has asked for.
    pub(super) fn of_default_console() -> Levels {
        let own = [
            ("selvedge", LevelFilter::Warn),
            ("selvedge::accounts", LevelFilter::Info),
            ("selvedge::stopping", LevelFilter::Off),
        ];
        let targets = own.map(|(target, level)| (target.to_owned(), level)).to_vec();
        Levels { root: LevelFilter::Info, targets, faults: Vec::new() }
    }
}

/// Returns `true` if RUST_LOG is set and not empty.
pub(crate) fn is_asked_by_environment() -> bool {
    env::var_os(VARIABLE).is_some_and(|text| !text.is_empty())
}

/// What RUST_LOG asks for; the default, with its faults, if nothing of it can be understood. `None`
/// if it asks for nothing.
pub(super) fn from_environment() -> Option<Levels> {
    let text = env::var_os(VARIABLE)?;
    let levels = parse(&text.to_string_lossy());
    let asks = levels.root != LevelFilter::Off || !levels.targets.is_empty() || levels.faults.is_empty();
    if asks {
        (!text.is_empty()).then_some(levels)
    } else {
        Some(Levels { faults: levels.faults, ..Levels::of_default_console() })
    }
}

fn parse(text: &str) -> Levels {
    let mut levels = Levels::default();
    let (directives, expression) = match text.split_once('/') {
        Some((directives, expression)) => (directives, Some(expression)),
        None => (text, None),
    };
    if expression.is_some() {
        levels.fault(text, "a regular expression after `/` is not supported");
    }
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (target, level) = match directive.split_once('=') {
            None => match directive.parse() {
                Ok(level) => {
                    levels.root = level;
                    continue;
                }
                Err(_) => (directive, LevelFilter::Trace),
            },
            // As env_logger: a target without a level has all of them.
            Some((target, level)) if level.trim().is_empty() => (target.trim(), LevelFilter::Trace),
            Some((target, level)) => match level.trim().parse() {
                Ok(level) => (target.trim(), level),
                Err(_) => {
                    levels.fault(directive, "after `=` comes off, error, warn, info, debug or trace");
                    continue;
                }
            },
        };
        if !super::target::is_logger_name(target) || is_no_target(target) {
            levels.fault(directive, "before `=` comes a target, as `my_crate::parser`");
            continue;
        }
        if directive == target && looks_like_a_level(target) {
            levels.remark(directive, "is no level, so it is taken for a target, of which every record is logged");
        }
        // The last one counts.
        levels.targets.retain(|(before, _)| before != target);
        levels.targets.push((target.to_owned(), level));
    }
    levels
}

impl Levels {
    fn fault(&mut self, text: &str, why: &str) {
        self.remark(text, &format!("is ignored: {why}"));
    }

    fn remark(&mut self, text: &str, what: &str) {
        let quote: String = text.chars().take(LONGEST_QUOTE).flat_map(char::escape_debug).collect();
        self.faults.push(format!("{VARIABLE}: `{quote}` {what}"));
    }
}

/// Quotes are those of a file that a shell does not read. A number is a level of other libraries.
fn is_no_target(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || "[]{}\"'`*;\u{fffd}".contains(c);
    text.contains(is_odd) || text.bytes().all(|letter| letter.is_ascii_digit())
}

/// A level that is misspelt, or a word that other programs take.
fn looks_like_a_level(word: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    const ELSEWHERE: [&str; 12] =
        ["all", "none", "true", "false", "yes", "no", "on", "warning", "verbose", "fatal", "critical", "information"];
    let word = word.to_ascii_lowercase();
    ELSEWHERE.contains(&&*word) || !did_you_mean(&word, &LEVELS).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(levels: &Levels) -> Vec<(&str, LevelFilter)> {
        levels.targets.iter().map(|(target, level)| (target.as_str(), *level)).collect()
    }

    #[test]
    fn directives_are_those_of_env_logger() {
        use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
        type Case<'a> = (&'a str, LevelFilter, &'a [(&'a str, LevelFilter)]);
        let cases: [Case<'_>; 8] = [
            ("debug", Debug, &[]),
            ("WARN", Warn, &[]),
            ("off", Off, &[]),
            ("info,my_crate::parser=trace", Info, &[("my_crate::parser", Trace)]),
            ("my_crate", Off, &[("my_crate", Trace)]),
            (" my-crate = Debug , error,", Error, &[("my-crate", Debug)]),
            ("a=,b=off", Off, &[("a", Trace), ("b", Off)]),
            ("info,a=warn,debug,a=error", Debug, &[("a", Error)]),
        ];
        for (text, root, expected) in cases {
            let levels = parse(text);
            assert_eq!((levels.root, targets(&levels), levels.faults.len()), (root, expected.to_vec(), 0), "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_told() {
        for text in ["wran", "infoo", "Warning", "all", "none", "true", "INFOO"] {
            let levels = parse(text);
            assert_eq!((levels.targets.len(), levels.faults.len()), (1, 1), "{text}: {levels:?}");
            assert!(levels.faults[0].contains("is no level"), "{levels:?}");
        }
        for text in ["hyper", "my_crate", "tokio::net", "trade_engine", "selvedge"] {
            assert!(parse(text).faults.is_empty(), "{text}");
        }
    }

    #[test]
    fn unknown_directives_are_reported_and_skipped() {
        let cases = [
            "a=loud",
            "/some.*",
            "[span]=debug",
            "a[{id=1}]=debug",
            "a:b=info",
            "=info",
            "\u{7}=\u{7}",
            "\"debug\"",
            "'debug'",
            "*=debug",
            "debug;hyper=warn",
            "3",
            "\u{fffd}",
        ];
        for text in cases {
            let levels = parse(&format!("warn,{text}"));
            assert_eq!((levels.root, levels.targets.len()), (LevelFilter::Warn, 0), "{text}: {levels:?}");
            assert!(levels.faults.len() == 1 && !levels.faults[0].chars().any(char::is_control), "{levels:?}");
        }
    }
}
