//! In the place of `ender` where no recording is compiled: nothing is stamped.

use std::time::Instant;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ender;

impl Ender {
    pub(crate) const UNKNOWN: Ender = Ender;
    pub(crate) const OUTSIDE: Ender = Ender;

    #[inline(always)]
    pub(crate) fn me() -> Ender {
        Ender
    }

    #[inline(always)]
    pub(crate) fn clock(_at: Option<Instant>) -> Ender {
        Ender
    }

    /// All stamps are equally old.
    #[inline(always)]
    pub(crate) fn at(self) -> u64 {
        0
    }
}
