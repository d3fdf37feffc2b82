//! Encoders that print what was captured at the call. They have the kinds and settings of log4rs's
//! own encoders, and print byte for byte what those would have printed at the call. Name `record`,
//! and not what a record goes through before.

mod date;
mod fields;
mod json;
mod one_piece;
mod pattern;
mod width;

use log4rs::config::Deserializers;

pub(super) use one_piece::{was_accepted, without_output};
pub(super) use pattern::PatternEncoder;

pub(super) fn register(with: &mut Deserializers) {
    with.insert("pattern", pattern::FromConfig);
    with.insert("json", json::FromConfig);
}

#[cfg(test)]
mod tests;
