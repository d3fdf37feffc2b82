//! Samples that the kernel writes into memory which this process has mapped: one ring for each
//! processor. A sample has the registers and a copy of the innermost part of the stack. No signal
//! is sent. Linux only.
//!
//! | part | what it is |
//! |---|---|
//! | `Ring` | the memory of one processor's samples, mapped from an event that counts nothing |
//! | `SampleEvents` | one thread's CPU clocks, an event for each processor, which write into its ring |
//!
//! Threads that a sampled thread starts inherit its events, so they are sampled from their first
//! instruction. A forked process does not inherit them. Since Linux 5.13.

use super::perf::{
    Attributes, CPU_CLOCK, DISABLE, EXCLUDE_HYPERVISOR, EXCLUDE_KERNEL, REMOVE_ON_EXEC, checked, open_event,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DUMMY: u64 = 9;
const SAMPLE_THREAD: u64 = 1 << 1;
const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_STREAM: u64 = 1 << 9;
const SAMPLE_REGISTERS: u64 = 1 << 12;
const SAMPLE_STACK: u64 = 1 << 13;
const DISABLED: u64 = 1;
const INHERIT: u64 = 1 << 1;
const WATERMARK: u64 = 1 << 14;
const USE_CLOCK: u64 = 1 << 25;
/// Threads inherit the event, and forked processes do not.
const INHERIT_THREAD: u64 = 1 << 35;
/// `_IO('$', 5)`
const SET_OUTPUT: libc::Ioctl = 0x2405;
/// `_IOR('$', 7, u64 *)`
const ID: libc::Ioctl = 0x8008_2407_u32 as libc::Ioctl;

/// The registers of a sample, by the kernel's numbers for them: all that unwinding tables name.
#[cfg(target_arch = "x86_64")]
const REGISTERS: u64 = 0xff_01ff;
#[cfg(target_arch = "aarch64")]
const REGISTERS: u64 = (1 << 33) - 1;

/// The number of registers of a sample.
pub(crate) const REGISTER_COUNT: usize = REGISTERS.count_ones() as usize;

/// Where in the first page the kernel has its `data_head`; `data_tail` is behind it.
const HEAD: usize = 1024;
const TAIL: usize = HEAD + 8;

/// The memory into which the kernel writes the samples of one processor.
///
/// The kernel stores `data_head`, and loads `data_tail`; the one reader does the opposite.
pub(crate) struct Ring {
    processor: libc::c_int,
    /// The event that the memory was mapped from. It counts nothing.
    owner: OwnedFd,
    /// One page, and then `length` bytes of records, a power of two.
    memory: NonNull<u8>,
    length: usize,
    page: usize,
}

// SAFETY: the memory belongs to the ring alone until its drop, and is not bound to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring of `length` bytes, which is a power of two and at least a page.
    ///
    /// # Errors
    /// The system does not permit perf events ([`is_refusal`](super::perf::is_refusal)), or the
    /// locked memory: EPERM of the second kind has [`io::ErrorKind::OutOfMemory`].
    pub(crate) fn new(processor: i32, length: usize) -> io::Result<Ring> {
        let flags = DISABLED | USE_CLOCK | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR | REMOVE_ON_EXEC;
        let attributes = Attributes { config: DUMMY, flags, clock: libc::CLOCK_MONOTONIC, ..Attributes::default() };
        let (this_thread, page) = (0, page_size());
        let owner = open_event(attributes, this_thread, processor)?;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let memory = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), page + length, access, libc::MAP_SHARED, owner.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            let cause = io::Error::last_os_error();
            let is_limit = matches!(cause.raw_os_error(), Some(libc::EPERM | libc::ENOMEM));
            return Err(if is_limit { io::Error::new(io::ErrorKind::OutOfMemory, cause) } else { cause });
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Ring { processor, owner, memory, length, page })
    }

    /// The bytes of records for which there is room.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Calls `each` with each record, the oldest first. `buffer` is for records that go on at the
    /// ring's beginning. Returns once all records are read that were there at the call.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
        // Acquire: the records up to there are whole.
        let (head, mut tail) = (self.word(HEAD).load(Ordering::Acquire), self.word(TAIL).load(Ordering::Relaxed));
        // SAFETY: the mapping has `length` bytes from there on. The kernel writes only behind
        // `head`, up to `tail` of the next round, so not to the bytes between `tail` and `head`,
        // which are all that is read below.
        let start = unsafe { self.memory.add(self.page) }.as_ptr().cast_const();
        while tail < head {
            let offset = tail as usize & (self.length - 1);
            // SAFETY: records are multiples of eight bytes, so the header lies in one piece.
            let header = unsafe { start.add(offset).cast::<[u8; 8]>().read() };
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            if size < header.len() || size as u64 > head - tail {
                // No kernel writes such a record. Nothing behind it can be found.
                tail = head;
                break;
            }
            let first = size.min(self.length - offset);
            // SAFETY: `first` bytes from there on are records between `tail` and `head`.
            let part = unsafe { std::slice::from_raw_parts(start.add(offset), first) };
            if first == size {
                each(part);
            } else {
                buffer.clear();
                buffer.extend_from_slice(part);
                // SAFETY: the rest of the record, at the beginning of the ring.
                buffer.extend_from_slice(unsafe { std::slice::from_raw_parts(start, size - first) });
                each(buffer);
            }
            tail += size as u64;
        }
        // Release: all records up to there are read, and the kernel may write there again.
        self.word(TAIL).store(tail, Ordering::Release);
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: in the first page of the mapping, which lives as long as `self`; aligned; the
        // kernel accesses it atomically.
        unsafe { AtomicU64::from_ptr(self.memory.as_ptr().add(offset).cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and not used any more. A forked child, which does not have the
        // mapping, forgets the ring.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.page + self.length) };
    }
}

/// The events of one thread and of the threads that it starts. They end when this is dropped.
pub(crate) struct SampleEvents {
    events: Vec<OwnedFd>,
    streams: Vec<u64>,
}

impl SampleEvents {
    /// After each `period` of CPU time, a sample of the thread with that kernel id goes to the ring
    /// of its processor, with `stack` bytes of its stack. Costs some 40 µs and a file for each
    /// ring.
    ///
    /// # Errors
    /// The system does not permit it, there are too many files, or the thread has ended.
    pub(crate) fn start(thread: i32, period: Duration, stack: u32, rings: &[Ring]) -> io::Result<SampleEvents> {
        let with = |extra| SampleEvents::with(thread, period, stack, rings, extra);
        // With the kernel's part if that is permitted: else what passes there is the next sample's.
        with(0).or_else(|_| with(EXCLUDE_KERNEL))
    }

    fn with(thread: i32, period: Duration, stack: u32, rings: &[Ring], extra: u64) -> io::Result<SampleEvents> {
        let attributes = Attributes {
            config: CPU_CLOCK,
            sample_period: period.as_nanos() as u64,
            sample_type: SAMPLE_THREAD | SAMPLE_TIME | SAMPLE_STREAM | SAMPLE_REGISTERS | SAMPLE_STACK,
            flags: INHERIT | INHERIT_THREAD | EXCLUDE_HYPERVISOR | REMOVE_ON_EXEC | WATERMARK | USE_CLOCK | extra,
            // The reader comes by itself.
            wakeup_events: i32::MAX as u32,
            sample_regs_user: REGISTERS,
            sample_stack_user: stack,
            clock: libc::CLOCK_MONOTONIC,
            ..Attributes::default()
        };
        let mut started = SampleEvents { events: Vec::with_capacity(rings.len()), streams: Vec::new() };
        for ring in rings {
            let event = open_event(attributes.clone(), thread, ring.processor)?;
            let mut stream = 0_u64;
            // SAFETY: both descriptors are open; the second call writes one number.
            unsafe {
                checked(libc::ioctl(event.as_raw_fd(), SET_OUTPUT, ring.owner.as_raw_fd()))?;
                checked(libc::ioctl(event.as_raw_fd(), ID, &raw mut stream))?;
            }
            started.events.push(event);
            started.streams.push(stream);
        }
        Ok(started)
    }

    /// Returns `true` if the samples with that number come from these very events, and not from
    /// inherited ones.
    pub(crate) fn has(&self, stream: u64) -> bool {
        self.streams.contains(&stream)
    }
}

impl Drop for SampleEvents {
    fn drop(&mut self) {
        for event in &self.events {
            // Closing is not enough: a child that was forked off may hold the descriptor too.
            // SAFETY: the descriptor is open; this request takes no argument.
            unsafe { libc::ioctl(event.as_raw_fd(), DISABLE, 0) };
        }
    }
}

/// The processors that are in use, by number.
pub(crate) fn processors() -> Vec<i32> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let found = numbers(list.trim());
    // SAFETY: has no preconditions.
    let count = || unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) } as i32;
    if found.is_empty() { (0..count().max(1)).collect() } else { found }
}

/// Of a list like `0-3,6`.
fn numbers(list: &str) -> Vec<i32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn page_size() -> usize {
    // SAFETY: has no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(numbers("0-3,6,8-9"), [0, 1, 2, 3, 6, 8, 9]);
        assert_eq!((numbers("0"), numbers("")), (vec![0], vec![]));
        assert!(processors().contains(&0));
    }

    /// Computes for 50 ms of CPU time. Returns the largest step between two readings of that clock, in nanoseconds.
    /// The clock goes on while the host takes the processor, and no sample is taken then.
    fn spin() -> u64 {
        let clock = super::super::CpuClock::nanos_of_this_thread;
        let (begin, mut largest) = (clock(), 0);
        let mut last = begin;
        while last < begin + 50_000_000 {
            let now = clock();
            largest = largest.max(now - last);
            last = now;
        }
        largest
    }

    /// A round in which this thread spins, and then a thread that it has started. Returns their numbers of
    /// samples, and the largest step of both.
    fn sampled_round(rings: &mut [Ring]) -> ([usize; 2], u64) {
        // SAFETY: gettid has no preconditions.
        let me = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
        let events = SampleEvents::start(me, Duration::from_millis(1), 1024, rings).unwrap();
        let monotonic_nanos = super::super::monotonic_nanos;
        let began = monotonic_nanos();
        // A thread that it starts is sampled as well.
        let largest = spin().max(std::thread::spawn(spin).join().unwrap());
        drop(events);
        let (mut own, mut others, mut buffer) = (0, 0, Vec::new());
        for ring in rings {
            ring.read(&mut buffer, |record| {
                let word = |at: usize| u64::from_ne_bytes(record[at * 8..at * 8 + 8].try_into().unwrap());
                if word(0) as u32 == 9 {
                    assert!((began..=monotonic_nanos()).contains(&word(2)), "{record:?}");
                    *(if (word(1) >> 32) as i32 == me { &mut own } else { &mut others }) += 1;
                }
            });
            ring.read(&mut buffer, |_| unreachable!("all is read, and nothing samples"));
        }
        ([own, others], largest)
    }

    #[test]
    fn a_sampled_thread_fills_its_rings_without_a_signal() {
        let mut rings = Vec::new();
        for processor in processors() {
            match Ring::new(processor, 1 << 18) {
                Ok(ring) => rings.push(ring),
                Err(cause) => return crate::os::tell::say(&format!("skipped, the kernel refuses rings: {cause}")),
            }
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(100);
        loop {
            let (samples, largest) = sampled_round(&mut rings);
            if samples.iter().all(|samples| (10..=55).contains(samples)) {
                break;
            }
            // A round that the host has disturbed says nothing.
            let is_disturbed = largest > 3_000_000 && std::time::Instant::now() < deadline;
            assert!(is_disturbed, "{samples:?} samples; the largest step is {largest} ns");
        }
    }
}
