//! Metrics in Prometheus's text format 0.0.4, or in OpenMetrics 1.0.0 for a client that prefers it.
//! The two differ in how the family of a counter is named and in units.

use super::pools::{name_within, pool};
use super::program::Program;
use super::record;
use super::request::Request;
use super::response::Response;
use super::told::Told;
use super::waited::Waited;
use crate::dump::look;
use crate::log::counts;
use crate::queue::{left_in_queues, living};
use crate::thread::Thread;
use crate::thread::{roots, tree};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::UNIX_EPOCH;

const OTHERS: &str = "(others)";

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Every state that a thread can be in, so that each is there from the start.
const STATES: [&str; 8] =
    ["not running yet", "waiting", "running", "asleep", "asleep uninterruptibly", "halted", "alive", "ended"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

struct Exposition<'a> {
    text: String,
    is_open: bool,
    told: &'a Told,
    /// Of the family that has begun.
    kind: Kind,
}

impl Exposition<'_> {
    /// Begins a family. `name` is without `_total`.
    fn family(&mut self, kind: Kind, name: &str, unit: &str, help: &str) {
        self.kind = kind;
        let is_counter = kind == Kind::Counter;
        let suffix = if is_counter && !self.is_open { "_total" } else { "" };
        let kind = if is_counter { "counter" } else { "gauge" };
        // A String takes everything.
        let _ = writeln!(self.text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
        if self.is_open && !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let begin = self.text.len();
        self.text.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(text));
        }
        self.text.push_str(if labels.is_empty() { "" } else { "}" });
        let value = match self.kind {
            Kind::Counter => self.told.at_least_before(&self.text[begin..], value),
            Kind::Gauge => value,
        };
        let _ = writeln!(self.text, " {value}");
    }

    /// A family with one label.
    fn all<'v>(&mut self, name: &str, label: &str, values: impl IntoIterator<Item = (&'v str, f64)>) {
        for (text, value) in values {
            self.sample(name, &[(label, text)], value);
        }
    }
}

/// As both formats have it in a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub(super) fn metrics(program: &Program, request: &Request) -> Response {
    let is_open = prefers_open(request.headers("accept"));
    let mut out = Exposition { text: String::new(), is_open, told: &program.told, kind: Kind::Gauge };
    process(&mut out, program);
    threads(&mut out, program);
    queues(&mut out, program);
    log(&mut out);
    waits(&mut out);
    out.text.push_str("# EOF\n");
    let content_type = match is_open {
        true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        false => "text/plain; version=0.0.4; charset=utf-8",
    };
    Response::new(200, content_type, out.text)
}

/// Returns `true` if the client takes OpenMetrics, and does not prefer the text format to it.
/// `accept`: the values of its headers `Accept`.
fn prefers_open<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut open, mut text, mut any) = (0.0f64, None::<f64>, 0.0f64);
    for range in accept.flat_map(|value| value.split(',')) {
        let (kind, version, weight) = media_range(range);
        match (kind.as_str(), version) {
            // Version 0.0.1 was the draft; clients that name it read 1.0.0 too.
            ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => open = open.max(weight),
            ("text/plain", None | Some("0.0.4")) => text = Some(text.unwrap_or_default().max(weight)),
            ("text/*" | "*/*", _) => any = any.max(weight),
            _ => {}
        }
    }
    open > 0.0 && open >= text.unwrap_or(any)
}

/// The media type in lower case, its version, and its weight from 0 to 1: a part of an `Accept`
/// header between commas.
fn media_range(range: &str) -> (String, Option<&str>, f64) {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let (mut version, mut weight) = (None, 1.0);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key.trim_end().to_ascii_lowercase().as_str() {
            "version" => version = Some(value.trim().trim_matches('"')),
            // A weight that is no number from 0 to 1 asks for nothing.
            "q" => weight = value.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0),
            _ => {}
        }
    }
    (kind, version, weight)
}

fn process(out: &mut Exposition<'_>, program: &Program) {
    out.family(Kind::Gauge, "selvedge_build_info", "", "The program and the version of selvedge in it; always 1.");
    let labels = [("name", program.name.as_str()), ("version", env!("CARGO_PKG_VERSION"))];
    out.sample("selvedge_build_info", &labels, 1.0);
    let help = "Whether main was asked to stop: 1 if so.";
    out.family(Kind::Gauge, "selvedge_stopping", "", help);
    out.sample("selvedge_stopping", &[], f64::from(u8::from(program.main.please_stop.is_go())));
    let started = program.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    out.family(Kind::Gauge, "selvedge_start_time_seconds", "seconds", "When the runtime started, since 1970.");
    out.sample("selvedge_start_time_seconds", &[], started);
    let help = "CPU time of the whole process, user and system.";
    out.family(Kind::Counter, "process_cpu_seconds", "seconds", help);
    out.sample("process_cpu_seconds_total", &[], crate::os::process::cpu_time().as_secs_f64());
}

fn threads(out: &mut Exposition<'_>, program: &Program) {
    let (dump, _) = look(None);
    let mut states: BTreeMap<&str, u64> = STATES.iter().map(|state| (*state, 0)).collect();
    for thread in dump.threads() {
        *states.entry(thread.state()).or_default() += 1;
    }
    out.family(Kind::Gauge, "selvedge_threads", "", "Threads of the tree by state.");
    out.all("selvedge_threads", "state", states.iter().map(|(state, count)| (*state, *count as f64)));
    let help = "Threads of the process that are not in the tree.";
    out.family(Kind::Gauge, "selvedge_unregistered_threads", "", help);
    out.sample("selvedge_unregistered_threads", &[], dump.others().count() as f64);
    let help = "Waits that no thread can end, found now.";
    out.family(Kind::Gauge, "selvedge_deadlocks", "", help);
    out.sample("selvedge_deadlocks", &[], dump.deadlocks().len() as f64);
    let pools = program.pools.sums(&all_threads());
    let values = |of: fn(&super::pools::Sum) -> f64| {
        pools.iter().map(move |(name, sum)| (name.as_str(), of(sum))).collect::<Vec<_>>()
    };
    let help = "CPU time of threads, living and ended; threads whose paths differ in numbers only are one.";
    out.family(Kind::Counter, "selvedge_thread_cpu_seconds", "seconds", help);
    out.all("selvedge_thread_cpu_seconds_total", "thread", values(|sum| sum.cpu.as_secs_f64()));
    out.family(Kind::Counter, "selvedge_threads_started", "", "Threads that were started.");
    out.all("selvedge_threads_started_total", "thread", values(|sum| sum.started as f64));
    out.family(Kind::Counter, "selvedge_thread_restarts", "", "How often threads were run again after a failure.");
    out.all("selvedge_thread_restarts_total", "thread", values(|sum| sum.restarts as f64));
    out.family(Kind::Counter, "selvedge_thread_failures", "", "Threads that have ended with a failure.");
    out.all("selvedge_thread_failures_total", "thread", values(|sum| sum.failures as f64));
}

/// Every thread of the tree.
fn all_threads() -> Vec<Thread> {
    let mut threads = Vec::new();
    tree::walk(roots::roots(), |node| {
        threads.push(Thread::from_node(node.clone()));
        node.children_by_age()
    });
    threads
}

fn queues(out: &mut Exposition<'_>, program: &Program) {
    let mut sums: BTreeMap<String, (u64, u64, Option<u64>)> = BTreeMap::new();
    for queue in living() {
        let sum = sums.entry(series(&sums, pool(&queue.name))).or_insert((0, 0, Some(0)));
        *sum = (sum.0 + queue.len, sum.1 + 1, sum.2.zip(queue.capacity).map(|(sum, capacity)| sum + capacity));
    }
    let each = || sums.iter().map(|(name, sum)| (name.as_str(), sum));
    let help = "Values in queues; queues whose names differ in numbers only are one.";
    out.family(Kind::Gauge, "selvedge_queue_length", "", help);
    out.all("selvedge_queue_length", "queue", each().map(|(name, sum)| (name, sum.0 as f64)));
    out.family(Kind::Gauge, "selvedge_queues", "", "Queues that have handles.");
    out.all("selvedge_queues", "queue", each().map(|(name, sum)| (name, sum.1 as f64)));
    out.family(
        Kind::Gauge,
        "selvedge_queue_capacity",
        "",
        "How many values queues take at most; not of unbounded queues.",
    );
    let bounded = each().filter_map(|(name, sum)| Some((name, sum.2? as f64)));
    out.all("selvedge_queue_capacity", "queue", bounded);
    let mut dropped: BTreeMap<String, u64> = BTreeMap::new();
    for left in left_in_queues() {
        *dropped.entry(program.dropped_in.series(pool(left.name()), OTHERS)).or_default() += left.values();
    }
    let help = "Values that were dropped in queues, which nothing had popped.";
    out.family(Kind::Counter, "selvedge_queue_dropped_values", "", help);
    let dropped = dropped.iter().map(|(name, values)| (name.as_str(), *values as f64));
    out.all("selvedge_queue_dropped_values_total", "queue", dropped);
}

/// The name of the series of that pool: its own, or that of all further ones.
fn series<T>(sums: &BTreeMap<String, T>, pool: String) -> String {
    name_within(sums.contains_key(&pool), sums.len(), pool).unwrap_or_else(|| OTHERS.to_owned())
}

fn log(out: &mut Exposition<'_>) {
    let (levels, lost) = counts();
    out.family(Kind::Counter, "selvedge_log_records", "", "Records that the levels of the log let pass.");
    let each = LEVELS.iter().zip(levels).map(|(level, count)| (*level, count as f64));
    out.all("selvedge_log_records_total", "level", each);
    out.family(Kind::Counter, "selvedge_log_lost_records", "", "Records that the log could not keep.");
    out.sample("selvedge_log_lost_records_total", &[], lost as f64);
}

/// What recordings have counted, if any has counted waits.
fn waits(out: &mut Exposition<'_>) {
    let waits = record::waits();
    if waits.is_empty() {
        return;
    }
    let each = |out: &mut Exposition<'_>, name: &str, value: fn(&Waited) -> f64| {
        for waited in &waits {
            let labels = [("thread", &*waited.pool), ("kind", waited.kind), ("name", &*waited.name)];
            out.sample(name, &labels, value(waited));
        }
    };
    let help = "How long threads have waited in blocking calls of selvedge, while recordings counted waits.";
    out.family(Kind::Counter, "selvedge_wait_seconds", "seconds", help);
    each(out, "selvedge_wait_seconds_total", |waited| waited.total.as_secs_f64());
    out.family(Kind::Counter, "selvedge_waits", "", "How often they have waited.");
    each(out, "selvedge_waits_total", |waited| waited.count as f64);
}

#[cfg(test)]
mod tests {
    use super::super::pools::MOST;
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_prefers() {
        let prefers = |accept: &[&str]| prefers_open(accept.iter().copied());
        let (open, text) = ("application/openmetrics-text", "text/plain;version=0.0.4");
        for accept in [
            &[open][..],
            &["Application/OpenMetrics-Text; Version=\"1.0.0\" ; charset=utf-8"],
            // Prometheus 2.42, 2.5 and 3.5.
            &["application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
               text/plain;version=0.0.4;q=0.5,*/*;q=0.1"],
            &["application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"],
            &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
               application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
               text/plain;version=0.0.4;q=0.2,*/*;q=0.1"],
            // Protocol buffers are not served.
            &["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
               application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"],
            &[text, open],
        ] {
            assert!(prefers(accept), "{accept:?}");
        }
        for accept in [
            &[][..],
            &[""],
            &["*/*"],
            &["text/html,application/xhtml+xml,*/*;q=0.8"],
            &[text],
            &["application/json"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=nan"],
            &["application/openmetrics-text;q=2"],
            &["application/openmetrics-text;version=2.0.0,text/plain;q=0.1"],
            &["application/openmetrics-text;q=0.4,text/plain;q=0.5"],
            &["application/openmetrics-text;q=0.4", "text/plain;q=0.5"],
            &["application/openmetrics-text;q=0.4,*/*"],
            &["application/openmetrics-text-of-mine"],
        ] {
            assert!(!prefers(accept), "{accept:?}");
        }
    }

    #[test]
    fn further_names_are_one_series() {
        let mut sums = BTreeMap::new();
        for number in 0..MOST + 50 {
            // Letters, since numbers are one series already.
            let name: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            *sums.entry(series(&sums, name)).or_insert(0) += 1;
        }
        assert_eq!((sums.len(), sums[OTHERS], sums["a"]), (MOST + 1, 50, 1));
    }
}
