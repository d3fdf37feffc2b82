//! Without the feature `profiling`, spans do nothing.

use std::marker::PhantomData;

/// Names a stretch of the program, which ends when the guard is dropped. With the feature
/// `profiling`, each recording counts the calls and times of each name. Without it, as here, this
/// does nothing.
#[inline(always)]
pub fn span(_name: &'static str) -> Span {
    Span { _not_send: PhantomData }
}

/// See [`span`]. Does nothing without the feature `profiling`.
#[must_use = "the span ends when this is dropped"]
#[derive(Debug)]
pub struct Span {
    _not_send: PhantomData<*const ()>,
}

// As with the feature, where a guard has a destructor: the same programs compile.
impl Drop for Span {
    #[inline(always)]
    fn drop(&mut self) {}
}
