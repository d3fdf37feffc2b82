//! One system call: whether the kernel gives this command a perf event.

use std::io;

pub(super) const INHERIT: u64 = 1 << 1;
pub(super) const EXCLUDE_KERNEL: u64 = 1 << 5;
pub(super) const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
pub(super) const INHERIT_THREAD: u64 = 1 << 35;
pub(super) const REMOVE_ON_EXEC: u64 = 1 << 36;

/// `struct perf_event_attr` in its first version, which every kernel since takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

/// Opens a software clock of this thread with these flags, and closes it.
///
/// # Errors
/// The system refuses it.
pub(super) fn open(flags: u64) -> io::Result<()> {
    const SOFTWARE: u32 = 1;
    let attributes = Attributes {
        kind: SOFTWARE,
        size: size_of::<Attributes>() as u32,
        sample_period: 10_000_000,
        flags,
        ..Attributes::default()
    };
    // SAFETY: the attributes are readable for the size that they tell; the other arguments are
    // numbers: this thread, any processor, no group, close at exec.
    let event = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, 0, -1, -1, 8) };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was opened above, and nothing else has it.
    unsafe { libc::close(event as libc::c_int) };
    Ok(())
}
