//! Why there are no rings, as a person reads it: what was refused, by which setting, and what to
//! do.

use std::fmt;
use std::io;

pub(in super::super) enum Refusal {
    /// The system refuses perf events.
    Kernel(io::Error),
    /// The system refuses to lock so many bytes for each processor.
    Memory { ring: usize, processors: usize },
    /// The events of all threads need more files than the process may spend on them.
    Files { needed: u64, possible: u64 },
    /// There are so many that each thread's events take too long.
    Processors(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Kernel(cause) => {
                write!(f, "the system refuses perf events: {cause}")?;
                match cause.raw_os_error() {
                    Some(libc::EPERM | libc::EACCES) => {
                        let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
                        let level = level.as_deref().map_or("not readable", str::trim);
                        write!(f, " (kernel.perf_event_paranoid is {level}; 2 or less permits them, but for a sandbox)")
                    }
                    Some(libc::EINVAL) => f.write_str(" (they need Linux 5.13)"),
                    _ => Ok(()),
                }
            }
            Refusal::Memory { ring, processors } => write!(
                f,
                "the system refuses to lock {} KiB for each of {processors} processors \
                 (raise RLIMIT_MEMLOCK, `ulimit -l`, or kernel.perf_event_mlock_kb)",
                ring / 1024 + 4
            ),
            Refusal::Files { needed, possible } => write!(
                f,
                "the perf events of all threads need {needed} files, of {possible} that may be spent on them \
                 (raise RLIMIT_NOFILE, `ulimit -n`)"
            ),
            Refusal::Processors(count) => write!(f, "an event for each of {count} processors would slow new threads"),
        }
    }
}
