//! The profile of the running program goes to a server, interval by interval. Beside `inspect`,
//! which serves what is asked for; the runtime starts and ends it. docs/live.md says what a user
//! sees.
//!
//! ```text
//!     the thread main/selvedge/push
//!      -> profile::Series  what the interval has added
//!      -> pyroscope, otlp  the body of a request
//!      -> backlog          the bodies that are not sent yet, the oldest first
//!      -> request          one request; what the answer means
//!      <- backoff          when to try again
//!      -> counts           what was lost, and what is told of it
//! ```
//!
//! Invariants
//! 1. No thread of the user waits for the server: only the end of the program does, within a bound.
//! 2. Each interval is pushed, or counted as lost with its reason. An answer that does not come
//!    back may make it be pushed twice.
//! 3. The memory for intervals that are not sent is bounded; the oldest gives way.
//! 4. No call waits for the network without a limit, and each wait ends with the thread's stop. The
//!    look-up of a name, which nothing ends, is a thread's that is not waited for.

mod backlog;
mod backoff;
mod body;
mod counts;
mod encode;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), allow(unreachable_pub))]
pub mod fuzz;
mod lookup;
#[cfg(feature = "otlp")]
mod otlp;
mod plan;
mod pusher;
mod pyroscope;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub(crate) use plan::{Format, Plan};
pub(crate) use pusher::{Pusher, start};
