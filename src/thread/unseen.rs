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

/// The handle of `thread`, which returns `T`, is dropped. If `T` is a `Result`, logs a warning,
/// once for each call that spawns. It cannot tell whether the value is an `Err`, since it knows
/// only the name of `T`. Called by the drop and by the release of `JoinHandle`.
pub(super) fn handle_dropped<T>(thread: &Thread) {
    static TOLD: PerProcess<Mutex<BTreeSet<&'static Location<'static>>>> =
        PerProcess::new(Mutex::new(BTreeSet::new()), Mutex::default);
    let returns = type_name::<T>();
    // A name that the standard library changes some day is a warning less.
    let is_result = returns.starts_with("core::result::Result<");
    let Some(at) = thread.spawned_at().filter(|_| is_result) else { return };
    if TOLD.lock().insert(at) {
        ignore_panic(|| {
            let text = format!(
                "{} was spawned at {at} to return a {returns}, but its handle was dropped: an Err is lost; use \
                 spawn_fallible, which makes it a failure, or join (said once for this call)",
                thread.path()
            );
            tell(Level::Warn, module_path!(), &text);
        });
    }
}
