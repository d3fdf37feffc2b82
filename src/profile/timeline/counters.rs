//! The depths of queues, as counters.

use super::format::{Counter, CounterDisplay, CounterSamples, TooltipFormat, TooltipRow, millis};
use crate::profile::trace::{Trace, TracedQueue};

/// Queues that are shown: the deepest.
const MOST: usize = 40;

/// The deepest queue first.
pub(super) fn counters(trace: &Trace) -> Vec<Counter> {
    let deepest = |queue: &TracedQueue| queue.depths.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
    let mut queues: Vec<&TracedQueue> = trace.queues.iter().collect();
    queues.sort_by_key(|queue| std::cmp::Reverse(deepest(queue)));
    queues.iter().take(MOST).enumerate().map(|(place, queue)| counter(trace, queue, place)).collect()
}

fn counter(trace: &Trace, queue: &TracedQueue, place: usize) -> Counter {
    let row = |source, label| TooltipRow { kind: "value", source, format: TooltipFormat { unit: "number" }, label };
    let name = format!("queue \"{}\"", queue.name);
    Counter {
        name: name.clone(),
        // The viewer knows some categories, and draws any other as the display says.
        category: "selvedge",
        description: "How many values the queue had",
        pid: std::process::id().to_string(),
        main_thread_index: 0,
        samples: samples(trace, queue),
        display: CounterDisplay {
            graph_type: "line-accumulated",
            unit: "number",
            color: "teal",
            marker_schema_location: None,
            sort_weight: 100 + place as u32,
            label: name,
            tooltip_rows: [row("accumulated", "values in the queue"), row("count", "more than before")],
        },
    }
}

/// The viewer draws straight lines between points. A depth stays as it is until it changes, so there
/// are two points where it does: with the depth before, and with the depth after.
fn samples(trace: &Trace, queue: &TracedQueue) -> CounterSamples {
    let mut samples = CounterSamples::default();
    let mut before = 0;
    let mut add = |at: u64, depth: u64| {
        samples.time.push(millis(at.clamp(trace.begin, trace.end) - trace.begin));
        samples.count.push(depth as i64 - before as i64);
        samples.length += 1;
        before = depth;
    };
    let mut last = 0;
    add(trace.begin, 0);
    for &(at, depth) in &queue.depths {
        add(at, last);
        add(at, depth);
        last = depth;
    }
    add(trace.end, last);
    samples
}
