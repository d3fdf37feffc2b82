//! Writes a trace for the Firefox Profiler: threads in the order of the tree, samples, waits,
//! wake-ups, births, spans and log records as markers, and the depths of queues as counters.
//!
//! A writer of our own, since the crate fxprof-processed-profile 0.8 cannot say which marker woke
//! which thread (flows).

mod counters;
mod format;
mod markers;
mod tables;
#[cfg(test)]
mod tests;

use self::format::{Entry, File, Meta, Samples, Section, Thread, millis};
use self::tables::Tables;
use super::accounts::is_runtimes_own;
use super::trace::{Trace, TracedThread};
use super::traced_stacks::TracedStacks;
use std::io::{self, Write};
use std::time::Duration;

/// Threads that the viewer shows at first. The others can be chosen there.
const MOST_VISIBLE: usize = 40;

/// What is known besides the trace.
pub(super) struct About {
    /// The program's name.
    pub(super) program: String,
    /// Since 1970.
    pub(super) began: Duration,
    pub(super) period: Duration,
    /// What the recording lacks, as a sentence.
    pub(super) summary: String,
}

/// Writes the file.
pub(super) fn write(trace: &Trace, named: &TracedStacks, about: About, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, &file(trace, named, about))?;
    out.flush()
}

fn file(trace: &Trace, named: &TracedStacks, about: About) -> File {
    let mut tables = Tables::new(named);
    let (markers, left_out) = markers::markers(trace, named, &mut tables);
    let length = millis(trace.end.saturating_sub(trace.begin));
    let mut meta = Meta::new(about.program.clone(), millis(nanos(about.period)), millis(nanos(about.began)), length);
    meta.categories = markers::categories();
    meta.marker_schema = markers::schemas();
    let all = trace.threads.iter().enumerate();
    let own = all.filter(|(_, thread)| !is_runtimes_own(&thread.path)).map(|(index, _)| index);
    meta.initial_visible_threads = own.take(MOST_VISIBLE).collect();
    let mut entries = vec![text("Samples", about.summary)];
    if left_out > 0 {
        entries.push(text("Waits that are left out, the shortest", left_out.to_string()));
    }
    if trace.lost > 0 {
        entries.push(text("Events lost", trace.lost.to_string()));
    }
    meta.extra = vec![Section { label: "Recording", entries }];
    let threads = trace.threads.iter().zip(markers).enumerate();
    let threads = threads.map(|(index, (thread, markers))| {
        let since_begin = |at: u64| millis(at.saturating_sub(trace.begin));
        Thread {
            process_type: "default",
            process_startup_time: 0.0,
            process_shutdown_time: None,
            register_time: since_begin(thread.begin),
            unregister_time: (!thread.is_alive).then(|| since_begin(thread.end)),
            paused_ranges: [],
            show_markers_in_timeline: true,
            name: thread.path.to_string(),
            is_main_thread: index == 0,
            process_name: about.program.clone(),
            pid: std::process::id().to_string(),
            // Each thread of the tree has one, which the numbers of OS threads are not: an OS thread
            // may be several threads of the tree.
            tid: index as u64 + 1,
            samples: samples(trace, thread, named, &mut tables),
            markers,
        }
    });
    let threads = threads.collect();
    let counters = counters::counters(trace);
    File { meta, libs: tables.libs, shared: tables.shared, threads, counters, pages: [] }
}

/// The viewer ignores the CPU time of a first sample, so one without a stack stands before it.
fn samples(trace: &Trace, thread: &TracedThread, named: &TracedStacks, tables: &mut Tables<'_>) -> Samples {
    let mut samples = Samples {
        stack: vec![None],
        time: vec![millis(thread.begin.saturating_sub(trace.begin))],
        weight: None,
        weight_type: "samples",
        thread_cpu_delta: vec![0],
        length: thread.samples.len() + 1,
    };
    for sample in &thread.samples {
        samples.stack.push(sample.stack.and_then(|stack| tables.stack(named.of_sample(stack))));
        samples.time.push(millis(sample.at.saturating_sub(trace.begin)));
        samples.thread_cpu_delta.push(sample.cpu);
    }
    samples
}

fn text(label: &'static str, value: String) -> Entry {
    Entry { label, format: "string", value }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
