//! Go's endpoints below `/debug/pprof/`, but for the profile by time, which `record` makes. Where
//! Go has goroutines, these are threads.

use super::counted::{Counted, Frame};
use super::parameters::{choice, number};
use super::pools::pool;
use super::program::Program;
use super::record;
use super::request::{Method, Request};
use super::response::{Response, TEXT};
use crate::dump::{Dump, ThreadNow};
use crate::signal::Signal;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

pub(super) fn profile(program: &Program, request: &Request, name: &str, cancel: &Signal) -> Result<Response, Response> {
    match name {
        "cmdline" => Ok(Response::new(200, TEXT, command_line())),
        "symbol" => symbol(request),
        "goroutine" | "threadcreate" => threads(program, request, name, cancel),
        // For HEAD: what is counted is not looked up for it.
        "block" | "mutex" => Ok(Response::file(name, Vec::new())),
        "heap" | "allocs" => {
            Err(Response::text(404, "there is no heap profile: selvedge does not sample allocations yet"))
        }
        "trace" => Err(Response::text(404, "there is no trace; /debug/pprof/profile?seconds=5 records CPU time")),
        _ => Err(Response::text(404, "Unknown profile; /debug/pprof/ has the list")),
    }
}

fn command_line() -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let arguments: Vec<_> = std::env::args_os().collect();
    let bytes: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    bytes.join(&0)
}

/// Names of addresses: `0x1+0x2` in the query or the body.
fn symbol(request: &Request) -> Result<Response, Response> {
    let body = std::str::from_utf8(&request.body).map_err(|_| Response::text(400, "the body is no text"))?;
    let list = if request.method == Method::Post { body } else { &request.raw_query };
    let address = |word: &str| {
        let word = word.trim();
        match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        }
    };
    let addresses: Vec<u64> = list.split('+').filter_map(address).filter(|&address| address != 0).collect();
    let mut text = String::from("num_symbols: 1\n");
    for (address, name) in addresses.iter().zip(record::names(&addresses)) {
        if let Some(name) = name {
            // A String takes everything.
            let _ = writeln!(text, "{address:#x} {name}");
        }
    }
    Ok(Response::new(200, TEXT, text))
}

/// What the threads do, or where they were spawned.
fn threads(program: &Program, request: &Request, name: &str, cancel: &Signal) -> Result<Response, Response> {
    let debug = choice(request, "debug", &[("0", 0), ("1", 1), ("2", 2)])?.unwrap_or(0);
    let seconds = number(request, "seconds", 1..=3600)?;
    if seconds.is_some() && debug > 0 {
        return Err(Response::text(400, "seconds and debug params are incompatible"));
    }
    let look = || if name == "goroutine" { crate::dump::dump() } else { crate::dump::look(None).0 };
    let counts = |dump: &Dump| if name == "goroutine" { stacks(dump) } else { places(dump) };
    let Some(seconds) = seconds else {
        let dump = look();
        return match debug {
            0 => Ok(Response::file(name, record::counts(name, &counts(&dump))?)),
            2 if name == "goroutine" => Ok(Response::new(200, TEXT, traces(&dump))),
            _ => Ok(Response::new(200, TEXT, legacy(name, &counts(&dump)))),
        };
    };
    let _turn = program.recorder.take()?;
    let before = counts(&look());
    record::wait(program, seconds, cancel)?;
    let after = since(counts(&look()), &before);
    Ok(Response::file(name, record::counts(name, &after)?))
}

/// What there are more of now.
fn since(after: Vec<Counted>, before: &[Counted]) -> Vec<Counted> {
    let was: HashMap<(&str, &[Frame]), u64> =
        before.iter().map(|count| ((count.label.as_str(), &*count.frames), count.count)).collect();
    let less = |mut count: Counted| {
        count.count = count.count.saturating_sub(was.get(&(&*count.label, &*count.frames)).copied().unwrap_or(0));
        count
    };
    after.into_iter().map(less).filter(|count| count.count > 0).collect()
}

/// A stack for each thread that has one.
fn stacks(dump: &Dump) -> Vec<Counted> {
    let alive = dump.threads().filter(|thread| thread.is_alive());
    let own = alive.map(|thread| (thread.path().to_string(), thread.stack(), thread.state()));
    let others = dump.others().map(|other| (other.path().to_owned(), other.stack(), other.state()));
    own.chain(others).map(|(label, stack, state)| Counted { label, frames: shown(stack, state), count: 1 }).collect()
}

fn shown(stack: Result<Vec<(&str, &str, u32)>, &str>, state: &str) -> Vec<Frame> {
    let remark = |text: String| Frame { function: text, file: String::new(), line: 0 };
    match stack {
        Ok(frames) if !frames.is_empty() => frames
            .into_iter()
            .map(|(function, file, line)| Frame { function: function.to_owned(), file: file.to_owned(), line })
            .collect(),
        _ => vec![remark(format!("[{state}, no stack]"))],
    }
}

/// Where each thread was spawned.
fn places(dump: &Dump) -> Vec<Counted> {
    let mut counts: BTreeMap<(String, Frame), u64> = BTreeMap::new();
    for thread in dump.threads() {
        let frame = match thread.spawned_at() {
            Some((file, line)) => Frame { function: format!("spawned at {file}:{line}"), file: file.to_owned(), line },
            None => Frame { function: "[not spawned by selvedge]".to_owned(), file: String::new(), line: 0 },
        };
        *counts.entry((pool(thread.path()), frame)).or_default() += 1;
    }
    counts.into_iter().map(|((label, frame), count)| Counted { label, frames: vec![frame], count }).collect()
}

/// Go's text for `debug=1`: a count for each stack.
fn legacy(name: &str, counts: &[Counted]) -> String {
    let total: u64 = counts.iter().map(|count| count.count).sum();
    let mut sums: BTreeMap<(&[Frame], String), u64> = BTreeMap::new();
    for count in counts {
        *sums.entry((&*count.frames, pool(&count.label))).or_default() += count.count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut text = format!("{name} profile: total {total}\n");
    // A String takes everything.
    for ((frames, label), count) in sums {
        let _ = writeln!(text, "{count} @\n# labels: {{\"thread\":{}}}", serde_json::json!(label));
        for frame in frames {
            let _ = writeln!(text, "#\t{}\t{}:{}", frame.function, frame.file, frame.line);
        }
        text.push('\n');
    }
    text
}

/// Go's text for `debug=2`: each thread, as in a report of a panic.
fn traces(dump: &Dump) -> String {
    let mut text = String::new();
    for thread in dump.threads().filter(|thread| thread.is_alive()) {
        // A String takes everything.
        let _ = writeln!(text, "goroutine {} [{}]:", thread.id(), doing(thread));
        let _ = writeln!(text, "# {}", thread.path());
        trace(&mut text, thread.stack());
    }
    for other in dump.others() {
        let _ = writeln!(text, "goroutine {} [{}]:\n# {}", other.id(), other.state(), other.path());
        trace(&mut text, other.stack());
    }
    if let Some(why) = dump.no_stacks() {
        let _ = writeln!(text, "# no stacks: {why}");
    }
    text
}

fn doing(thread: ThreadNow<'_>) -> String {
    let since = thread.for_how_long().map(|span| span.as_secs() / 60).filter(|minutes| *minutes > 0);
    let since = since.map_or_else(String::new, |minutes| format!(", {minutes} minutes"));
    match thread.wait() {
        Some((kind, name)) => format!("waiting for {kind} {name:?}{since}"),
        None => thread.state().to_owned(),
    }
}

fn trace(text: &mut String, stack: Result<Vec<(&str, &str, u32)>, &str>) {
    match stack {
        Ok(frames) => {
            for (function, file, line) in frames {
                let file = if file.is_empty() { "?" } else { file };
                let _ = writeln!(text, "{function}(...)\n\t{file}:{line}");
            }
        }
        Err("") => {}
        Err(why) => {
            let _ = writeln!(text, "# no stack: {why}");
        }
    }
    text.push('\n');
}
