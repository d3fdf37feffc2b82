//! A program that starts others, or becomes another one, while it is recorded at 1000 Hz:
//! `executing SCENARIO CLOCK`. The new program says "new".

use selvedge::Thread;
use selvedge::profile::{self, Clock, Options, Recording};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Uses so much CPU time.
fn work(length: Duration) {
    let used = || Thread::current().cpu_time().expect("it lives");
    let before = used();
    while used() - before < length {
        std::hint::black_box((0..1000).sum::<u64>());
    }
}

fn start(clock: &str) -> Recording {
    let clock = if clock == "wall" { Clock::Wall } else { Clock::Cpu };
    let recording = profile::start(Options::new().frequency(1000).clock(clock)).expect("nothing else is recorded");
    for name in ["one", "two"] {
        std::mem::forget(selvedge::spawn(name, |please_stop| {
            while !please_stop.is_go() {
                work(Duration::from_millis(1));
            }
        }));
    }
    work(Duration::from_millis(20));
    recording
}

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (scenario, clock) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let recording = start(&clock);
    match scenario.as_str() {
        "becomes" => {
            let error = profile::exec(Command::new("echo").arg("new"));
            println!("{error}");
            return ExitCode::FAILURE;
        }
        "fails" => {
            let error = profile::exec(&mut Command::new("/no/such/program"));
            let before = recording.snapshot().samples();
            work(Duration::from_millis(300));
            println!("{error}; {} samples more", recording.finish().samples() - before);
        }
        "starts" => {
            for round in 0..40 {
                let mut command = Command::new("true");
                if round % 2 == 0 {
                    // With a function to call it forks, and else it uses posix_spawn.
                    // SAFETY: the function does nothing.
                    unsafe { command.pre_exec(|| Ok(())) };
                }
                let status = command.status().expect("it is there");
                assert!(status.success(), "{status} in round {round}");
            }
            println!("40 started, {} samples", recording.finish().samples());
        }
        other => panic!("no scenario {other}"),
    }
    std::process::exit(0)
}
