//! `Till`: a signal that goes by the clock. A wait for it is a deadline; targets on it need
//! `timer/`.

use super::core::{Core, Kind};
use super::handle::Signal;
use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// A [`Signal`] that goes at a point of the monotonic clock: a time-out that can be combined with
/// anything.
///
/// Making one costs an allocation and no thread; waiting on one is a deadline. Only targets
/// ([`on_go`](Signal::on_go)) and [`receiver`](Signal::receiver) need the timer thread, which runs
/// while there are any. It can be let go early with [`go`](Signal::go).
///
/// ```
/// use selvedge::{Signal, Till};
/// use std::time::Duration;
///
/// let please_stop = Signal::new("please_stop");
/// let mut rounds = 0;
/// while !please_stop.is_go() && rounds < 3 {
///     rounds += 1;
///     (Till::after(Duration::from_millis(1)) | &please_stop).wait_for_go();
/// }
/// ```
#[derive(Clone)]
pub struct Till(Signal);

impl Till {
    /// Goes `delay` from now. A delay beyond what the clock can express never ends.
    #[must_use]
    pub fn after(delay: Duration) -> Till {
        match Instant::now().checked_add(delay) {
            Some(at) => Till::at(at),
            None => Till(Signal::never()),
        }
    }

    /// Goes at `at`; has gone already, if that is past.
    #[must_use]
    pub fn at(at: Instant) -> Till {
        Till(Signal(Core::new(Kind::Till(at))))
    }
}

impl Deref for Till {
    type Target = Signal;

    fn deref(&self) -> &Signal {
        &self.0
    }
}

impl AsRef<Signal> for Till {
    fn as_ref(&self) -> &Signal {
        &self.0
    }
}

impl From<Till> for Signal {
    fn from(till: Till) -> Signal {
        till.0
    }
}

impl fmt::Debug for Till {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
