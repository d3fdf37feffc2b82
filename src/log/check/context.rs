//! What the checks of one log4rs file share: the components that log4rs knows, the folder of
//! relative paths, and the warnings so far. Knows no key but `kind`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use log4rs::config::{Deserializable, Deserializers};

use crate::error::{Error, Kind};
use crate::log::deserialize::deserializers;
use crate::log::settings::for_log4rs;
use crate::yaml::{Field, did_you_mean, expand_env, quoted};

pub(super) struct Check {
    with: Deserializers,
    pub(super) folder: PathBuf,
    pub(super) warnings: Vec<String>,
    /// Line, key and fault of each text with an environment variable that cannot be replaced.
    unset: RefCell<Vec<(u64, String, String)>>,
}

impl Check {
    pub(super) fn new(folder: &Path) -> Check {
        let folder = folder.to_owned();
        Check { with: deserializers(), folder, warnings: Vec::new(), unset: RefCell::default() }
    }

    pub(super) fn warn(&mut self, field: &Field<'_>, message: &str) {
        self.warnings.push(field.remark(message));
    }

    /// `text` with its environment variables replaced. A variable that cannot be replaced is an
    /// error of the whole file. All such variables are reported together, since mostly several are
    /// missing.
    pub(super) fn variables(&self, field: &Field<'_>, text: &str) -> String {
        expand_env(text).unwrap_or_else(|fault| {
            self.unset.borrow_mut().push((field.line(), field.key().to_owned(), fault));
            text.to_owned()
        })
    }

    pub(super) fn no_unset_variable(&self, field: &Field<'_>) -> Result<(), Error> {
        let mut unset = self.unset.take();
        unset.sort();
        let Some(((line, key, fault), more)) = unset.split_first() else { return Ok(()) };
        let more = more.iter().map(|(line, key, fault)| format!("; also on line {line}, {key}: {fault}"));
        let message = fault.clone() + &more.collect::<String>();
        Err(Error::new(Kind::Config, message).at_file(field.file()).at_line(*line).at_key(key.clone()))
    }

    /// Lets log4rs build a component that opens nothing, so that it has its say while the key is
    /// known.
    pub(super) fn build<T: Deserializable + ?Sized>(&self, field: &Field<'_>, kind: &str) -> Result<Box<T>, Error> {
        let settings = match for_log4rs(field.node(), &["kind"]) {
            // All its keys are commented out.
            serde_value::Value::Unit => serde_value::Value::Map(BTreeMap::new()),
            settings => settings,
        };
        let built = self.with.deserialize::<T>(kind, settings);
        built.map_err(|reason| field.error(format!("log4rs refuses this {}", T::name())).because(reason))
    }
}

/// The kind of a component, one of the known ones.
pub(super) fn read_kind<'k>(
    field: &Field<'_>,
    role: &str,
    known: &[&'k str],
    default: Option<&'k str>,
) -> Result<&'k str, Error> {
    let section = field.open()?;
    let Some(kind) = section.get("kind") else {
        let missing = || field.error(format!("the key `kind` is missing; kinds of {role}: {}", known.join(", ")));
        return default.ok_or_else(missing);
    };
    let text = kind.text(&format!("a kind of {role}"))?;
    known.iter().find(|word| **word == text).copied().ok_or_else(|| {
        let hint = did_you_mean(text, known);
        kind.error(format!("unknown kind of {role} {}; known: {}{hint}", quoted(text), known.join(", ")))
    })
}
