//! The markers of each thread: waits, what ended them, births, ends, spans and log records.

use super::format::{Category, CauseStack, Field, Markers, Payload, Schema, millis};
use super::tables::Tables;
use crate::profile::trace::{Trace, TracedEnder, TracedWait};
use crate::profile::traced_stacks::TracedStacks;

/// Indexes of the categories; `tables` has that of code.
const WAITING: usize = 2;
const SPANS: usize = 3;
const LOGS: usize = 4;
const LIVES: usize = 5;

/// The maximum number of waits that are shown. A viewer does not open a file with millions of
/// markers; the longest waits are kept.
const MOST_WAITS: usize = 100_000;

const EVERYWHERE: &[&str] = &["marker-chart", "marker-table", "timeline-overview"];

pub(super) fn categories() -> Vec<Category> {
    let colours = [
        ("Other", "grey"),
        ("Code", "blue"),
        ("Waits", "orange"),
        ("Spans", "green"),
        ("Log", "purple"),
        ("Threads", "darkgrey"),
    ];
    colours.map(|(name, color)| Category { name, color, subcategories: ["Other"] }).into()
}

pub(super) fn schemas() -> Vec<Schema> {
    let field = |(key, label, format)| Field { key, label, format };
    let schema = |name, label, description, fields: &[_]| Schema {
        name,
        tooltip_label: label,
        table_label: label,
        chart_label: label,
        display: EVERYWHERE,
        fields: fields.iter().copied().map(field).collect(),
        description,
        is_stack_based: name == "Span",
    };
    const TEXT: &str = "unique-string";
    vec![
        schema(
            "Wait",
            "waits for {marker.data.what}",
            "A sleep in a blocking call",
            &[("what", "What for", TEXT), ("endedBy", "Ended by", TEXT)],
        ),
        schema(
            "Wakes",
            "wakes {marker.data.thread}",
            "The thread ended the wait of another one",
            &[("thread", "Thread", TEXT), ("what", "Which waited for", TEXT), ("flow", "Wake-up", "flow-id")],
        ),
        schema(
            "Woken",
            "woken by {marker.data.by}",
            "The wait was ended, and the thread had no processor yet",
            &[("by", "By", TEXT), ("flow", "Wake-up", "terminating-flow-id")],
        ),
        schema(
            "Spawns",
            "spawns {marker.data.thread}",
            "The thread spawned another one",
            &[("thread", "Thread", TEXT), ("flow", "Birth", "flow-id")],
        ),
        schema(
            "Spawned",
            "spawned by {marker.data.by}",
            "The thread began",
            &[("by", "By", TEXT), ("flow", "Birth", "terminating-flow-id")],
        ),
        schema("Ends", "ends", "The thread ended", &[("path", "Path", TEXT)]),
        schema("Span", "{marker.data.name}", "A stretch of the program's own", &[("name", "Name", TEXT)]),
        schema(
            "Log",
            "{marker.data.level}: {marker.data.message}",
            "A log record",
            &[("level", "Level", TEXT), ("message", "Message", TEXT), ("place", "Place", TEXT)],
        ),
    ]
}

/// All threads' markers, and the number of waits that are not among them.
pub(super) fn markers(trace: &Trace, named: &TracedStacks, tables: &mut Tables<'_>) -> (Vec<Markers>, usize) {
    markers_of(trace, named, tables, MOST_WAITS)
}

pub(super) fn markers_of(
    trace: &Trace,
    named: &TracedStacks,
    tables: &mut Tables<'_>,
    most: usize,
) -> (Vec<Markers>, usize) {
    let mut lengths: Vec<u64> = trace
        .threads
        .iter()
        .flat_map(|thread| &thread.waits)
        .map(|wait| wait.ended.saturating_sub(wait.begin))
        .collect();
    let shortest = if lengths.len() > most {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths[most]
    } else {
        0
    };
    let mut marking =
        Marking { trace, named, tables, of: trace.threads.iter().map(|_| Markers::default()).collect(), flows: 0 };
    let mut left_out = 0;
    for (index, thread) in trace.threads.iter().enumerate() {
        marking.life(index);
        for wait in &thread.waits {
            let length = wait.ended.saturating_sub(wait.begin);
            // Of waits of the same length, none is kept where not all can be.
            if lengths.len() > most && length <= shortest {
                left_out += 1;
                continue;
            }
            marking.wait(index, wait);
        }
        marking.spans_and_logs(index);
    }
    (marking.of, left_out)
}

struct Marking<'a, 'b> {
    trace: &'a Trace,
    named: &'a TracedStacks,
    tables: &'a mut Tables<'b>,
    of: Vec<Markers>,
    flows: u64,
}

impl Marking<'_, '_> {
    /// Its birth and its end.
    fn life(&mut self, index: usize) {
        let thread = &self.trace.threads[index];
        if let Some(spawner) = thread.born_by.filter(|spawner| *spawner < self.trace.threads.len()) {
            let flow = self.flow();
            let (path, by) = (self.path(index), self.path(spawner));
            self.add(spawner, "Spawns", (thread.begin, None), LIVES, Payload::Spawns { thread: path, flow });
            self.add(index, "Spawned", (thread.begin, None), LIVES, Payload::Spawned { by, flow });
        }
        if !thread.is_alive {
            let path = self.path(index);
            self.add(index, "Ends", (thread.end, None), LIVES, Payload::Ends { path });
        }
    }

    fn wait(&mut self, index: usize, wait: &TracedWait) {
        let what = self.tables.string(&format!("{} \"{}\"", wait.what.kind, wait.what.name));
        let ended_by = self.ender(&wait.ender);
        let stack = wait.stack.and_then(|stack| self.tables.stack(self.named.of_wait(stack)));
        let cause = stack.map(|stack| CauseStack { stack });
        self.add(index, "Wait", (wait.begin, Some(wait.ended)), WAITING, Payload::Wait { what, ended_by, cause });
        if let TracedEnder::Thread(by) = wait.ender
            && by < self.trace.threads.len()
        {
            let flow = self.flow();
            let thread = self.path(index);
            self.add(by, "Wakes", (wait.ended, None), WAITING, Payload::Wakes { thread, what, flow });
            let woken = Payload::Woken { by: ended_by, flow };
            self.add(index, "Woken", (wait.ended, Some(wait.runs_again)), WAITING, woken);
        }
    }

    fn spans_and_logs(&mut self, index: usize) {
        let thread = &self.trace.threads[index];
        for span in &thread.spans {
            let name = self.tables.string(&span.name);
            self.add(index, &span.name, (span.begin, Some(span.end)), SPANS, Payload::Span { name });
        }
        for record in &thread.logs {
            // The words of the viewer's own log markers.
            let level = match record.level {
                log::Level::Error => "Error",
                log::Level::Warn => "Warning",
                log::Level::Info => "Info",
                log::Level::Debug => "Debug",
                log::Level::Trace => "Verbose",
            };
            let message = record.text.as_ref().unwrap_or(&record.place);
            let (level, place) = (self.tables.string(level), self.tables.string(&record.place));
            let message = self.tables.string(message);
            self.add(index, "Log", (record.at, None), LOGS, Payload::Log { level, message, place });
        }
    }

    fn path(&mut self, index: usize) -> usize {
        let path = self.trace.threads[index].path.clone();
        self.tables.string(&path)
    }

    /// A text of its own: markers with the same one belong together.
    fn flow(&mut self) -> usize {
        self.flows += 1;
        self.tables.string(&format!("flow {}", self.flows))
    }

    fn ender(&mut self, ender: &TracedEnder) -> usize {
        match ender {
            TracedEnder::Thread(index) if *index < self.trace.threads.len() => self.path(*index),
            TracedEnder::Named(path) => self.tables.string(path),
            TracedEnder::Clock => self.tables.string("[clock]"),
            TracedEnder::Outside => self.tables.string("[outside]"),
            TracedEnder::Thread(_) | TracedEnder::Unknown => self.tables.string("[unknown]"),
        }
    }

    fn add(&mut self, index: usize, name: &str, (begin, end): (u64, Option<u64>), category: usize, data: Payload) {
        let name = self.tables.string(name);
        let markers = &mut self.of[index];
        let since_begin = |at: u64| millis(at.saturating_sub(self.trace.begin));
        markers.data.push(data);
        markers.name.push(name);
        markers.start_time.push(since_begin(begin));
        markers.end_time.push(end.map(since_begin));
        markers.phase.push(u32::from(end.is_some()));
        markers.category.push(category);
        markers.length += 1;
    }
}
