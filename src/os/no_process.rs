//! Without Unix: no fork, and no functions that an exit calls.

pub(crate) fn at_fork(_before: extern "C" fn(), _parent: extern "C" fn(), _child: extern "C" fn()) {}

pub(crate) fn at_exit(_run: extern "C" fn()) {}

pub(crate) fn survive_file_size_limit() {}

/// How a library is kept from being unloaded here is not known.
pub(crate) fn stay_loaded() {}

/// Not known.
#[cfg(feature = "profiling")]
pub(crate) fn cpu_time() -> std::time::Duration {
    std::time::Duration::ZERO
}
