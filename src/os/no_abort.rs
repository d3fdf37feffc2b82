//! Without Unix: no SIGABRT.

pub(crate) fn at_abort(_run: extern "C" fn(bool)) {}

pub(crate) fn block_abort() {}
