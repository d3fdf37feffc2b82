//! A result that no thread will look at. An `Err` that a plain `spawn` returns is a value like any
//! other, not a failure; if the handle is dropped, it is lost.

use super::handle::Thread;
use crate::error::ignore_panic;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::tell::tell;
use log::Level;
use std::any::type_name;
use std::collections::BTreeSet;
use std::panic::Location;

/// The last part of the name of a `Result` whose error says that the thread was stopped.
const STOPPED: &str = "selvedge::error::Stopped>";

/// The handle of `thread`, which returns `T`, is dropped. If `T` is a `Result`, logs a warning,
/// once for each call that spawns. It cannot tell whether the value is an `Err`, since it knows
/// only the name of `T`. Called by the drop and by the release of `JoinHandle`.
pub(super) fn handle_dropped<T>(thread: &Thread) {
    static TOLD: PerProcess<Mutex<BTreeSet<&'static Location<'static>>>> =
        PerProcess::new(Mutex::new(BTreeSet::new()), Mutex::default);
    let returns = type_name::<T>();
    // A name that the standard library changes some day is a warning less.
    // An error that can only say `Stopped` has nothing to lose.
    let is_result = returns.starts_with("core::result::Result<") && returns.rsplit(", ").next() != Some(STOPPED);
    let Some(at) = thread.spawned_at().filter(|_| is_result) else { return };
    if TOLD.lock().insert(at) {
        ignore_panic(|| {
            let text = format!(
                "{} was spawned at {at} to return a {returns}, but its handle was dropped: if it is an Err, that is \
                 lost; use spawn_fallible, which makes it a failure, or join (said once for this call)",
                thread.path()
            );
            tell(Level::Warn, module_path!(), &text);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{STOPPED, type_name};

    #[test]
    fn results_of_stopped_threads_are_known_by_name() {
        assert_eq!(type_name::<Result<u8, crate::Stopped>>().rsplit(", ").next(), Some(STOPPED));
        assert_ne!(type_name::<Result<u8, String>>().rsplit(", ").next(), Some(STOPPED));
    }
}
