//! A YAML file as a tree in which each value knows its line, and typed reading of its values. Every
//! fault becomes an error that names file, line and key. Does not know the meaning of any key.

// A log4rs file needs more of it than the runtime's own settings.
#![cfg_attr(not(feature = "log4rs"), allow(dead_code, unused_imports))]

mod document;
mod field;
mod nearest;
mod node;
mod text;
mod unreplaced;
mod variables;

pub(crate) use document::Document;
pub(crate) use field::{Field, Section, did_you_mean, one_of};
pub(crate) use node::{Node, Value};
pub(crate) use text::{plain, plain_path, quoted};
pub(crate) use unreplaced::{expand_path, unreplaced};
pub(crate) use variables::expand_env;
