//! What this crate asks of the operating system: threads and their clocks, signals, forks, files,
//! descriptors, memory and limits. The only room that names `libc`, besides `profile`.

#[cfg(all(feature = "log4rs", not(unix)))]
#[path = "no_abort.rs"]
pub(crate) mod abort;
#[cfg(all(feature = "log4rs", unix))]
pub(crate) mod abort;
pub(crate) mod cgroup;
#[cfg(unix)]
pub(crate) mod code;
pub(crate) mod console;
pub(crate) mod counted;
#[cfg(all(any(feature = "log4rs", feature = "profiling"), unix))]
pub(crate) mod errno;
#[cfg(all(test, unix, feature = "log4rs"))]
pub(crate) mod for_tests;
pub(crate) mod fork;
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) mod futex;
#[cfg(unix)]
pub(crate) mod inherit;
#[cfg(target_os = "linux")]
mod join;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(feature = "log4rs", not(unix)))]
#[path = "no_log_file.rs"]
pub(crate) mod log_file;
#[cfg(all(feature = "log4rs", unix))]
pub(crate) mod log_file;
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) mod mapped;
#[cfg(target_os = "linux")]
pub(crate) mod maps;
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) mod memory;
#[cfg(unix)]
pub(crate) mod net;
pub(crate) mod only_one;
mod os_thread;
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) mod perf;
#[cfg(all(target_os = "linux", feature = "profiling", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) mod perf_ring;
#[cfg(unix)]
pub(crate) mod poll;
#[cfg(not(target_os = "linux"))]
mod portable;
pub(crate) mod printable;
#[cfg(not(unix))]
#[path = "no_process.rs"]
pub(crate) mod process;
#[cfg(unix)]
pub(crate) mod process;
pub(crate) mod program;
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) mod readable;
#[cfg(all(unix, feature = "profiling"))]
pub(crate) mod sigprof;
#[cfg(target_os = "linux")]
pub(crate) mod stack;
pub(crate) mod task;
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) mod tasks;
pub(crate) mod tell;
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) mod thread_timer;
#[cfg(all(feature = "profiling", not(all(target_os = "linux", target_arch = "x86_64"))))]
#[path = "no_ticks.rs"]
pub(crate) mod ticks;
#[cfg(all(feature = "profiling", target_os = "linux", target_arch = "x86_64"))]
pub(crate) mod ticks;

#[cfg(target_os = "linux")]
pub(crate) use join::join;
#[cfg(target_os = "linux")]
pub(crate) use linux::{CpuClock, is_main_thread, set_thread_name, thread_count, thread_handle};
pub(crate) use os_thread::OsThread;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{
    CpuClock, is_main_thread, is_on_own_stack, join, set_thread_name, thread_count, thread_handle,
};
#[cfg(target_os = "linux")]
pub(crate) use stack::is_on_own_stack;

/// Bytes of a thread's name that the kernel keeps, on every system we know.
const NAME_BYTES: usize = 15;

/// The end of `name` that fits: `main/readers/reader-12` is told from its siblings by its end, not
/// by its start.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn name_end(name: &str) -> &str {
    let mut from = name.len().saturating_sub(NAME_BYTES);
    while !name.is_char_boundary(from) {
        from += 1;
    }
    &name[from..]
}

/// Nanoseconds of the monotonic clock, by which the kernel times samples.
///
/// # Signal safety
/// Safe: POSIX says so of `clock_gettime`.
#[cfg(all(unix, feature = "profiling"))]
pub(crate) fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for one timespec; each system has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The same; 0: no engine here asks.
#[cfg(all(not(unix), feature = "profiling"))]
pub(crate) fn monotonic_nanos() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::name_end;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(name_end("reader-1"), "reader-1");
        assert_eq!(name_end("exactly-15-byte"), "exactly-15-byte");
        assert_eq!(name_end("a-name-that-is-longer-reader-12"), "onger-reader-12");
        // 'ü' would be cut in its middle: the whole letter goes.
        assert_eq!(name_end("xü-fourteen-byte"), "-fourteen-byte");
    }
}
