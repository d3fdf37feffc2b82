//! selvedge: a threading runtime for programs made of plain OS threads, with profiling and logging
//! built in.
//!
//! Every thread has a parent that outlives it, a signal `please_stop` that asks it to stop, a name
//! in each dump, log line and profile, and an end that its parent cannot miss.
//!
//! ```
//! use selvedge::{Config, Queue, Signal, run, spawn};
//!
//! fn main() -> std::process::ExitCode {
//!     run(Config::new("squares"), |please_stop: &Signal| {
//!         let numbers: Queue<u64> = Queue::bounded("numbers", 100);
//!         let from = numbers.popper();
//!         let sum = spawn("sum", move |please_stop| {
//!             let mut sum = 0;
//!             // Goes on after a stop, until the queue is closed and empty.
//!             while let Some(number) = from.pop_draining(please_stop) {
//!                 sum += number * number;
//!             }
//!             sum
//!         });
//!         let to = numbers.adder();
//!         for number in (1..=1000).take_while(|_| !please_stop.is_go()) {
//!             to.add(number)?;
//!         }
//!         drop(to); // The last adder closes the queue.
//!         println!("{}", sum.join()?);
//!         Ok::<(), Box<dyn std::error::Error>>(())
//!     })
//! }
//! ```
//!
//! Ctrl-C or SIGTERM makes `please_stop` go. The loop ends, the queue closes, and each number that
//! was added is summed. A panic in `sum` is the error that `join` returns, and the program ends
//! with one report and exit code 1.
//!
//! # What is where
//!
//! | to | use |
//! |---|---|
//! | start a program, from one YAML file or by calls | [`run`], [`Config`]; or [`Runtime`] in a `main` of your own |
//! | start threads | [`spawn`], [`spawn_fallible`], [`Builder`]; [`scope`] for threads that borrow; [`register`] for threads of other libraries |
//! | know a thread: its path, parent, children | [`Thread`] |
//! | get its value or its error | [`JoinHandle`], [`Failure`]; [`Restart`] runs it again |
//! | tell a fact that comes true once | [`Signal`]; [`Till`] by the clock. They combine with `\|` and `&`, and end any wait |
//! | move values between threads | [`Queue`], [`Adder`], [`Popper`]; [`spawn_actor`] for a thread with a state and a queue |
//! | lose none at the end | [`Queue::pop_draining`]; [`left_in_queues`] counts what is left |
//! | share a value or a permit | [`Lock`], [`Monitor`], [`Semaphore`], [`BinarySemaphore`] |
//! | wait for a count, a turn or a result | [`Progress`], [`Sequencer`], [`Promise`] |
//! | read lines or sockets until a stop | [`lines_till`], [`net`] |
//! | see what each thread does and waits for | [`dump()`], or `kill -USR1`; with the feature `profiling`, with stacks |
//! | see where the CPU time goes | the module `profile`, with the feature `profiling`: one flamegraph of all threads |
//! | name stretches of the program and count them | [`span`], with the feature `profiling` |
//! | log | the macros of the crate [`log`](https://docs.rs/log); [`logging`] has the rest; [`context`] says what a thread works on, [`mdc`] is the whole map |
//!
//! A call with the suffix `_till` ends when a signal goes, and a call with `_timeout` after a time.
//!
//! # The guide
//!
//! [`guide`] has pages to read from top to bottom: [the life of a thread](guide::threads),
//! [how to stop without losing anything](guide::stopping),
//! [from channels to `Queue`](guide::from_channels), [which primitive](guide::cube),
//! [when something is wrong](guide::shutdown), [profiling](guide::profiling),
//! [logging](guide::logging), and [recipes](guide::recipes) for a tool, a server, a service, rayon,
//! tokio and tracing.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `log4rs` (default) | the log: log4rs, its YAML files, the queue and its writer |
//! | `profiling` | recordings, flamegraphs, stacks in dumps and reports |
//! | `inspect` | a socket by which tools look into the running program: a page, Go's endpoints, metrics |
//! | `push` | the profile of the running program goes to a Pyroscope server, interval by interval |
//! | `otlp` | the same as OpenTelemetry profiles, a protocol in development |
//! | `pprof-engine` | the portable engine of the profiler, the pprof crate |

mod actor;
mod dump;
mod error;
#[cfg(feature = "profiling")]
mod flame;
#[cfg(any(doc, doctest))]
pub mod guide;
/// The model checkers find a hang by themselves.
#[cfg(all(test, target_os = "linux", not(selvedge_model)))]
#[path = "../tests/support/hang.rs"]
mod hang;
#[cfg(unix)]
mod input;
#[cfg(all(feature = "inspect", unix))]
mod inspect;
#[cfg(feature = "log4rs")]
mod log;
#[cfg(not(feature = "log4rs"))]
#[path = "log/facade.rs"]
mod log;
mod model;
#[cfg(unix)]
pub mod net;
mod os;
#[cfg(test)]
#[path = "../tests/support/own_process.rs"]
mod own_process;
#[cfg(feature = "profiling")]
pub mod profile;
#[cfg(not(feature = "profiling"))]
mod profile;
#[cfg(all(feature = "push", unix))]
mod push;
mod queue;
#[cfg(test)]
#[path = "../tests/support/random.rs"]
mod random;
#[cfg(feature = "profiling")]
mod record;
mod runtime;
mod signal;
mod sync;
mod thread;
mod unwind_safety;
mod wait;
mod yaml;

pub use crate::log::logging;
pub use actor::{ActorHandle, AskError, Reply, spawn_actor};
/// Of which [`Signal::receiver`] gives a type.
pub use crossbeam_channel;
pub use dump::{Dump, dump};
pub use error::{Error, Stopped};
#[cfg(unix)]
pub use input::{LinesTill, lines_till};
/// For the fuzz target, which lies outside of this crate.
#[cfg(all(fuzzing, feature = "inspect"))]
#[doc(hidden)]
pub use inspect::fuzz as inspect_fuzz;
pub use profile::{Span, span};
#[cfg(all(fuzzing, feature = "push"))]
#[doc(hidden)]
pub use push::fuzz as push_fuzz;
pub use queue::{AddError, Adder, Iter as QueueIter, LeftInQueue, PopError, Popper, Queue, left_in_queues};
#[cfg(feature = "push")]
pub use runtime::Push;
pub use runtime::{
    Ask, Config, MainResult, OnStuck, OsSignal, ProfileFormat, Runtime, interrupted, profile_files, run,
};
pub use signal::{OnGo, OnGoScoped, Reason, Signal, Till};
pub use sync::{
    BinarySemaphore, Claim, GaveUp, Lock, LockGuard, Monitor, MonitorGuard, Permit, Progress, Promise, PromiseError,
    Semaphore, Sequencer, Ticket, Turn, TurnError,
};
pub use thread::mdc;
pub use thread::mdc::{ContextGuard, context};
pub use thread::{
    Builder, Failure, JoinHandle, OnChildFailure, Registered, Restart, Restarting, Scope, StopOrder, Thread, register,
    register_once, scope, spawn, spawn_fallible,
};
pub use wait::Wait;

/// The README's examples compile.
#[cfg(all(doctest, feature = "profiling"))]
#[doc = include_str!("../README.md")]
struct Readme;
