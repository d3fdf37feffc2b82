//! The body of a request by OTLP: an `ExportProfilesServiceRequest` with the published messages,
//! gzipped. The protocol is in development, as the version in its path says.

use super::plan::Plan;
use super::response::plain;
use crate::flame::Stacks;
use crate::os::counted::counted;
use crate::profile::{Delta, Interval};
use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::profiles::v1development::{
    Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, ResourceProfiles, Sample,
    ScopeProfiles, Stack, ValueType,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

pub(super) const PATH: &str = "/v1development/profiles";
pub(super) const HEADERS: &str = "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n";

const SERVICE: &str = "service.name";
/// What the semantic conventions call the name of a thread.
const THREAD: &str = "thread.name";
const BUILD_ID: &str = "process.executable.build_id.gnu";

/// The gzipped body.
///
/// # Errors
/// Why there is none, as a part of a sentence.
pub(super) fn body(plan: &Plan, interval: &Interval) -> Result<Vec<u8>, String> {
    let mut tables = Tables::new();
    let profiles = interval.deltas.iter().map(|delta| profile(delta, interval, &mut tables)).collect();
    let scope = InstrumentationScope {
        name: "selvedge".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let of_scope = ScopeProfiles { scope: Some(scope), profiles, schema_url: String::new() };
    let resource = Resource { attributes: attributes(plan), ..Resource::default() };
    let request = ExportProfilesServiceRequest {
        resource_profiles: vec![ResourceProfiles {
            resource: Some(resource),
            scope_profiles: vec![of_scope],
            schema_url: String::new(),
        }],
        dictionary: Some(tables.finish()),
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let written = gzip.write_all(&request.encode_to_vec()).and_then(|()| gzip.finish());
    written.map_err(|error| error.to_string())
}

/// What the server says that it has not taken. An answer that is no message says nothing of
/// the profiles.
pub(super) fn rejected(body: &[u8]) -> Option<String> {
    let answer = match ExportProfilesServiceResponse::decode(body) {
        Ok(answer) => answer,
        Err(error) => return Some(format!("the answer of the server cannot be read ({})", plain(&error.to_string()))),
    };
    let partial = answer.partial_success?;
    (partial.rejected_profiles > 0).then(|| {
        format!(
            "the server has rejected {} of it ({})",
            counted(partial.rejected_profiles as u64, "profile"),
            plain(partial.error_message.trim())
        )
    })
}

fn attributes(plan: &Plan) -> Vec<KeyValue> {
    let own = plan.labels.iter().all(|(name, _)| name != SERVICE).then_some((SERVICE, plan.service.as_str()));
    let labels = plan.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let pair =
        |(key, value): (&str, &str)| KeyValue { key: key.to_owned(), value: Some(text(value)), ..Default::default() };
    own.into_iter().chain(labels).map(pair).collect()
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The times of a delta. The number of samples follows from them and the period.
fn profile(delta: &Delta, interval: &Interval, tables: &mut Tables) -> Profile {
    let [_, [kind, unit]] = delta.kind.values();
    let value_type = ValueType { type_strindex: tables.text(kind), unit_strindex: tables.text(unit) };
    let locations = tables.locations(&delta.stacks);
    let mut samples = Vec::with_capacity(delta.stacks.stacks.len());
    for stack in &delta.stacks.stacks {
        let location_indices = stack.frames.iter().map(|&frame| locations[frame]).collect();
        samples.push(Sample {
            stack_index: tables.stacks.index(Stack { location_indices }),
            attribute_indices: vec![tables.attribute(THREAD, &stack.label)],
            values: vec![i64::try_from(stack.weight).unwrap_or(i64::MAX)],
            ..Sample::default()
        });
    }
    Profile {
        sample_type: Some(value_type),
        samples,
        time_unix_nano: nanos(interval.started.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration_nano: nanos(interval.duration),
        period_type: Some(value_type),
        period: i64::try_from(delta.period).unwrap_or(i64::MAX),
        profile_id: (0..2).flat_map(|_| RandomState::new().hash_one(0).to_be_bytes()).collect(),
        ..Profile::default()
    }
}

/// Entries of a table, each once. The first is empty: index 0 means none.
struct Table<T> {
    entries: Vec<T>,
    indexes: HashMap<T, i32>,
}

impl<T: Clone + Default + Eq + Hash> Table<T> {
    fn new() -> Table<T> {
        let indexes = HashMap::from([(T::default(), 0)]);
        Table { entries: vec![T::default()], indexes }
    }

    fn index(&mut self, entry: T) -> i32 {
        let next = i32::try_from(self.entries.len()).unwrap_or(0);
        let entries = &mut self.entries;
        *self.indexes.entry(entry).or_insert_with_key(|entry| {
            entries.push(entry.clone());
            next
        })
    }
}

/// The dictionary of a request while it is filled.
struct Tables {
    texts: Table<String>,
    functions: Table<Function>,
    mappings: Table<Mapping>,
    stacks: Table<Stack>,
    /// Keys and values.
    attributes: Table<(i32, String)>,
    locations: Vec<Location>,
}

impl Tables {
    fn new() -> Tables {
        Tables {
            texts: Table::new(),
            functions: Table::new(),
            mappings: Table::new(),
            stacks: Table::new(),
            attributes: Table::new(),
            locations: vec![Location::default()],
        }
    }

    fn text(&mut self, text: &str) -> i32 {
        self.texts.index(text.to_owned())
    }

    fn attribute(&mut self, key: &str, value: &str) -> i32 {
        let key = self.text(key);
        self.attributes.index((key, value.to_owned()))
    }

    /// Adds the locations of these stacks. Returns their indexes in the table.
    fn locations(&mut self, stacks: &Stacks) -> Vec<i32> {
        let mut modules = Vec::with_capacity(stacks.modules.len());
        for module in &stacks.modules {
            let attribute_indices = match module.build_id.is_empty() {
                true => Vec::new(),
                false => vec![self.attribute(BUILD_ID, &module.build_id)],
            };
            let filename_strindex = self.text(&module.file);
            let (memory_start, memory_limit, file_offset) = (module.start, module.end, module.file_offset);
            let mapping = Mapping { memory_start, memory_limit, file_offset, filename_strindex, attribute_indices };
            modules.push(self.mappings.index(mapping));
        }
        let mut indexes = Vec::with_capacity(stacks.locations.len());
        for location in &stacks.locations {
            let mut lines = Vec::with_capacity(location.lines.len());
            for line in &location.lines {
                let function = Function {
                    name_strindex: self.text(&line.function),
                    system_name_strindex: self.text(&line.system_name),
                    filename_strindex: self.text(&line.file),
                    start_line: 0,
                };
                lines.push(Line { function_index: self.functions.index(function), line: line.line.into(), column: 0 });
            }
            indexes.push(i32::try_from(self.locations.len()).unwrap_or(0));
            self.locations.push(Location {
                mapping_index: location.module.map_or(0, |module| modules[module]),
                address: location.address,
                lines,
                ..Location::default()
            });
        }
        indexes
    }

    fn finish(self) -> ProfilesDictionary {
        let attributes = self.attributes.entries.into_iter().enumerate().map(|(index, (key, value))| KeyValueAndUnit {
            key_strindex: key,
            value: (index > 0).then(|| text(&value)),
            unit_strindex: 0,
        });
        ProfilesDictionary {
            attribute_table: attributes.collect(),
            mapping_table: self.mappings.entries,
            location_table: self.locations,
            function_table: self.functions.entries,
            link_table: vec![Link::default()],
            string_table: self.texts.entries,
            stack_table: self.stacks.entries,
        }
    }
}
