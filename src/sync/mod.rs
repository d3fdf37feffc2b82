//! The other seven cells of the cube. Knows `signal`, `wait` and the seam `model`; knows no queues,
//! no threads of the tree.
//!
//! Three questions tell apart what threads share to be in step. Is it a *resource*, which one
//! thread has and others then do not? Is it *binary*, there or not, or does it count? Is it
//! *irreversible*?
//!
//! | resource | binary | irreversible |                     | one sentence                                            |
//! |----------|--------|--------------|---------------------|---------------------------------------------------------|
//! | R        | –      | –            | [`Semaphore`]       | n permits; take one, give it back                       |
//! | –        | B      | –            | [`BinarySemaphore`] | a flag that wakes one and is down again                 |
//! | –        | –      | –            | [`Monitor`]         | a value, and waiting until a thread has changed it      |
//! | R        | B      | –            | [`Lock`]            | a value that one thread has at a time                   |
//! | –        | –      | I            | [`Progress`]        | a number that only grows, and waiting for it to get there |
//! | –        | B      | I            | [`Signal`]          | a fact that comes true once                             |
//! | R        | –      | I            | [`Sequencer`]       | turns, taken in the order of tickets                    |
//! | R        | B      | I            | [`Promise`]         | one value, by one claimant, forever                     |
//!
//! All have a name. Each blocking call publishes what it waits for. Each has a plain, a `_till` and
//! a `_timeout` form: a `till` that has gone before the call wins, and a `till` that goes during
//! the call ends it.
//!
//! [`Signal`]: crate::Signal

mod binary_semaphore;
mod limit;
mod lock;
mod monitor;
mod owed;
mod owned;
mod parker;
mod permits;
mod progress;
mod promise;
mod semaphore;
mod sequencer;

#[cfg(all(test, selvedge_loom))]
mod loom_tests;
#[cfg(all(test, selvedge_model, not(selvedge_loom)))]
mod model_tests;
#[cfg(all(test, not(selvedge_model)))]
mod tests;

pub use binary_semaphore::BinarySemaphore;
pub use lock::{Lock, LockGuard};
pub use monitor::{Monitor, MonitorGuard};
pub use progress::Progress;
pub use promise::{Claim, Promise, PromiseError};
pub use semaphore::{Permit, Semaphore};
pub use sequencer::{Sequencer, Ticket, Turn, TurnError};

use std::fmt;

/// Why a wait ended before what was waited for.
///
/// ```
/// use selvedge::{GaveUp, Lock, Signal};
///
/// let ledger = Lock::new("ledger", 0);
/// assert_eq!(ledger.lock_till(&Signal::gone()).err(), Some(GaveUp::Stopped));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GaveUp {
    /// The signal that was given as `till` has gone. If it was made of several, ask its parts
    /// which.
    Stopped,
    /// The time of a `_timeout` form has passed.
    TimedOut,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GaveUp::Stopped => "stopped while waiting",
            GaveUp::TimedOut => "timed out while waiting",
        })
    }
}

impl std::error::Error for GaveUp {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        matches!(self, GaveUp::Stopped).then_some(crate::error::STOPPED)
    }
}
