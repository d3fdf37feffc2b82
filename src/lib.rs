//! selvedge: a profiling-integrated threading runtime.

mod error;
#[cfg(feature = "profiling")]
mod flame;
mod os;
#[cfg(feature = "profiling")]
pub mod profile;
#[cfg(not(feature = "profiling"))]
#[allow(dead_code, unused_imports)]
mod profile;
mod queue;
mod signal;
mod thread;
mod wait;

pub use error::Error;
pub use queue::{AddError, Iter as QueueIter, PopError, Queue};
pub use signal::{OnGo, Signal, Till};
pub use thread::{
    Builder, Failure, JoinHandle, OnChildFailure, Registered, Scope, StopOrder, Thread, register, scope, spawn,
    spawn_fallible,
};
pub use wait::Wait;
