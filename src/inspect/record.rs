//! Answers that record for some seconds: profiles, flamegraphs, timelines, accounts; and what the
//! program has counted already.

use super::client::{Client, Made};
use super::counted::Counted;
use super::parameters::{choice, number};
use super::program::Program;
use super::request::Request;
use super::response::{Response, TEXT};
use super::source::{self, Wanted};
use super::waited::Waited;
use crate::error::{Error, Kind};
use crate::profile::{self, Clock, FlameOptions, Profile};
use crate::signal::Signal;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) use super::source::wait;
pub(super) use crate::profile::names_until;

/// What is recorded now, for clients; null if nothing is.
pub(super) fn now(program: &Program) -> Value {
    let by = if program.recorder.is_taken() { "inspect" } else { "program" };
    profile::running_now().map_or(Value::Null, |now| {
        json!({
            "by": by,
            "clock": now.clock.to_string(),
            "frequency_hz": 1.0 / now.period.as_secs_f64(),
            "since_s": now.since.as_secs_f64(),
            "waits": now.counts_waits,
        })
    })
}

/// Records, sends the head, and then makes the body: `go tool pprof` waits for the head for little
/// longer than it has asked to record. An error that comes later cuts the answer off.
fn answer(
    program: &Program,
    wanted: &Wanted,
    client: &Client<'_>,
    mut head: Response,
    write: impl FnOnce(&Profile, &mut Vec<u8>) -> Result<(), Error>,
) -> Result<Made, Response> {
    let (found, _turn) = source::record(program, wanted, &client.cancel)?;
    if let Some(early) = client.early {
        early(head.clone());
    }
    let profile = found.profile().ok_or_else(|| Response::text(501, "no recording: no thread has given its stack"))?;
    write(&profile, &mut head.body).map_err(|error| source::refused(&error))?;
    Ok(if client.early.is_some() { Made::Rest(head.body) } else { Made::Whole(head) })
}

/// `profile?seconds=`, as Go has it.
pub(super) fn profile(program: &Program, request: &Request, client: &Client<'_>) -> Result<Made, Response> {
    let head = Response::file("profile", Vec::new());
    let wanted = Wanted::of(request, 30, Some(source::clock(request)?.unwrap_or_default()), false)?;
    answer(program, &wanted, client, head, |profile, body| profile.write_pprof(body))
}

/// What a flamegraph shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Time(Clock),
    /// What threads waited for, and where.
    Waits,
    /// What threads did while others waited for them.
    Blame,
}

/// The values of the parameter `clock` of a flamegraph.
pub(super) const CLOCKS: [(&str, Shown); 4] = [
    ("cpu", Shown::Time(Clock::Cpu)),
    ("wall", Shown::Time(Clock::Wall)),
    ("waits", Shown::Waits),
    ("blame", Shown::Blame),
];

/// What `/flame.svg` and `/folded` are asked for.
pub(super) fn shown(request: &Request) -> Result<Shown, Response> {
    Ok(choice(request, "clock", &CLOCKS)?.unwrap_or(Shown::Time(Clock::Cpu)))
}

fn wanted(request: &Request, shown: Shown) -> Result<Wanted, Response> {
    match shown {
        Shown::Time(clock) => Wanted::of(request, 5, Some(clock), false),
        Shown::Waits | Shown::Blame => Wanted::of(request, 5, None, true),
    }
}

/// The flamegraph has a script of its own, which may run in it and reach nothing else.
const PICTURE: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                       frame-ancestors 'self'; sandbox allow-scripts";

pub(super) fn flame(program: &Program, request: &Request, shown: Shown, client: &Client<'_>) -> Result<Made, Response> {
    let head = Response::new(200, "image/svg+xml", "").with("Content-Security-Policy", PICTURE);
    answer(program, &wanted(request, shown)?, client, head, |profile, body| {
        let what = match shown {
            Shown::Time(Clock::Wall) => "wall time of all threads",
            Shown::Time(_) => "CPU time of all threads",
            Shown::Waits => "what all threads waited for",
            Shown::Blame => "what threads did while others waited for them",
        };
        let title = format!("{}: {what}, in {:.1} s", program.name, profile.duration().as_secs_f64());
        let options = FlameOptions::new().title(title);
        match shown {
            Shown::Time(_) => profile.write_flamegraph(body, &options),
            Shown::Waits => profile.write_waits(body, &options),
            Shown::Blame => profile.write_blame(body, &options),
        }
    })
}

pub(super) fn folded(program: &Program, request: &Request, client: &Client<'_>) -> Result<Made, Response> {
    let shown = shown(request)?;
    let head = Response::new(200, TEXT, "");
    answer(program, &wanted(request, shown)?, client, head, |profile, body| match shown {
        Shown::Time(_) => profile.write_folded(body),
        Shown::Waits => profile.write_waits_of_the_program(body),
        Shown::Blame => profile.write_blame_folded(body),
    })
}

/// The timeline of so many seconds for the Firefox Profiler, gzipped.
pub(super) fn timeline(program: &Program, request: &Request, client: &Client<'_>) -> Result<Made, Response> {
    let name = "attachment; filename=\"timeline.json.gz\"";
    let head = Response::new(200, "application/gzip", "").with("Content-Disposition", name);
    let wanted = Wanted::of(request, 5, source::clock(request)?, true)?;
    answer(program, &wanted, client, head, |profile, body| {
        let mut gzip = GzEncoder::new(body, Compression::default());
        profile.write_timeline(&mut gzip)?;
        // A vector takes all that is written.
        gzip.finish().map(drop).map_err(|error| Error::new(Kind::Io, "the timeline is not whole").because(error))
    })
}

/// Go's block and mutex profiles. Without `seconds` what the program's recording has counted since
/// its begin; with it, what has come in so many seconds.
pub(super) fn contention(
    program: &Program,
    request: &Request,
    name: &str,
    client: &Client<'_>,
) -> Result<Made, Response> {
    let debug = choice(request, "debug", &[("0", 0), ("1", 1), ("2", 2)])?.unwrap_or(0);
    let is_difference = number(request, "seconds", 1..=3600)?.is_some();
    if is_difference && debug > 0 {
        return Err(Response::text(400, "seconds and debug params are incompatible"));
    }
    if is_difference {
        let head = Response::file(name, Vec::new());
        return answer(program, &Wanted::of(request, 5, None, true)?, client, head, |profile, body| {
            go(profile, name, 0, body)
        });
    }
    let profile = profile::waits_now().ok_or_else(|| {
        let text = format!(
            "the program counts no waits: switch it on by `profile: {{ enabled: true, waits: true }}`, or ask with \
             {name}?seconds=5"
        );
        Response::text(404, text)
    })?;
    let mut body = Vec::new();
    go(&profile, name, debug, &mut body).map_err(|error| source::refused(&error))?;
    Ok(Made::Whole(if debug == 0 { Response::file(name, body) } else { Response::new(200, TEXT, body) }))
}

fn go(profile: &Profile, name: &str, debug: u32, body: &mut Vec<u8>) -> Result<(), Error> {
    match (name, debug) {
        ("block", 0) => profile.write_block(body),
        (_, 0) => profile.write_contention(body),
        ("block", _) => profile.write_waits_folded(body),
        _ => profile.write_contention_folded(body),
    }
}

#[derive(Serialize)]
struct Accounts {
    format: u32,
    seconds: f64,
    accounts: Vec<Value>,
}

/// Where the time of each thread went: in the next seconds. Without `seconds`, in a program whose
/// recording counts waits: since that began.
pub(super) fn accounts(program: &Program, request: &Request, cancel: &Signal) -> Result<Response, Response> {
    let wanted = Wanted::of(request, 5, None, true)?;
    let is_difference = request.parameter("seconds").is_some_and(|seconds| !seconds.is_empty());
    let counted = if is_difference { None } else { profile::accounts_now() };
    let (accounts, span) = match counted {
        Some(counted) => counted,
        None => source::record(program, &wanted, cancel)?.0.accounts(),
    };
    let accounts = accounts.iter().map(account).collect();
    let accounts = Accounts { format: 1, seconds: span.as_secs_f64(), accounts };
    Ok(Response::json(serde_json::to_string(&accounts).unwrap_or_default()))
}

fn account(account: &profile::Account) -> Value {
    let seconds = |span: Duration| span.as_secs_f64();
    let wait = |wait: &profile::WaitTotal| {
        let ended_by: Vec<_> = wait.ended_by().iter().map(|(path, time)| (&**path, seconds(*time))).collect();
        json!({
            "kind": wait.kind(),
            "name": wait.name(),
            "count": wait.count(),
            "total_s": seconds(wait.total()),
            "longest_s": seconds(wait.longest()),
            "ended_by": ended_by,
        })
    };
    json!({
        "path": account.path(),
        "lifetime_s": seconds(account.lifetime()),
        "cpu_s": seconds(account.cpu()),
        "runnable_s": account.is_runnable_known().then(|| seconds(account.runnable())),
        "outside_s": seconds(account.outside()),
        "waits": account.waits().iter().map(wait).collect::<Vec<_>>(),
    })
}

/// What all recordings have counted up to now; none if none has counted waits.
pub(super) fn waits() -> Vec<Waited> {
    let waited = |counter: profile::WaitCounter| Waited {
        pool: counter.pool,
        kind: counter.kind,
        name: counter.name,
        count: counter.count,
        total: counter.total,
    };
    profile::wait_counters().into_iter().map(waited).collect()
}

/// The names of functions at these addresses; `None` if it is not known.
pub(super) fn names(addresses: &[u64]) -> Vec<Option<String>> {
    profile::now::names(addresses)
}

/// A gzipped profile that counts stacks.
///
/// # Errors
/// The answer if it cannot be made.
pub(super) fn counts(kind: &str, list: &[Counted]) -> Result<Vec<u8>, Response> {
    use crate::flame::{Line, Location, Stack, Stacks};
    let (mut stacks, mut places) = (Stacks::default(), std::collections::HashMap::new());
    for count in list {
        let mut frames = Vec::new();
        for frame in &count.frames {
            let place = *places.entry(frame.clone()).or_insert_with(|| {
                let function: std::sync::Arc<str> = frame.function.as_str().into();
                let file = frame.file.as_str().into();
                let line = Line { system_name: function.clone(), function, file, line: frame.line };
                stacks.locations.push(Location { address: 0, module: None, lines: vec![line] });
                stacks.locations.len() - 1
            });
            frames.push(place);
        }
        stacks.stacks.push(Stack {
            label: count.label.as_str().into(),
            frames,
            labels: Vec::new(),
            samples: count.count,
            weight: 0,
        });
    }
    let mut body = Vec::new();
    crate::flame::write_counts(&stacks, kind, &mut body).map_err(|error| source::refused(&error))?;
    Ok(body)
}
