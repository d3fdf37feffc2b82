//! A YAML file as a tree in which each value knows its line, and typed reading of its values. Every
//! fault becomes an error that names file, line and key. Does not know the meaning of any key.

// A log4rs file needs more of it than the runtime's own settings.
#![cfg_attr(not(feature = "log4rs"), allow(dead_code, unused_imports))]

mod field;
mod nearest;
mod variables;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use crate::error::{Error, Kind};
pub(crate) use field::{Field, Section, did_you_mean, one_of};
use nearest::nearest;
pub(crate) use variables::expand_env;

/// More than any configuration needs; a log file or a core dump named by mistake is not read into
/// memory.
const LARGEST_FILE: u64 = 1024 * 1024;
/// The deepest that log4rs knows is 5. Reading and dropping the tree recurse.
const DEEPEST: usize = 32;

pub(crate) struct Document {
    file: PathBuf,
    root: Node,
}

pub(crate) struct Node {
    line: u64,
    value: Value,
}

pub(crate) enum Value {
    Nothing,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

pub(crate) struct Entry {
    key: String,
    line: u64,
    node: Node,
}

impl Document {
    /// An empty file is a document with nothing in it.
    pub(crate) fn read(file: &Path) -> Result<Document, Error> {
        let text = read_text(file).map_err(|error| error.at_file(file))?;
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: DEEPEST, max_events: 100_000, max_nodes: 50_000 },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
            // Told apart after reading, when the whole key and the first line are known.
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            // As serde_yaml, which log4rs uses: `level: off` is a level and no boolean.
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            reject_unsupported_tags: true,
            with_snippet: false,
        };
        let root = if is_nothing(&text) {
            Node { line: 1, value: Value::Nothing }
        } else {
            serde_saphyr::from_str_with_options::<Spanned<Value>>(&text, options)
                .map(Node::from)
                .map_err(|error| translate(&error, &text).at_file(file))?
        };
        let document = Document { file: file.to_owned(), root };
        document.top().no_key_twice()?;
        Ok(document)
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn top(&self) -> Field<'_> {
        Field::top(&self.file, &self.root)
    }
}

/// Blanks and comments, by YAML's own idea of both: a lone carriage return ends a line, and a
/// comment.
fn is_nothing(text: &str) -> bool {
    text.split(['\n', '\r']).all(|line| {
        let line = line.trim_start_matches([' ', '\t']);
        let comment = line.is_empty() || line.starts_with('#');
        comment && !line.chars().any(|letter| letter.is_control() && letter != '\t')
    })
}

fn read_text(path: &Path) -> Result<String, Error> {
    let refused = |error: std::io::Error| Error::new(Kind::Config, "cannot read this file").because(error);
    let file = File::open(path).map_err(refused)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Error::new(Kind::Config, "this is a directory; name the YAML file in it"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let message = format!("larger than {LARGEST_FILE} bytes; that is no configuration, is the path right?");
        return Err(Error::new(Kind::Config, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count() as u64;
        Error::new(Kind::Config, "not UTF-8 text; save the file as UTF-8").at_line(line)
    })
}

/// The parser's message in plain words.
fn translate(error: &serde_saphyr::Error, text: &str) -> Error {
    use serde_saphyr::Error as Yaml;
    let mut error = error.without_snippet();
    let location = error.location();
    while let Yaml::AliasError { error: inner, .. } = error {
        error = inner;
    }
    let lines: Vec<&str> = text.lines().collect();
    // A fault at the end of the file is reported behind its last line.
    let line = location.map_or(usize::MAX, |location| location.line() as usize).clamp(1, lines.len().max(1));
    let at = |line: usize, message: String| Error::new(Kind::Config, message).at_line(line as u64);
    // The scanner may notice the tab only from the line before.
    let tab = lines.iter().take(line + 1).position(|line| line.trim_start_matches(' ').starts_with('\t'));
    if let Some(before) = tab {
        return at(before + 1, "this line is indented with a tab; YAML takes only spaces".to_owned());
    }
    let message = match error {
        Yaml::MultipleDocuments { .. } => {
            let start = lines.iter().take(line).rposition(|line| line.starts_with("---"));
            let message = "a second document starts here (`---`); one file holds one".to_owned();
            return at(start.map_or(line, |before| before + 1), message);
        }
        Yaml::Eof { .. } => "the file ends in the middle of a value; is a bracket or a quote open?".to_owned(),
        Yaml::UnknownAnchor { .. } => "this `*name` refers to an `&name` that is not above it".to_owned(),
        Yaml::NullIntoString { .. } => "a key is missing before the `:`".to_owned(),
        Yaml::Unexpected { .. } => "a key must be text; found a list or further keys in its place".to_owned(),
        Yaml::UnsupportedTag { tag, .. } => format!("the tag {} has no meaning here; remove it", quoted(tag)),
        Yaml::Budget { .. } | Yaml::AliasReplayLimitExceeded { .. } | Yaml::AliasReplayStackDepthExceeded { .. } => {
            "nested or repeated beyond what a configuration needs".to_owned()
        }
        other => {
            let reason = plain(&UserMessageFormatter.format_message(other));
            format!("not valid YAML: {reason}; look here and above for an open bracket or quote, or a wrong indent")
        }
    };
    at(line, message)
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Node {
        Node { line: spanned.referenced.line(), value: spanned.value }
    }
}

impl Node {
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }
}

impl Entry {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }
}

impl Value {
    /// In a sentence after "found".
    fn describe(&self) -> String {
        match self {
            Value::Nothing => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Integer(value) => format!("the number {value}"),
            // `1000.0`, where it is wrong to be no whole number.
            Value::Float(value) => format!("the number {value:?}"),
            Value::Text(text) if text.is_empty() => "empty text".to_owned(),
            Value::Text(text) => format!("the text {}", quoted(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "further keys".to_owned(),
        }
    }
}

/// Other people's text as it may stand in a message: on one line, and without control characters.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_debug()) } else { shown.push(letter) }
    }
    shown
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

/// The place of the first entry whose key was there before, and the line of the earlier one.
fn first_repeated(entries: &[Entry]) -> Option<(&Entry, u64)> {
    let mut seen = HashMap::new();
    entries.iter().find_map(|entry| seen.insert(entry.key.as_str(), entry.line).map(|line| (entry, line)))
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Integer(value.try_into().unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element::<Spanned<Value>>()? {
            nodes.push(node.into());
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push(Entry { line: key.referenced.line(), key: key.value, node: node.into() });
        }
        Ok(Value::Map(entries))
    }
}
