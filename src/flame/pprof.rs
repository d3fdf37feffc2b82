//! A `profile.proto`, gzipped, as `go tool pprof` reads it: with addresses, mapped files, and inlined functions.

use super::{Facts, Line, Stacks};
use flate2::{Compression, write::GzEncoder};
use pprof::protos::{self, Message};
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

pub(super) fn write(stacks: &Stacks, facts: &Facts<'_>, out: impl Write) -> io::Result<()> {
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(&profile(stacks, facts).encode_to_vec())?;
    gzip.finish()?.flush()
}

/// Ids count from 1; id n stands at index n - 1.
pub(super) fn profile(stacks: &Stacks, facts: &Facts<'_>) -> protos::Profile {
    let mut strings = Strings::new();
    let mut functions = Functions::default();
    let clock = protos::ValueType { ty: strings.index(facts.clock), unit: strings.index("nanoseconds") };
    let count = protos::ValueType { ty: strings.index("samples"), unit: strings.index("count") };
    let label_key = strings.index(facts.label_key);
    let sample = |stack: &super::Stack, strings: &mut Strings| protos::Sample {
        location_id: stack.frames.iter().map(|&frame| frame as u64 + 1).collect(),
        value: vec![signed(stack.samples), signed(stack.weight)],
        label: vec![protos::Label { key: label_key, str: strings.index(&stack.label), ..Default::default() }],
    };
    let samples = stacks.stacks.iter().map(|stack| sample(stack, &mut strings)).collect();
    let locations = stacks.locations.iter().enumerate().map(|(index, location)| protos::Location {
        id: index as u64 + 1,
        mapping_id: location.module.map_or(0, |module| module as u64 + 1),
        address: location.address,
        line: location.lines.iter().map(|line| functions.line(line, &mut strings)).collect(),
        is_folded: false,
    });
    let locations = locations.collect();
    let mappings = stacks.modules.iter().enumerate().map(|(index, module)| protos::Mapping {
        id: index as u64 + 1,
        memory_start: module.start,
        memory_limit: module.end,
        file_offset: module.file_offset,
        filename: strings.index(&module.file),
        build_id: strings.index(&module.build_id),
        // Nothing is left for the reader to resolve: without this it would look for the file.
        has_functions: true,
        has_filenames: true,
        has_line_numbers: true,
        has_inline_frames: true,
    });
    let mappings = mappings.collect();
    let comments = facts.comments.iter().map(|comment| strings.index(comment)).collect();
    protos::Profile {
        sample_type: vec![count, clock.clone()],
        sample: samples,
        mapping: mappings,
        location: locations,
        function: functions.table,
        time_nanos: nanos(facts.started.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration_nanos: nanos(facts.duration),
        default_sample_type: clock.ty,
        period_type: Some(clock),
        period: nanos(facts.period),
        comment: comments,
        string_table: strings.table,
        ..Default::default()
    }
}

/// The format has signed numbers; what does not fit has met 292 years.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The string table: each string once, the empty one first, as the format asks.
struct Strings {
    table: Vec<String>,
    indexes: HashMap<String, i64>,
}

impl Strings {
    fn new() -> Strings {
        Strings { table: vec![String::new()], indexes: HashMap::from([(String::new(), 0)]) }
    }

    fn index(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.indexes.get(text) {
            return index;
        }
        let index = self.table.len() as i64;
        self.table.push(text.into());
        self.indexes.insert(text.into(), index);
        index
    }
}

#[derive(Default)]
struct Functions {
    table: Vec<protos::Function>,
    /// By name, system name and file.
    ids: HashMap<[i64; 3], u64>,
}

impl Functions {
    fn line(&mut self, line: &Line, strings: &mut Strings) -> protos::Line {
        let key = [strings.index(&line.function), strings.index(&line.system_name), strings.index(&line.file)];
        let next = self.table.len() as u64 + 1;
        let id = *self.ids.entry(key).or_insert(next);
        if id == next {
            let [name, system_name, filename] = key;
            self.table.push(protos::Function { id, name, system_name, filename, start_line: 0 });
        }
        protos::Line { function_id: id, line: line.line.into() }
    }
}
