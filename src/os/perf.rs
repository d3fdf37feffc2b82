//! A clock of the kernel's perf events for one thread, whose overflow sends that thread SIGPROF:
//! not bound to the tick, but not permitted everywhere. Linux only.

use super::CpuClock;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// A running clock of perf events. It stops when it is dropped.
pub(crate) struct PerfClock(OwnedFd);

/// `struct perf_event_attr` in its third version, of Linux 4.1.
#[repr(C)]
#[derive(Clone, Default)]
pub(super) struct Attributes {
    pub(super) kind: u32,
    pub(super) size: u32,
    pub(super) config: u64,
    pub(super) sample_period: u64,
    pub(super) sample_type: u64,
    pub(super) read_format: u64,
    pub(super) flags: u64,
    /// With `WATERMARK` in `flags`, a number of bytes.
    pub(super) wakeup_events: u32,
    pub(super) breakpoint_type: u32,
    pub(super) breakpoint_address: u64,
    pub(super) breakpoint_length: u64,
    pub(super) branch_sample_type: u64,
    pub(super) sample_regs_user: u64,
    pub(super) sample_stack_user: u32,
    pub(super) clock: i32,
}

const SOFTWARE: u32 = 1;
pub(super) const CPU_CLOCK: u64 = 0;
pub(super) const EXCLUDE_KERNEL: u64 = 1 << 5;
pub(super) const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
/// The clock ends as soon as `exec` replaces this program, and not only when its file is closed,
/// which is later. Since Linux 5.13.
pub(super) const REMOVE_ON_EXEC: u64 = 1 << 36;
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;
const OWNER_IS_THREAD: libc::c_int = 0;
/// `_IO('$', 1)`
pub(super) const DISABLE: libc::Ioctl = 0x2401;

/// `struct f_owner_ex`
#[repr(C)]
struct Owner {
    kind: libc::c_int,
    id: libc::pid_t,
}

impl PerfClock {
    /// Sends SIGPROF to the thread each time it has used that much CPU time. The thread may be
    /// another one than the caller. Costs some 40 µs and a file descriptor.
    ///
    /// # Errors
    /// The kernel does not permit it (`perf_event_paranoid`, seccomp), there are too many files, or
    /// the thread has ended.
    pub(crate) fn start(clock: CpuClock, period: Duration) -> io::Result<PerfClock> {
        // With the kernel's part if that is permitted: else what passes there is the next sample's.
        let event = open(clock, period, EXCLUDE_HYPERVISOR | REMOVE_ON_EXEC)
            .or_else(|_| open(clock, period, EXCLUDE_HYPERVISOR | EXCLUDE_KERNEL | REMOVE_ON_EXEC))
            .or_else(|_| open(clock, period, EXCLUDE_HYPERVISOR))
            .or_else(|_| open(clock, period, EXCLUDE_HYPERVISOR | EXCLUDE_KERNEL))?;
        let owner = Owner { kind: OWNER_IS_THREAD, id: clock.thread() };
        // SAFETY: the descriptor is open; `owner` is what F_SETOWN_EX reads, the others take
        // numbers.
        unsafe {
            checked(libc::fcntl(event.as_raw_fd(), F_SETOWN_EX, &raw const owner))?;
            checked(libc::fcntl(event.as_raw_fd(), F_SETSIG, libc::SIGPROF))?;
            checked(libc::fcntl(event.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK))?;
        }
        Ok(PerfClock(event))
    }
}

fn open(clock: CpuClock, period: Duration, flags: u64) -> io::Result<OwnedFd> {
    let (sample_period, any_processor) = (period.as_nanos() as u64, -1);
    let attributes = Attributes { config: CPU_CLOCK, sample_period, flags, wakeup_events: 1, ..Attributes::default() };
    open_event(attributes, clock.thread(), any_processor)
}

/// A software event of that thread, on that processor; -1: on all.
///
/// # Errors
/// The system refuses.
pub(super) fn open_event(attributes: Attributes, thread: i32, processor: libc::c_int) -> io::Result<OwnedFd> {
    let attributes = Attributes { kind: SOFTWARE, size: size_of::<Attributes>() as u32, ..attributes };
    let no_group: libc::c_int = -1;
    // SAFETY: `attributes` has the size that it says.
    let event = unsafe {
        let attributes = &raw const attributes;
        libc::syscall(libc::SYS_perf_event_open, attributes, thread, processor, no_group, CLOSE_ON_EXEC)
    };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, without another owner.
    Ok(unsafe { OwnedFd::from_raw_fd(event as libc::c_int) })
}

/// How many files perf clocks may take: a quarter of the files that this process may still open.
/// Where the system does not list the open files (a sandbox), half of the limit counts as open.
pub(crate) fn files_to_spend() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for one rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 0;
    }
    let open = std::fs::read_dir("/proc/self/fd").map_or(limit.rlim_cur / 2, |files| files.count() as u64);
    limit.rlim_cur.saturating_sub(open) / 4
}

/// Returns `true` if that error of [`PerfClock::start`] means that the next one will be refused as
/// well.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::ENOENT | libc::EOPNOTSUPP))
}

pub(super) fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Drop for PerfClock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked off may hold the descriptor too.
        // SAFETY: the descriptor is open; this request takes no argument.
        unsafe { libc::ioctl(self.0.as_raw_fd(), DISABLE, 0) };
    }
}
