//! Answers that record for some seconds: profiles, flamegraphs, accounts. One at a time. If the
//! program records already, they are read from that recording, which goes on.

use super::client::{Client, Made};
use super::counted::Counted;
use super::parameters::{choice, number};
use super::program::Program;
use super::recorder::Turn;
use super::request::Request;
use super::response::{Response, TEXT};
use super::waited::Waited;
use crate::error::Error;
use crate::profile::{self, Clock, EndedPart, FlameOptions, Options, Part, Profile, Recording, RunningNow};
use crate::signal::Signal;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

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

/// Waits, unless the client or the inspection ends before.
///
/// # Errors
/// The answer if one of them has ended.
pub(super) fn wait(program: &Program, seconds: u64, cancel: &Signal) -> Result<(), Response> {
    if (&program.stop | cancel).wait_for_go_timeout(Duration::from_secs(seconds)) {
        return Err(match cancel.is_go() {
            true => Response::text(400, "the client has ended its side of the connection, so the recording has ended"),
            false => Response::text(503, "the program ends, and the recording with it"),
        });
    }
    Ok(())
}

/// The longest recording.
const MOST_SECONDS: u64 = 3600;

/// How long to record. 0 and an empty value are the default, as in Go.
///
/// # Errors
/// The answer to what is no such number.
fn seconds(request: &Request, default: u64) -> Result<u64, Response> {
    let seconds = number(request, "seconds", 0..=MOST_SECONDS)?;
    Ok(seconds.filter(|&seconds| seconds > 0).unwrap_or(default))
}

/// What a recording is read from.
enum Source {
    Own(Recording),
    Part(Part),
}

/// A recording that is over; to find the names of functions takes long.
enum Found {
    Own(Recording),
    Part(Box<EndedPart>),
}

impl Found {
    fn profile(self) -> Profile {
        match self {
            Found::Own(recording) => recording.finish(),
            Found::Part(part) => part.profile(),
        }
    }
}

fn record<'a>(
    program: &'a Program,
    request: &Request,
    default: u64,
    cancel: &Signal,
) -> Result<(Found, Turn<'a>), Response> {
    let seconds = seconds(request, default)?;
    let clock = choice(request, "clock", &[("cpu", Clock::Cpu), ("wall", Clock::Wall)])?.unwrap_or_default();
    let (least, most) = (u64::from(*Options::FREQUENCIES.start()), u64::from(*Options::FREQUENCIES.end()));
    let frequency = number(request, "frequency", least..=most)?.unwrap_or(100);
    let options = Options::new().clock(clock).frequency(u32::try_from(frequency).unwrap_or(100)).unregistered(true);
    let turn = program.recorder.take()?;
    let source = match profile::running_now() {
        Some(running) => part(running, clock)?,
        None => match profile::start(options) {
            Ok(recording) => Source::Own(recording),
            // The program has begun to record in this moment.
            Err(error) if error.is_already_running() => part(profile::running_now().ok_or_else(has_ended)?, clock)?,
            Err(error) => return Err(refused(&error)),
        },
    };
    wait(program, seconds, cancel)?;
    let found = match source {
        Source::Own(recording) => Found::Own(recording),
        Source::Part(part) => Found::Part(Box::new(part.end().ok_or_else(has_ended)?)),
    };
    Ok((found, turn))
}

fn part(running: RunningNow, clock: Clock) -> Result<Source, Response> {
    if running.clock != clock {
        let text = format!(
            "the program records by the {} clock, and two recordings cannot run at once; ask with clock={}",
            running.clock, running.clock
        );
        return Err(Response::text(409, text));
    }
    Part::begin().map(Source::Part).ok_or_else(has_ended)
}

fn has_ended() -> Response {
    Response::text(503, "the program has ended its recording, from which this would be read; try again")
        .with("Retry-After", "1")
}

fn refused(error: &Error) -> Response {
    Response::text(501, format!("no recording: {error}"))
}

/// Records, sends the head, and then makes the body: `go tool pprof` waits for the head for little
/// longer than it has asked to record.
fn answer(
    program: &Program,
    request: &Request,
    default: u64,
    client: &Client<'_>,
    head: Response,
    write: impl FnOnce(&Profile, &mut Vec<u8>) -> Result<(), Error>,
) -> Result<Made, Response> {
    let (found, _turn) = record(program, request, default, &client.cancel)?;
    (client.early)(head);
    let mut body = Vec::new();
    // A vector takes all that is written. On a system where the format cannot be made, the client
    // sees that nothing comes.
    let _ = write(&found.profile(), &mut body);
    Ok(Made::Rest(body))
}

/// `profile?seconds=`, as Go has it.
pub(super) fn profile(program: &Program, request: &Request, client: &Client<'_>) -> Result<Made, Response> {
    let head = Response::file("profile", Vec::new());
    answer(program, request, 30, client, head, |profile, body| profile.write_pprof(body))
}

/// The flamegraph has a script of its own, which may run in it and reach nothing else.
const PICTURE: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                       frame-ancestors 'self'; sandbox allow-scripts";

pub(super) fn flame(program: &Program, request: &Request, client: &Client<'_>) -> Result<Made, Response> {
    let head = Response::new(200, "image/svg+xml", "").with("Content-Security-Policy", PICTURE);
    answer(program, request, 5, client, head, |profile, body| {
        let clock = if profile.clock() == Clock::Wall { "wall" } else { "CPU" };
        let seconds = profile.duration().as_secs_f64();
        let title = format!("{}: {clock} time of all threads in {seconds:.1} s", program.name);
        profile.write_flamegraph(body, &FlameOptions::new().title(title))
    })
}

pub(super) fn folded(program: &Program, request: &Request, client: &Client<'_>) -> Result<Made, Response> {
    let head = Response::new(200, TEXT, "");
    answer(program, request, 5, client, head, |profile, body| profile.write_folded(body))
}

/// Go's block and mutex profiles. Without `seconds` what the program's recording has counted since
/// its begin; with it, what a recording finds in so many seconds.
pub(super) fn contention(
    program: &Program,
    request: &Request,
    name: &str,
    client: &Client<'_>,
) -> Result<Made, Response> {
    let debug = choice(request, "debug", &[("0", 0), ("1", 1), ("2", 2)])?.unwrap_or(0);
    let seconds = number(request, "seconds", 1..=MOST_SECONDS)?;
    let profile = match seconds {
        Some(_) if debug > 0 => return Err(Response::text(400, "seconds and debug params are incompatible")),
        None => profile::waits_now().ok_or_else(|| {
            let text = format!(
                "the program counts no waits: switch it on by `profile: {{ enabled: true, waits: true }}`, or ask with \
                 {name}?seconds=5"
            );
            Response::text(404, text)
        })?,
        Some(seconds) => {
            let _turn = program.recorder.take()?;
            let recording = start_counting()?;
            wait(program, seconds, &client.cancel)?;
            (client.early)(Response::file(name, Vec::new()));
            let mut body = Vec::new();
            let _ = go(&recording.finish(), name, debug, &mut body);
            return Ok(Made::Rest(body));
        }
    };
    let mut body = Vec::new();
    go(&profile, name, debug, &mut body).map_err(|error| refused(&error))?;
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

/// A recording that counts waits.
fn start_counting() -> Result<Recording, Response> {
    profile::start(Options::new().waits(true)).map_err(|error| match error.is_already_running() {
        true if profile::running_now().is_some_and(|now| now.counts_waits) => {
            let text = "the program counts waits already; ask without seconds for what it has counted since its begin";
            Response::text(409, text)
        }
        true => Response::text(409, "the program records without counting waits (profile.waits)"),
        false => refused(&error),
    })
}

#[derive(Serialize)]
struct Accounts {
    format: u32,
    seconds: f64,
    accounts: Vec<Value>,
}

/// Where the time of each thread went: since the program's own recording began, if that counts
/// waits; otherwise in the next seconds.
pub(super) fn accounts(program: &Program, request: &Request, cancel: &Signal) -> Result<Response, Response> {
    let seconds = seconds(request, 5)?;
    let counted = profile::accounts_now();
    let (accounts, span) = match counted {
        Some((accounts, since)) => (accounts.iter().map(account).collect(), since),
        None => {
            let _turn = program.recorder.take()?;
            let recording = start_counting()?;
            wait(program, seconds, cancel)?;
            let profile = recording.finish();
            (profile.accounts().iter().map(account).collect(), profile.duration())
        }
    };
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

/// What the program's recording has counted up to now; none if it counts no waits.
pub(super) fn waits() -> Vec<Waited> {
    let (accounts, _) = profile::accounts_now().unwrap_or_default();
    let each = accounts.iter().flat_map(|account| account.waits().iter().map(move |wait| (account, wait)));
    each.map(|(account, wait)| Waited {
        pool: super::pools::pool(account.path()),
        kind: wait.kind(),
        name: wait.name().to_owned(),
        count: wait.count(),
        total: wait.total(),
    })
    .collect()
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
    crate::flame::write_counts(&stacks, kind, &mut body).map_err(|error| refused(&error))?;
    Ok(body)
}
