//! The encoder of kind `json`: one object per line, with the fields of log4rs's own.

use std::fmt;
use std::io;

use chrono::format::{Fixed, Item};
use chrono::{DateTime, Utc};
use log4rs::config::{Deserialize, Deserializers};
use log4rs::encode::json::JsonEncoderConfig;
use log4rs::encode::{Encode, Write};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use super::one_piece::{NEWLINE, in_one_piece};
use crate::log::record::{Context, Pairs, Time, format_into, with_context};
use crate::thread::foreign_locals::local_time;

#[derive(Debug, Default)]
pub(crate) struct JsonEncoder;

pub(super) struct FromConfig;

impl Deserialize for FromConfig {
    type Trait = dyn Encode;
    type Config = JsonEncoderConfig;

    fn deserialize(&self, _: JsonEncoderConfig, _: &Deserializers) -> anyhow::Result<Box<dyn Encode>> {
        Ok(Box::new(JsonEncoder))
    }
}

impl Encode for JsonEncoder {
    fn encode(&self, out: &mut dyn Write, record: &::log::Record<'_>) -> anyhow::Result<()> {
        in_one_piece(out, |line| with_context(|context| write_object(line, record, context)))
    }
}

fn write_object(line: &mut dyn Write, record: &::log::Record<'_>, context: &Context<'_>) -> anyhow::Result<()> {
    let object = Object { record, context };
    object.serialize(&mut serde_json::Serializer::new(&mut *line))?;
    Ok(io::Write::write_all(line, NEWLINE.as_bytes())?)
}

struct Object<'a> {
    record: &'a ::log::Record<'a>,
    context: &'a Context<'a>,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (record, context) = (self.record, self.context);
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("time", &Text(Stamp(context.time)))?;
        map.serialize_entry("level", record.level().as_str())?;
        map.serialize_entry("message", &Text(record.args()))?;
        if let Some(module) = record.module_path() {
            map.serialize_entry("module_path", module)?;
        }
        if let Some(file) = record.file() {
            map.serialize_entry("file", file)?;
        }
        if let Some(line) = record.line() {
            map.serialize_entry("line", &line)?;
        }
        map.serialize_entry("target", record.target())?;
        map.serialize_entry("thread", &context.thread)?;
        map.serialize_entry("thread_id", &context.thread_id)?;
        map.serialize_entry("mdc", &Map(context.mdc))?;
        map.serialize_entry("attributes", &Attributes(record.key_values()))?;
        map.end()
    }
}

struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

struct Stamp(Time);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = DateTime::<Utc>::from_timestamp(self.0.seconds, self.0.nanos).unwrap_or_default();
        let item = Item::Fixed(Fixed::RFC3339);
        write!(f, "{}", local_time(utc).format_with_items([item].iter()))
    }
}

struct Map<'a>(Pairs<'a>);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0)
    }
}

struct Attributes<'a>(&'a dyn ::log::kv::Source);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Visit<M>(M);
        impl<'kvs, M: SerializeMap> ::log::kv::VisitSource<'kvs> for Visit<M> {
            fn visit_pair(
                &mut self,
                key: ::log::kv::Key<'kvs>,
                value: ::log::kv::Value<'kvs>,
            ) -> Result<(), ::log::kv::Error> {
                let mut text = String::new();
                // Not to_string, which panics where a Display gives up.
                format_into(&mut text, format_args!("{value}"));
                let entry = self.0.serialize_entry(key.as_str(), &text);
                entry.map_err(|error| ::log::kv::Error::boxed(error.to_string()))
            }
        }
        let mut visit = Visit(to.serialize_map(None)?);
        self.0.visit(&mut visit).map_err(S::Error::custom)?;
        visit.0.end()
    }
}
