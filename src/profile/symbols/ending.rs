//! The end of a search for names before it has found all: a thread that makes an answer for a client
//! must not keep the program from ending.

use crate::signal::Signal;
use std::cell::RefCell;

thread_local! {
    /// Ends the searches of this thread.
    static END: RefCell<Option<Signal>> = const { RefCell::new(None) };
}

/// Calls `make`. Searches for names that this thread does in it end soon after `end` has gone. What
/// they have not found until then has no names, and is not kept for later searches.
#[cfg(feature = "inspect")]
pub(crate) fn names_until<T>(end: &Signal, make: impl FnOnce() -> T) -> T {
    /// Puts back what was there before, also if `make` panics.
    struct Before(Option<Signal>);
    impl Drop for Before {
        fn drop(&mut self) {
            END.set(self.0.take());
        }
    }
    let _before = Before(END.replace(Some(end.clone())));
    make()
}

/// Returns `true` if the searches of this thread are to end.
pub(super) fn is_over() -> bool {
    // A thread that ends has no signal any more.
    END.try_with(|end| end.borrow().as_ref().is_some_and(Signal::is_go)).unwrap_or(false)
}

/// Asks in a loop with many short rounds whether the search is to end.
#[derive(Default)]
pub(super) struct Rounds(u32);

impl Rounds {
    /// Counts a round. Returns `true` if the search is to end, of which only each 256th round asks.
    pub(super) fn is_over(&mut self) -> bool {
        self.0 = self.0.wrapping_add(1);
        self.0.is_multiple_of(256) && is_over()
    }
}
