//! What tools see of a running program, by HTTP on a Unix socket or a loopback address: the page,
//! Go's endpoints, the thread tree as JSON, metrics, the tail of the log. Above `dump`, which tells
//! what the threads do; the runtime starts and ends it. docs/live.md says what is served.
//!
//! How a request travels:
//!
//! ```text
//!     the thread main/selvedge/inspect                 |  its threads worker-1 …
//!     server      waits for all sockets at once        |
//!      -> connection  reads, until the head is whole   |
//!      -> request     parses it -------- queue ------------> router -> access: Host, Origin, token
//!      <- connection  writes the answer <--------------|  one file for each kind of answer
//! ```
//!
//! Invariants
//! 1. One thread waits for all connections, and never for one of them. So a slow client holds up no
//!    other one, and 1,000 connections make no thread.
//! 2. While no client is connected, no thread of the room wakes up.
//! 3. A request changes nothing in the program. It may record, which costs what a recording costs.
//! 4. Nothing of the user's runs here.
//! 5. The end of the program waits for no answer.

mod access;
mod client;
mod connection;
mod counted;
mod events;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), allow(unreachable_pub))]
pub mod fuzz;
mod index;
mod listener;
mod metrics;
mod page;
mod parameters;
mod pools;
mod pprof;
mod program;
#[cfg(feature = "profiling")]
mod record;
#[cfg(not(feature = "profiling"))]
#[path = "no_record.rs"]
mod record;
mod recorder;
mod request;
mod response;
mod router;
mod server;
mod socket;
#[cfg(feature = "profiling")]
mod source;
#[cfg(test)]
mod tests;
mod threads;
mod token;
mod told;
mod waited;
mod worker;

pub(crate) use listener::{Place, forget};
pub(crate) use server::start;
