//! In the place of `stacks` where no recording is compiled: no stack is taken.

#[inline(always)]
pub(crate) fn let_go(_nanos: u64) {}

#[inline(always)]
pub(crate) fn counted_now() -> u64 {
    0
}

#[inline(always)]
pub(crate) fn counted_since() -> u64 {
    0
}
