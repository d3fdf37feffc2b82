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
mod thread;

pub use error::Error;
pub use thread::Thread;
