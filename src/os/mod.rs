//! The only room that names `libc`, besides the profiler's signal handler.

#[cfg(all(unix, feature = "profiling"))]
pub(crate) mod sigprof;
