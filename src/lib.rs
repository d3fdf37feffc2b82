//! selvedge: a profiling-integrated threading runtime for programs made of plain OS threads.
//!
//! Every thread has a parent that outlives it, a `please_stop` signal, a name that shows up
//! everywhere, a place in one profile and one log, and an end that its parent cannot miss.
//!
//! * [`run`] a program from one YAML file, or keep your own `main` with [`Runtime`].
//! * [`spawn`] threads, [`scope`] threads that borrow, [`register`] threads of other libraries; a
//!   [`Thread`] knows its path, parent and children; a [`Failure`] reaches the thread that joins,
//!   or the parent.
//! * A [`Signal`] is a fact that comes true once; a [`Till`] by the clock. They combine with `|`
//!   and `&`, and end any wait.
//! * A [`Queue`] moves values between threads; an [actor](spawn_actor) is a thread that owns a
//!   state and a queue. What is in queues when the program is asked to stop is handled, or counted
//!   and told: [`Queue::pop_draining`], [`Adder`], [`Popper`], [`left_in_queues`].
//! * [`Semaphore`], [`BinarySemaphore`], [`Monitor`], [`Lock`], [`Progress`], [`Sequencer`] and
//!   [`Promise`] are the other cells of the cube of which `Signal` is one: each wait for them has a
//!   name, an owner where there is one, and ends when any signal says so.
//! * [`net`]: sockets whose accept, read, write and connect end on a signal.
//! * [`logging`] is log4rs, from the YAML that its users know, strictly read.
//! * [`dump`](dump()), and SIGUSR1, tell what each thread does and waits for; with the feature
//!   `profiling`, its stack, too.
//! * With the feature `profiling`, `profile` makes one flamegraph of all threads.

mod actor;
mod dump;
mod error;
#[cfg(feature = "profiling")]
mod flame;
#[cfg(unix)]
mod input;
#[cfg(feature = "log4rs")]
mod log;
#[cfg(not(feature = "log4rs"))]
#[path = "log/facade.rs"]
mod log;
mod model;
#[cfg(unix)]
pub mod net;
mod os;
#[cfg(feature = "profiling")]
pub mod profile;
#[cfg(not(feature = "profiling"))]
mod profile;
mod queue;
mod runtime;
mod signal;
mod sync;
mod thread;
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
pub use queue::{AddError, Adder, Iter as QueueIter, LeftInQueue, PopError, Popper, Queue, left_in_queues};
pub use runtime::{
    Ask, Config, DumpSignal, MainResult, OnStuck, ProfileFormat, Runtime, interrupted, profile_files, run,
};
pub use signal::{OnGo, OnGoScoped, Reason, Signal, Till};
pub use sync::{
    BinarySemaphore, Claim, GaveUp, Lock, LockGuard, Monitor, MonitorGuard, Permit, Progress, Promise, PromiseError,
    Semaphore, Sequencer, Ticket, Turn, TurnError,
};
pub use thread::mdc;
pub use thread::{
    Builder, Failure, JoinHandle, OnChildFailure, Registered, Restart, Restarting, Scope, StopOrder, Thread, register,
    scope, spawn, spawn_fallible,
};
pub use wait::Wait;

/// The README's examples compile.
#[cfg(all(doctest, feature = "profiling"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// So do those of the recipes, and they run.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes.md")]
struct Recipes;

/// So do those of the recipe for rayon.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes/rayon.md")]
struct RecipeRayon;

/// A command-line tool.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes/command-line.md")]
struct RecipeCommandLine;

/// tokio.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes/tokio.md")]
struct RecipeTokio;

/// tracing and other loggers.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes/tracing.md")]
struct RecipeTracing;

/// So do those of the guide to stopping.
#[cfg(all(doctest, unix))]
#[doc = include_str!("../docs/stopping.md")]
struct Stopping;

/// So do those of the comparison with channels.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-channels.md")]
struct FromChannels;
