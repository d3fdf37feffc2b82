//! The thread tree as JSON, the dump as text, the log's tail, and what the program is.

use super::parameters::{choice, number};
use super::program::Program;
use super::request::Request;
use super::response::{Response, TEXT};
use crate::dump::{Dump, look};
use crate::log::{TailRecord, is_installed, tail};
use crate::queue::{QueueNow, living};
use crate::thread::foreign_locals::local_time;
use log::Level;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::SystemTime;

/// The version of the JSON: a change of meaning, or a field that is gone, is a new one.
pub(super) const FORMAT: u32 = 1;

/// What each answer about threads begins with.
#[derive(Serialize)]
pub(super) struct Whole<'a, D: Serialize> {
    format: u32,
    selvedge: &'static str,
    name: &'a str,
    uptime_s: f64,
    state: &'static str,
    patience_s: f64,
    queues: Vec<QueueNow>,
    #[serde(flatten)]
    dump: D,
}

pub(super) fn whole<'a>(program: &'a Program, dump: &'a Dump) -> Whole<'a, impl Serialize + use<'a>> {
    Whole {
        format: FORMAT,
        selvedge: env!("CARGO_PKG_VERSION"),
        name: &program.name,
        uptime_s: program.began.elapsed().as_secs_f64(),
        state: program.state(),
        patience_s: program.patience.as_secs_f64(),
        queues: living(),
        dump: dump.as_json(),
    }
}

pub(super) fn threads(program: &Program, request: &Request) -> Result<Response, Response> {
    let with_stacks = choice(request, "stacks", &[("0", false), ("1", true)])?.unwrap_or(false);
    let dump = if with_stacks {
        crate::dump::dump()
    } else {
        // Two clients at once share the clocks: the second one's shares are of a shorter time.
        let before = program.clocks.lock().take();
        let (dump, clocks) = look(before);
        *program.clocks.lock() = Some(clocks);
        dump
    };
    Ok(Response::json(serde_json::to_string(&whole(program, &dump)).unwrap_or_default()))
}

/// For people, with stacks.
pub(super) fn dump() -> Response {
    Response::new(200, TEXT, crate::dump::dump().to_string())
}

pub(super) fn time(time: SystemTime) -> String {
    local_time(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, false)
}

pub(super) fn info(program: &Program) -> Response {
    let features: Vec<&str> = [
        ("inspect", true),
        ("profiling", cfg!(feature = "profiling")),
        ("log4rs", cfg!(feature = "log4rs")),
        ("pprof-engine", cfg!(feature = "pprof-engine")),
        ("push", cfg!(all(feature = "push", unix))),
        ("otlp", cfg!(all(feature = "otlp", unix))),
    ]
    .into_iter()
    .filter_map(|(name, is_on)| is_on.then_some(name))
    .collect();
    let info = json!({
        "format": FORMAT,
        "selvedge": env!("CARGO_PKG_VERSION"),
        "name": program.name,
        "pid": std::process::id(),
        "started_at": time(program.started),
        "uptime_s": program.began.elapsed().as_secs_f64(),
        "state": program.state(),
        "features": features,
        "listen": program.listen,
        "clocks": super::record::CLOCKS.map(|(name, _)| name),
        "recording": super::record::now(program),
    });
    Response::json(info.to_string())
}

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

/// The last records.
pub(super) fn log(request: &Request) -> Result<Response, Response> {
    let lines = number(request, "lines", 1..=1000)?.unwrap_or(200);
    let level = choice(request, "level", &LEVELS)?.unwrap_or(Level::Trace);
    let as_json = choice(request, "format", &[("text", false), ("json", true)])?.unwrap_or(false);
    if !is_installed() {
        return Err(Response::text(
            501,
            "the log is not the runtime's (log: own, log: off, or a logger of the program)",
        ));
    }
    let (records, _) = tail(0, level, usize::try_from(lines).unwrap_or(usize::MAX));
    if as_json {
        let records: Vec<Value> = records.iter().map(record).collect();
        return Ok(Response::json(json!({"format": FORMAT, "records": records, "lost": lost()}).to_string()));
    }
    let text: String = records.iter().map(line).collect();
    Ok(Response::new(200, TEXT, text))
}

/// Records that the log could not keep.
pub(super) fn lost() -> u64 {
    crate::log::counts().1
}

fn date(record: &TailRecord) -> chrono::DateTime<chrono::FixedOffset> {
    let (seconds, nanos) = record.time;
    local_time(chrono::DateTime::from_timestamp(seconds, nanos).unwrap_or_default())
}

pub(super) fn record(record: &TailRecord) -> Value {
    json!({
        "at": date(record).to_rfc3339_opts(chrono::SecondsFormat::Millis, false),
        "level": record.level.as_str(),
        "target": record.target,
        "thread": record.thread,
        "message": record.message,
    })
}

fn line(record: &TailRecord) -> String {
    let TailRecord { level, target, thread, message, .. } = record;
    format!("{} {level:<5} {thread} {target}: {message}\n", date(record).format("%Y-%m-%d %H:%M:%S%.3f"))
}
