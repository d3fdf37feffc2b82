//! The record that the calling thread is encoding. Encoders ask here for what the facade's record
//! has no field for.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::log::Record;

use super::captured::{Captured, Context};

thread_local! {
    /// The record that is being encoded.
    static CURRENT: RefCell<Option<Captured>> = const { RefCell::new(None) };
}

/// Gives `f` the context of the record that is being encoded; outside of that, the one of now and
/// here.
pub(in crate::log) fn with_context<R>(f: impl FnOnce(&Context<'_>) -> R) -> R {
    let mut f = Some(f);
    let known = CURRENT.try_with(|current| {
        let current = current.try_borrow().ok()?;
        let captured = current.as_ref()?;
        f.take().map(|f| f(&captured.context()))
    });
    match (known, f) {
        (Ok(Some(result)), _) => result,
        (_, Some(f)) => f(&Captured::new(&Record::builder().build()).context()),
        // f is taken only where its result is returned.
        (_, None) => unreachable!("the context was given, and no result came of it"),
    }
}

/// While `f` runs, encoders on this thread see the record. Gives it back if `f` says so, or panics.
pub(in crate::log) fn encoding<R>(
    captured: Captured,
    f: impl FnOnce(&Captured) -> R,
    wanted: impl FnOnce(&R) -> bool,
) -> (std::thread::Result<R>, Option<Captured>) {
    let mut captured = Some(captured);
    let put = CURRENT.try_with(|current| *current.borrow_mut() = captured.take());
    // AssertUnwindSafe: what `f` leaves half-done are appenders, which have to bear that in log4rs
    // too.
    let result = match (put, &captured) {
        (Ok(()), _) => CURRENT.with(|current| {
            let current = current.borrow();
            let captured = current.as_ref().expect("just put there");
            catch_unwind(AssertUnwindSafe(|| f(captured)))
        }),
        // A thread that is ending: its encoders find out the same, as the caller is this very
        // thread.
        (Err(_), Some(captured)) => catch_unwind(AssertUnwindSafe(|| f(captured))),
        (Err(_), None) => unreachable!("taken only where it is put"),
    };
    if put.is_ok() {
        let back = result.as_ref().map_or(true, wanted);
        let _ = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            // Dropped in its place, if it is not wanted.
            if back { captured = current.take() } else { *current = None }
        });
    }
    (result, captured)
}
