//! What an answer that records is read from: a recording of its own; a part of the program's
//! recording, which goes on; or stacks that are asked for beside a recording by the other clock.
//! One client has the right to it at a time.

use super::parameters::{choice, number};
use super::program::Program;
use super::recorder::Turn;
use super::request::Request;
use super::response::Response;
use crate::error::Error;
use crate::profile::{self, Account, Clock, EndedPart, Options, Part, Profile, Recording, RunningNow, Window};
use crate::signal::Signal;
use crate::thread::{Thread, roots, tree};
use std::time::{Duration, Instant};

/// Waits, unless the client or the inspection ends before.
///
/// # Errors
/// The answer if one of them has ended.
pub(super) fn wait(program: &Program, seconds: u64, cancel: &Signal) -> Result<(), Response> {
    wait_for(program, Duration::from_secs(seconds), cancel)
}

fn wait_for(program: &Program, time: Duration, cancel: &Signal) -> Result<(), Response> {
    if (&program.stop | cancel).wait_for_go_timeout(time) {
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
pub(super) fn seconds(request: &Request, default: u64) -> Result<u64, Response> {
    let seconds = number(request, "seconds", 0..=MOST_SECONDS)?;
    Ok(seconds.filter(|&seconds| seconds > 0).unwrap_or(default))
}

/// What is to be recorded.
pub(super) struct Wanted {
    pub(super) seconds: u64,
    /// `None`: CPU time, or what the program records.
    pub(super) clock: Option<Clock>,
    frequency: u32,
    pub(super) waits: bool,
}

impl Wanted {
    /// # Errors
    /// The answer to parameters that are none.
    pub(super) fn of(request: &Request, default: u64, clock: Option<Clock>, waits: bool) -> Result<Wanted, Response> {
        let seconds = seconds(request, default)?;
        let (least, most) = (u64::from(*Options::FREQUENCIES.start()), u64::from(*Options::FREQUENCIES.end()));
        let frequency = number(request, "frequency", least..=most)?.unwrap_or(100);
        Ok(Wanted { seconds, clock, frequency: u32::try_from(frequency).unwrap_or(100), waits })
    }
}

/// The parameter `clock`.
///
/// # Errors
/// The answer to another word.
pub(super) fn clock(request: &Request) -> Result<Option<Clock>, Response> {
    choice(request, "clock", &[("cpu", Clock::Cpu), ("wall", Clock::Wall)])
}

/// What a recording is read from.
enum Source {
    Own(Recording),
    Part(Part),
    /// Wall time, beside a recording of CPU time.
    Beside(Window),
}

/// A recording that is over; to find the names of functions takes long.
pub(super) enum Found {
    Own(Recording),
    Part(Box<EndedPart>),
    Beside(Box<Window>),
}

impl Found {
    /// `None`: not one stack was found.
    pub(super) fn profile(self) -> Option<Profile> {
        match self {
            Found::Own(recording) => Some(recording.finish()),
            Found::Part(part) => Some(part.profile()),
            Found::Beside(window) => window.close(),
        }
    }

    /// The accounts, and of how long a time they are.
    pub(super) fn accounts(self) -> (Vec<Account>, Duration) {
        match self {
            Found::Part(part) => part.accounts(),
            found => found
                .profile()
                .map_or_else(Default::default, |profile| (profile.accounts().to_vec(), profile.duration())),
        }
    }
}

/// Records for so long.
///
/// # Errors
/// The answer if it cannot be, or if the client or the program has ended meanwhile.
pub(super) fn record<'a>(
    program: &'a Program,
    wanted: &Wanted,
    cancel: &Signal,
) -> Result<(Found, Turn<'a>), Response> {
    let turn = program.recorder.take()?;
    let source = match profile::running_now() {
        Some(running) => beside(running, wanted)?,
        None => match profile::start(options(wanted)) {
            Ok(recording) => Source::Own(recording),
            // The program has begun to record in this moment.
            Err(error) if error.is_already_running() => beside(profile::running_now().ok_or_else(has_ended)?, wanted)?,
            Err(error) => return Err(refused(&error)),
        },
    };
    let found = match source {
        Source::Own(recording) => {
            wait(program, wanted.seconds, cancel)?;
            Found::Own(recording)
        }
        Source::Part(part) => {
            wait(program, wanted.seconds, cancel)?;
            Found::Part(Box::new(part.end().ok_or_else(has_ended)?))
        }
        Source::Beside(window) => Found::Beside(Box::new(watch(program, window, wanted, cancel)?)),
    };
    Ok((found, turn))
}

fn options(wanted: &Wanted) -> Options {
    let clock = wanted.clock.unwrap_or_default();
    Options::new().clock(clock).frequency(wanted.frequency).unregistered(true).waits(wanted.waits)
}

/// What can be had while the program records.
fn beside(running: RunningNow, wanted: &Wanted) -> Result<Source, Response> {
    if wanted.waits && !running.counts_waits {
        let text = "the program records, and counts no waits, and two recordings cannot run at once; switch the \
                    counting on by `profile: { waits: true }`, or switch the program's recording off and ask again";
        return Err(Response::text(409, text));
    }
    match wanted.clock {
        Some(Clock::Wall) if running.clock == Clock::Cpu && !wanted.waits => {
            Ok(Source::Beside(Window::open(Instant::now(), shortest_round(wanted))))
        }
        Some(clock) if running.clock != clock => {
            let (own, is) = (running.clock, if wanted.waits { "waits" } else { "time" });
            let text = format!(
                "the program records by the {own} clock, and {is} by the {clock} clock would need a second recording; \
                 ask with clock={own}, or record without `profile: {{ clock: {own} }}` in the program"
            );
            Err(Response::text(409, text))
        }
        _ => Part::begin(wanted.waits).map(Source::Part).ok_or_else(has_ended),
    }
}

pub(super) fn has_ended() -> Response {
    Response::text(503, "the program has ended its recording, from which this would be read; try again")
        .with("Retry-After", "1")
}

pub(super) fn refused(error: &Error) -> Response {
    Response::text(501, format!("no recording: {error}"))
}

/// A thread that has moved is interrupted at most so often.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);

fn shortest_round(wanted: &Wanted) -> Duration {
    Duration::from_secs(1).div_f64(f64::from(wanted.frequency)).max(SHORTEST_ROUND)
}

/// Asks the threads of the program for their stacks again and again. At most a twentieth of the time
/// goes to that.
fn watch(program: &Program, mut window: Window, wanted: &Wanted, cancel: &Signal) -> Result<Window, Response> {
    let until = Instant::now() + Duration::from_secs(wanted.seconds);
    let mut pause = shortest_round(wanted);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        wait_for(program, pause.min(left), cancel)?;
        let began = Instant::now();
        window.snapshot(&threads_of_the_program());
        if began >= until {
            break;
        }
        pause = shortest_round(wanted).max(20 * began.elapsed());
    }
    if window.has_stacks() {
        return Ok(window);
    }
    let why = window.trouble().unwrap_or("no thread has given its stack");
    Err(Response::text(501, format!("no wall time beside the program's recording of CPU time: {why}")))
}

/// Without the runtime's own.
fn threads_of_the_program() -> Vec<Thread> {
    let mut threads = Vec::new();
    tree::walk(roots::roots(), |node| {
        let thread = Thread::from_node(node.clone());
        if thread.is_alive() && !thread.is_runtimes_own() {
            threads.push(thread);
        }
        node.children_by_age()
    });
    threads
}
