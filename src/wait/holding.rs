//! The calling thread as a holder and as a user of a queue, and the paths of holders.

use super::description::{Unblocker, Wait};
use super::holder::{Holder, Users};
use super::identity::{is_alive, my_number, path_of};
#[cfg(feature = "profiling")]
use super::times::Label;
use crate::os::printable::on_one_line;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

impl Holder {
    /// The calling thread takes it.
    #[inline]
    #[track_caller]
    pub(crate) fn take(&self) {
        self.take_as(my_number(), Location::caller());
    }

    /// Returns `true` if the calling thread holds it.
    pub(crate) fn is_me(&self) -> bool {
        self.number() == my_number()
    }

    /// The path of the thread that holds it. `None` if no thread does.
    pub(crate) fn path(&self) -> Option<Arc<str>> {
        let number = self.number();
        (number != 0).then(|| path_of(number).unwrap_or_else(|| Arc::from("a thread that has ended")))
    }
}

impl Users {
    /// Notes that the calling thread uses it.
    pub(crate) fn add_me(&self) {
        self.add(my_number(), is_alive);
    }

    /// The living threads among them. `None` if there were too many, or none at all.
    pub(crate) fn alive(&self) -> Option<Vec<u64>> {
        self.filtered(is_alive)
    }
}

#[cfg(feature = "profiling")]
impl Label {
    /// The path of the thread that held it. `None` if no thread did, or that thread has ended since.
    pub(crate) fn holder(&self) -> Option<Arc<str>> {
        (self.holder != 0).then(|| path_of(self.holder)).flatten()
    }
}

impl Wait {
    /// The path of the thread that holds the lock or monitor, or has the turn before, as of this
    /// call. `None` while no thread does, and for waits for other things.
    pub fn holder(&self) -> Option<Arc<str>> {
        match &self.description.unblocker {
            Unblocker::Holder(holder) | Unblocker::Turn(holder) => holder.path(),
            _ => None,
        }
    }

    /// Where in the source the holder took it, as of this call.
    pub fn acquired_at(&self) -> Option<&'static Location<'static>> {
        match &self.description.unblocker {
            Unblocker::Holder(holder) | Unblocker::Turn(holder) => holder.place(),
            _ => None,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = on_one_line(&self.description.name);
        write!(f, "waiting {:.1?} for {} \"{name}\"", self.elapsed(), self.description.kind)?;
        if let Some(place) = self.description.place {
            write!(f, " at {}:{}", place.file(), place.line())?;
        }
        if let Some(holder) = self.holder() {
            write!(f, ", held by {holder}")?;
        }
        if let Some(place) = self.acquired_at() {
            write!(f, " since {}:{}", place.file(), place.line())?;
        }
        match &self.description.unblocker {
            Unblocker::Claimed(holder) => holder.path().map_or(Ok(()), |path| write!(f, ", claimed by {path}")),
            _ => Ok(()),
        }
    }
}
