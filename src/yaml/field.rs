//! Typed reading of one value: each mismatch becomes an error that names file, line and key.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::nearest::nearest;
use super::node::{Entry, Node, Value, first_repeated};
use super::text::{plain, quoted};
use crate::error::{Error, Kind};

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    file: &'a Path,
    key: String,
    line: u64,
    node: &'a Node,
}

/// A value that holds further keys.
pub(crate) struct Section<'a> {
    field: Field<'a>,
    entries: &'a [Entry],
}

impl<'a> Field<'a> {
    pub(super) fn top(file: &'a Path, node: &'a Node) -> Field<'a> {
        Field { file, key: String::new(), line: node.line, node }
    }

    fn entry(&self, entry: &'a Entry) -> Field<'a> {
        let name = plain(&entry.key);
        let key = if self.key.is_empty() { name } else { format!("{}.{name}", self.key) };
        Field { file: self.file, key, line: entry.line, node: &entry.node }
    }

    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }

    /// All keys that lead to it, parted by dots.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn file(&self) -> &Path {
        self.file
    }

    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        let error = Error::new(Kind::Config, message).at_file(self.file).at_line(self.line);
        if self.key.is_empty() { error } else { error.at_key(self.key.clone()) }
    }

    pub(crate) fn expected(&self, what: impl Display) -> Error {
        self.error(format!("expected {what}, found {}", self.node.value.describe()))
    }

    /// `path:line: key: message`, for what is no error.
    pub(crate) fn remark(&self, message: impl Into<String>) -> String {
        self.error(message).to_string()
    }

    /// Its keys, without a check of their names. A key without a value is an empty section: its
    /// keys may be commented out.
    pub(crate) fn open(&self) -> Result<Section<'a>, Error> {
        match &self.node.value {
            Value::Map(entries) => Ok(Section { field: self.clone(), entries }),
            Value::Nothing => Ok(Section { field: self.clone(), entries: &[] }),
            _ => Err(self.expected("keys and values (`key: value`)")),
        }
    }

    /// Its keys, all of them known.
    pub(crate) fn section(&self, known: &[&str]) -> Result<Section<'a>, Error> {
        let section = self.open()?;
        let unknown = section.all().find(|(name, _)| !known.contains(name));
        match unknown {
            None => Ok(section),
            Some((name, unknown)) => {
                let hint = did_you_mean(name, known);
                Err(unknown.error(format!("unknown key; known here: {}{hint}", known.join(", "))))
            }
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Field<'a>>, Error> {
        let Value::List(nodes) = &self.node.value else {
            return Err(self.expected("a list, as in `[a, b]`"));
        };
        let item = |(at, node): (usize, &'a Node)| {
            let line = node.line;
            Field { file: self.file, key: format!("{}[{at}]", self.key), line, node }
        };
        Ok(nodes.iter().enumerate().map(item).collect())
    }

    pub(crate) fn is_section(&self) -> bool {
        matches!(self.node.value, Value::Map(_) | Value::Nothing)
    }

    pub(crate) fn text(&self, what: &str) -> Result<&'a str, Error> {
        match &self.node.value {
            Value::Text(text) if !text.is_empty() => Ok(text),
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) => {
                Err(self.expected(format!("{what} (text; put quotes around it)")))
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, Error> {
        match &self.node.value {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.expected("true or false, without quotes")),
        }
    }

    pub(crate) fn integer<T>(&self, range: RangeInclusive<T>, what: &str) -> Result<T, Error>
    where
        T: Display + PartialOrd + TryFrom<i128>,
    {
        let value = match &self.node.value {
            Value::Integer(value) => T::try_from(*value).ok().filter(|value| range.contains(value)),
            _ => None,
        };
        value.ok_or_else(|| self.expected(format!("{what}, a number from {} to {}", range.start(), range.end())))
    }

    /// As `humantime` reads it, with units.
    pub(crate) fn duration(&self) -> Result<Duration, Error> {
        const WHAT: &str = "a duration with its unit, such as `5s`, `250ms` or `1m 30s`";
        match &self.node.value {
            Value::Text(text) if !text.trim().bytes().all(|byte| byte.is_ascii_digit()) => {
                humantime::parse_duration(text).map_err(|error| self.expected(WHAT).because(error))
            }
            Value::Text(_) | Value::Integer(_) | Value::Float(_) => {
                Err(self.error(format!("{} has no unit; write {WHAT}", self.node.value.describe())))
            }
            _ => Err(self.expected(WHAT)),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Error> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let Value::Text(text) = &self.node.value else {
            return Err(self.expected(one_of(&words)));
        };
        match choices.iter().find(|(word, _)| word == text) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let hint = did_you_mean(text, &words);
                Err(self.error(format!("expected {}, found {}{hint}", one_of(&words), quoted(text))))
            }
        }
    }

    /// Looks at this value and all below it.
    pub(super) fn no_key_twice(&self) -> Result<(), Error> {
        match &self.node.value {
            Value::Map(entries) => {
                if let Some((entry, line)) = first_repeated(entries) {
                    return Err(self
                        .entry(entry)
                        .error(format!("given twice, first on line {line}; keep one of them")));
                }
                entries.iter().try_for_each(|entry| self.entry(entry).no_key_twice())
            }
            Value::List(_) => self.list()?.iter().try_for_each(Field::no_key_twice),
            _ => Ok(()),
        }
    }
}

impl<'a> Section<'a> {
    pub(crate) fn field(&self) -> &Field<'a> {
        &self.field
    }

    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.field.entry(entry))
    }

    pub(crate) fn required(&self, key: &str, what: &str) -> Result<Field<'a>, Error> {
        self.get(key).ok_or_else(|| self.field.error(format!("the key `{key}` is missing: {what}")))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + '_ {
        self.entries.iter().map(|entry| (entry.key.as_str(), self.field.entry(entry)))
    }
}

/// `; did you mean …?`, or nothing if no word is near.
pub(crate) fn did_you_mean(typed: &str, known: &[&str]) -> String {
    nearest(typed, known).map_or_else(String::new, |word| format!("; did you mean {}?", quoted(word)))
}

/// `a, b or c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}
