//! Where the loader is not asked what it has loaded.

/// What was loaded during a recording: not known here.
#[derive(Clone, Debug, Default)]
pub(super) struct History;

impl History {
    pub(super) fn of_now() -> History {
        History
    }

    pub(super) fn generation(&self) -> u32 {
        0
    }
}
