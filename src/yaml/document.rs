//! A YAML file, read whole. The parser's faults become errors in plain words that name the line. A
//! file that is too large, nested too deep, or gives a key twice is refused.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use super::field::Field;
use super::node::{Node, Value};
use super::text::{plain, quoted};
use crate::error::{Error, Kind};

/// More than any configuration needs; a log file or a core dump named by mistake is not read into
/// memory.
const LARGEST_FILE: u64 = 1024 * 1024;
/// The deepest that log4rs knows is 5. Reading and dropping the tree recurse.
const DEEPEST: usize = 32;

pub(crate) struct Document {
    file: PathBuf,
    root: Node,
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
