//! The right to record, or to wait for a difference: one client has it at a time.

use super::response::Response;
use crate::model::locks::Mutex;

/// The right to record.
#[derive(Default)]
pub(super) struct Recorder(Mutex<bool>);

/// Given back when it is dropped.
pub(super) struct Turn<'a>(&'a Recorder);

impl Recorder {
    /// # Errors
    /// The answer to a client that comes while another one has the right.
    pub(super) fn take(&self) -> Result<Turn<'_>, Response> {
        let was_taken = std::mem::replace(&mut *self.0.lock(), true);
        if was_taken {
            let text = "a recording for another client runs; one runs at a time, try again";
            return Err(Response::text(409, text).with("Retry-After", "5"));
        }
        Ok(Turn(self))
    }

    /// A client records now.
    #[cfg(feature = "profiling")]
    pub(super) fn is_taken(&self) -> bool {
        *self.0.lock()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.0.lock() = false;
    }
}
