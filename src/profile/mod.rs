//! Profiles of all threads of the tree: one flamegraph for all of them, what each used, and what it
//! waited for.
//!
//! [`start`] begins a [`Recording`], and its [`finish`](Recording::finish) returns a [`Profile`]. A
//! whole program is recorded by `profile: { enabled: true }` in its configuration.
//!
//! | to see | use |
//! |---|---|
//! | which function burns the CPU, on which thread | [`Profile::write_flamegraph`], [`Profile::top`] |
//! | where the lifetime of each thread went | [`Options::waits`], then [`Profile::accounts`] |
//! | what the threads waited for, and where | [`Profile::write_waits`] |
//! | which thread kept the others waiting, and by what | [`Profile::blame`], [`Profile::critical_path`] |
//! | how often and how long a part of the program ran | [`span`], then [`Profile::spans`] |
//! | what happened when | [`Profile::write_timeline`] |
//!
//! [The guide](crate::guide::profiling) says how it works, what each number means, and what a
//! profile cannot see.
//!
//! ```
//! use selvedge::profile::{self, Options};
//!
//! let recording = profile::start(Options::new().frequency(1000))?;
//! let sum = selvedge::spawn("sum", |_please_stop| (0..1_000_000_u64).map(|n| n * n % 7).sum::<u64>());
//! sum.join()?;
//! let profile = recording.finish();
//! println!("{}", profile.top(10));
//! let mut picture = Vec::new();
//! profile.write_flamegraph(&mut picture, &profile::FlameOptions::new())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The way of a sample through the files: `engines` fill `raw`; `build` finds the thread of each sample
// (`owners`) and its frames (`shown_stacks`, by `symbols`, `loader` and `trim`); `model` is the result.
// `accounts` counts, beside the samples, where each thread's lifetime went: CPU, waits and what ended
// them. `wait_stacks` has the stacks of the waits, `write_waits` draws them. `spans` counts the stretches that the
// program names. `now` and `window` request stacks without a recording. `part` and `series` read a
// recording that goes on. All of it uses the rooms from `thread` down, and `flame`, which draws.

#[cfg(feature = "profiling")]
mod accounts;
#[cfg(feature = "profiling")]
mod assemble;
#[cfg(feature = "profiling")]
mod build;
#[cfg(feature = "profiling")]
mod counted_waits;
#[cfg(all(unix, feature = "profiling"))]
mod describe_handler;
#[cfg(all(feature = "profiling", any(feature = "inspect", feature = "push")))]
mod difference;
#[cfg(feature = "profiling")]
mod engines;
#[cfg(all(unix, feature = "profiling"))]
mod exec;
#[cfg(feature = "profiling")]
mod later;
#[cfg(all(feature = "profiling", target_os = "linux", target_pointer_width = "64"))]
mod loader;
#[cfg(all(feature = "profiling", not(all(target_os = "linux", target_pointer_width = "64"))))]
#[path = "no_loader.rs"]
mod loader;
#[cfg(feature = "profiling")]
mod lost_time;
#[cfg(feature = "profiling")]
mod model;
#[cfg(feature = "profiling")]
mod named;
#[cfg(feature = "profiling")]
pub(crate) mod now;
#[cfg(feature = "profiling")]
mod of_trace;
mod options;
#[cfg(feature = "profiling")]
mod owners;
#[cfg(all(feature = "profiling", feature = "inspect"))]
mod part;
#[cfg(feature = "profiling")]
mod raw;
#[cfg(feature = "profiling")]
mod recording;
#[cfg(feature = "profiling")]
mod running;
#[cfg(feature = "push")]
mod series;
#[cfg(feature = "profiling")]
mod shown_stacks;
#[cfg(not(feature = "profiling"))]
#[path = "no_spans.rs"]
mod spans;
#[cfg(feature = "profiling")]
mod spans;
#[cfg(feature = "profiling")]
mod symbols;
#[cfg(all(test, feature = "profiling"))]
mod tests;
#[cfg(feature = "profiling")]
mod thread_profile;
#[cfg(feature = "profiling")]
mod timeline;
#[cfg(feature = "profiling")]
mod top;
#[cfg(feature = "profiling")]
mod trace;
#[cfg(feature = "profiling")]
mod traced_stacks;
#[cfg(feature = "profiling")]
mod trim;
#[cfg(feature = "profiling")]
mod wait_stacks;
#[cfg(feature = "profiling")]
mod window;
#[cfg(feature = "profiling")]
mod write_waits;

#[cfg(all(feature = "profiling", feature = "inspect"))]
pub(crate) use accounts::WaitCounter;
#[cfg(all(unix, feature = "profiling"))]
pub(crate) use describe_handler::describe_function;
#[cfg(all(feature = "profiling", feature = "inspect"))]
pub(crate) use part::{EndedPart, Part, RunningNow, accounts_now, running_now, wait_counters, waits_now};
#[cfg(feature = "otlp")]
pub(crate) use series::Delta;
#[cfg(feature = "push")]
pub(crate) use series::{Interval, Kind, Series};
#[cfg(all(feature = "profiling", feature = "inspect"))]
pub(crate) use symbols::names_until;
#[cfg(feature = "profiling")]
pub(crate) use window::Window;

#[cfg(all(unix, feature = "profiling"))]
pub use exec::exec;
#[cfg(not(feature = "profiling"))]
pub(crate) use options::{Clock, Engine, Options};
pub use spans::{Span, span};
#[cfg(feature = "profiling")]
pub use {
    crate::flame::FlameOptions,
    accounts::{Account, WaitTotal},
    lost_time::{Blame, Cause, CriticalPath, PathFunction, Step, WaitingThread},
    model::Profile,
    options::{Clock, Engine, Options},
    recording::{Recording, start},
    spans::SpanTotal,
    thread_profile::ThreadProfile,
    top::{Top, TopEntry, TopThread},
};
