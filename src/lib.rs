//! selvedge: a profiling-integrated threading runtime.

mod error;
#[allow(dead_code)] // run, which installs the log, is not here yet
mod log;
#[cfg(feature = "profiling")]
pub mod profile;
#[cfg(not(feature = "profiling"))]
#[allow(dead_code, unused_imports)]
mod profile;
#[allow(dead_code)] // the same
mod runtime;
mod thread;

pub use crate::log::logging;
pub use error::Error;
pub use runtime::{Config, OnStuck, ProfileFormat};
pub use thread::Thread;
