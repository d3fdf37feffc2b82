//! Writes a gzipped `profile.proto` for `go tool pprof`, with addresses, mapped files and inlined
//! functions. `protobuf.rs` encodes it.

use super::protobuf::Message;
use super::{Line, Stacks};
use flate2::{Compression, write::GzEncoder};
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a pprof file contains besides its stacks.
pub(crate) struct Facts<'a> {
    /// What a stack's `samples` and its weight are, each with its unit: `samples` in `count`, `cpu` in
    /// `nanoseconds`.
    pub(crate) values: [[&'a str; 2]; 2],
    pub(crate) started: SystemTime,
    pub(crate) duration: Duration,
    /// What the period is of. With the type of the values it is the name of the profile's type for
    /// servers, which know Go's: a CPU profile has a period of CPU time, and a profile of waits a
    /// period of one wait.
    pub(crate) period_type: [&'a str; 2],
    /// In the unit of its type: the clock's nanoseconds between two samples.
    pub(crate) period: u64,
    /// What the labels of the stacks name: `thread`.
    pub(crate) label_key: &'a str,
    /// Remarks for the readers of the file.
    pub(crate) comments: &'a [String],
}

pub(super) fn write(stacks: &Stacks, facts: &Facts<'_>, out: impl Write) -> io::Result<()> {
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(profile(stacks, facts).as_bytes())?;
    gzip.finish()?.flush()
}

/// The same for counts without a time.
#[cfg(feature = "inspect")]
pub(super) fn write_counts(stacks: &Stacks, kind: &str, out: impl Write) -> io::Result<()> {
    let facts = Facts {
        values: [["", ""]; 2],
        started: SystemTime::now(),
        duration: Duration::ZERO,
        period_type: [kind, "count"],
        period: 1,
        label_key: "thread",
        comments: &[],
    };
    let mut strings = Strings::new();
    let kind = [strings.index(kind), strings.index("count")];
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(
        message(stacks, &facts, strings, Values { kinds: &[kind], main: kind, with_weights: false }).as_bytes(),
    )?;
    gzip.finish()?.flush()
}

/// What the values of the samples are.
struct Values<'a> {
    /// Each by its kind and unit.
    kinds: &'a [[i64; 2]],
    /// The kind that is shown first.
    main: [i64; 2],
    with_weights: bool,
}

fn profile(stacks: &Stacks, facts: &Facts<'_>) -> Message {
    let mut strings = Strings::new();
    let [count, clock] = facts.values.map(|value| value.map(|text| strings.index(text)));
    message(stacks, facts, strings, Values { kinds: &[count, clock], main: clock, with_weights: true })
}

/// The message. Its field numbers are from `profile.proto` in google/pprof. Ids count from 1: id n
/// is at index n - 1.
fn message(stacks: &Stacks, facts: &Facts<'_>, mut strings: Strings, values: Values<'_>) -> Message {
    let mut functions = Functions::default();
    let mut profile = Message::default();
    for kind in values.kinds {
        profile.message(1, &value_type(*kind));
    }
    let label_key = strings.index(facts.label_key);
    for stack in &stacks.stacks {
        let mut label = Message::default();
        label.signed(1, label_key).signed(2, strings.index(&stack.label));
        let mut sample = Message::default();
        sample.unsigned_list(1, stack.frames.iter().map(|&frame| frame as u64 + 1));
        let weight = values.with_weights.then(|| signed(stack.weight));
        sample.signed_list(2, [signed(stack.samples)].into_iter().chain(weight));
        sample.message(3, &label);
        for (key, text) in &stack.labels {
            sample.message(3, &more_label(key, text, facts, &mut strings));
        }
        profile.message(2, &sample);
    }
    for (index, module) in stacks.modules.iter().enumerate() {
        let mut mapping = Message::default();
        mapping.unsigned(1, index as u64 + 1);
        mapping.unsigned(2, module.start).unsigned(3, module.end).unsigned(4, module.file_offset);
        mapping.signed(5, strings.index(&module.file)).signed(6, strings.index(&module.build_id));
        // Functions, file names, line numbers and inlined frames are in here, so that a reader does
        // not need the program's file.
        mapping.boolean(7, true).boolean(8, true).boolean(9, true).boolean(10, true);
        profile.message(3, &mapping);
    }
    for (index, location) in stacks.locations.iter().enumerate() {
        let mut entry = Message::default();
        entry.unsigned(1, index as u64 + 1);
        entry.unsigned(2, location.module.map_or(0, |module| module as u64 + 1)).unsigned(3, location.address);
        for line in &location.lines {
            let mut message = Message::default();
            message.unsigned(1, functions.id(line, &mut strings)).signed(2, line.line.into());
            entry.message(4, &message);
        }
        profile.message(4, &entry);
    }
    for (index, [name, system_name, file]) in functions.table.iter().enumerate() {
        let mut function = Message::default();
        function.unsigned(1, index as u64 + 1).signed(2, *name).signed(3, *system_name).signed(4, *file);
        profile.message(5, &function);
    }
    let period_type = facts.period_type.map(|text| strings.index(text));
    let comments: Vec<i64> = facts.comments.iter().map(|comment| strings.index(comment)).collect();
    for text in &strings.table {
        profile.text(6, text);
    }
    profile.signed(9, nanos(facts.started.duration_since(UNIX_EPOCH).unwrap_or_default()));
    profile.signed(10, nanos(facts.duration));
    profile.message(11, &value_type(period_type)).signed(12, signed(facts.period));
    profile.signed_list(13, comments).signed(14, values.main[0]);
    profile
}

/// A label besides the label that names the thread.
fn more_label(key: &str, text: &str, facts: &Facts<'_>, strings: &mut Strings) -> Message {
    let mut label = Message::default();
    match key == facts.label_key {
        // The program's own key of that name would be mixed with the paths.
        true => label.signed(1, strings.index(&format!("{key} (context)"))),
        false => label.signed(1, strings.index(key)),
    };
    // `go tool pprof -tagfocus request=17` looks for a number, and finds no text.
    match text.parse::<i64>().ok().filter(|number| *number.to_string() == *text) {
        Some(number) => label.signed(3, number).signed(4, strings.index("count")),
        None => label.signed(2, strings.index(text)),
    };
    label
}

/// The kind and the unit of a value, by their indexes in the string table.
fn value_type([kind, unit]: [i64; 2]) -> Message {
    let mut value_type = Message::default();
    value_type.signed(1, kind).signed(2, unit);
    value_type
}

/// The format has signed numbers: enough for 292 years in nanoseconds.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The string table: each string once, the empty string first, as the format demands.
struct Strings {
    table: Vec<String>,
    indexes: HashMap<String, i64>,
}

impl Strings {
    fn new() -> Strings {
        Strings { table: vec![String::new()], indexes: HashMap::from([(String::new(), 0)]) }
    }

    /// The index of the text in the table, added if need be.
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

/// Each function once.
#[derive(Default)]
struct Functions {
    /// Name, system name and file, by their indexes in the string table.
    table: Vec<[i64; 3]>,
    ids: HashMap<[i64; 3], u64>,
}

impl Functions {
    /// The id of the function, added if need be.
    fn id(&mut self, line: &Line, strings: &mut Strings) -> u64 {
        let key = [strings.index(&line.function), strings.index(&line.system_name), strings.index(&line.file)];
        *self.ids.entry(key).or_insert_with(|| {
            self.table.push(key);
            self.table.len() as u64
        })
    }
}
