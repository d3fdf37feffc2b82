//! What the kernel says of the threads of this process: which there are, and of one its name,
//! whether it runs, and whether it can be sent SIGPROF.

use super::fork::PerProcess;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// By how many nanoseconds, at most, the kernel lets the calling thread sleep longer than it asked
/// for, to wake several threads at once. 0 if the system has no such time, or does not tell it.
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) fn timer_slack() -> u64 {
    // SAFETY: it takes no pointer, and changes nothing.
    u64::try_from(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }).unwrap_or(0)
}

#[cfg(all(not(target_os = "linux"), feature = "profiling"))]
pub(crate) fn timer_slack() -> u64 {
    0
}

/// A thread, as the scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It runs, or is ready to run.
    Runs,
    /// It waits for something, and signals reach it.
    Sleeps,
    /// It waits for a device, and nothing reaches it.
    SleepsDeeply,
    /// A debugger or a job control signal has stopped it.
    Halted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) doing: Doing,
    /// Since the system's start, in ticks of its clock.
    started: u64,
    #[cfg_attr(not(all(target_os = "linux", feature = "profiling")), allow(dead_code))]
    pub(crate) blocks_sigprof: bool,
}

/// Why a thread cannot take SIGPROF now, as a sentence.
#[cfg(all(target_os = "linux", feature = "profiling"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The thread may be able to in a moment: a thread that is in its handler of SIGPROF blocks all
    /// signals.
    MayPass(&'static str),
    Lasts(&'static str),
}

impl Task {
    /// How long the thread has lived; `None` if the system does not tell what time it is.
    #[cfg(target_os = "linux")]
    pub(crate) fn age(self) -> Option<Duration> {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is writable for one timespec.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
        // SAFETY: has no preconditions.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let ticks = u64::try_from(ticks).ok().filter(|ticks| failed == 0 && *ticks > 0)?;
        let started = Duration::from_nanos(self.started.checked_mul(1_000_000_000 / ticks)?);
        Some(Duration::new(now.tv_sec as u64, now.tv_nsec as u32).saturating_sub(started))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn age(self) -> Option<Duration> {
        let _ = self.started;
        None
    }
}

#[cfg(all(target_os = "linux", feature = "profiling"))]
impl Task {
    /// Why the thread cannot take SIGPROF now; `None` if it can.
    pub(crate) fn silence(self) -> Option<Silence> {
        let blocks = "it blocks SIGPROF, by which threads are asked for their stacks";
        match self.doing {
            Doing::SleepsDeeply => Some(Silence::MayPass("it cannot be interrupted to tell it")),
            // A handler of this crate never sleeps. It may be kept from its processor for a while.
            Doing::Runs if self.blocks_sigprof => Some(Silence::MayPass(blocks)),
            _ if self.blocks_sigprof => Some(Silence::Lasts(blocks)),
            Doing::Halted => Some(Silence::Lasts("it is halted, and cannot be asked for its stack")),
            Doing::Runs | Doing::Sleeps => None,
        }
    }
}

/// Reads what the kernel knows of a thread, by the kernel's id. `None` if the thread is gone, or
/// the system does not tell. Takes some microseconds.
#[cfg(target_os = "linux")]
pub(crate) fn read(thread: i32) -> Option<Task> {
    use std::io::Read;
    // On the stack: a thousand threads may be looked at.
    let mut text = [0; 1024];
    let length = std::fs::File::open(format!("/proc/self/task/{thread}/stat")).ok()?.read(&mut text).ok()?;
    parse(&text[..length])
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read(_thread: i32) -> Option<Task> {
    None
}

/// The kernel's ids of all threads that live just now.
///
/// # Errors
/// The system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn list() -> io::Result<Vec<i32>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(ids)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn list() -> io::Result<Vec<i32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The thread's name, of which the kernel keeps 15 bytes; empty if it has ended.
pub(crate) fn name(id: i32) -> String {
    let name = std::fs::read(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

/// CPU time that the thread has used so far; `None` if it is gone, or the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn cpu_time(id: i32) -> Option<Duration> {
    super::CpuClock::of_thread(id).read()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn cpu_time(_id: i32) -> Option<Duration> {
    None
}

/// How long the thread has been ready to run and had no processor so far; `None` if the thread is
/// gone, or the kernel does not count that (`CONFIG_SCHED_INFO`). Some microseconds.
#[cfg(all(target_os = "linux", feature = "profiling"))]
pub(crate) fn run_delay(id: i32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).ok()?;
    parse_run_delay(&text)
}

#[cfg(all(not(target_os = "linux"), feature = "profiling"))]
pub(crate) fn run_delay(_id: i32) -> Option<Duration> {
    None
}

/// Of a line as `2345678 98765 12`: nanoseconds on a processor, nanoseconds in a run queue, times
/// it ran. A kernel that counts nothing writes zeros.
#[cfg(all(target_os = "linux", feature = "profiling"))]
fn parse_run_delay(schedstat: &str) -> Option<Duration> {
    let mut numbers = schedstat.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
    let (ran, waited, slices) = (numbers.next()??, numbers.next()??, numbers.next()??);
    (ran + waited + slices > 0).then(|| Duration::from_nanos(waited))
}

/// Threads of this crate that are not in the tree, by their kernel ids.
static HIDDEN: PerProcess<Mutex<BTreeSet<i32>>> = PerProcess::new(Mutex::new(BTreeSet::new()), Mutex::default);

/// Marks the calling thread as this crate's own, until the guard drops. It is not in the tree, and
/// no dump lists it as an unregistered thread. Called by threads that no tree has: those of the
/// timer and of the runtime's reserve.
pub(crate) fn hide() -> Hidden {
    let id = super::CpuClock::of_current().map(super::CpuClock::thread);
    if let Some(id) = id {
        HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }
    Hidden(id)
}

pub(crate) struct Hidden(Option<i32>);

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }
}

pub(crate) fn is_hidden(id: i32) -> bool {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
}

/// From a line like `4711 (the name) S 1 …`. The name may contain anything.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn parse(stat: &[u8]) -> Option<Task> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(&stat[after_name + 1..]).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let doing = match fields.next()? {
        "R" => Doing::Runs,
        "S" | "I" => Doing::Sleeps,
        "D" => Doing::SleepsDeeply,
        "T" | "t" => Doing::Halted,
        // It has ended, or is about to.
        _ => return None,
    };
    // The 22nd of proc(5): when it started. The state was the third.
    let started: u64 = fields.nth(18)?.parse().ok()?;
    // The 32nd: the signals that are blocked, up to the 31st.
    let blocked: u64 = fields.nth(9)?.parse().ok()?;
    const SIGPROF: u32 = 27;
    Some(Task { doing, started, blocks_sigprof: blocked >> (SIGPROF - 1) & 1 == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_and_brackets_are_no_fields() {
        let line = |state: &str, blocked: u64| {
            let (between, until) = ("0 ".repeat(18), "0 ".repeat(9));
            format!("4711 (a) R (b) {state} {between}77 {until}{blocked} 0 0")
        };
        let looked = |state, blocked| parse(line(state, blocked).as_bytes());
        assert_eq!(looked("R", 0), Some(Task { doing: Doing::Runs, started: 77, blocks_sigprof: false }));
        assert_eq!(looked("S", 1 << 26), Some(Task { doing: Doing::Sleeps, started: 77, blocks_sigprof: true }));
        assert_eq!(
            looked("D", !(1 << 26)),
            Some(Task { doing: Doing::SleepsDeeply, started: 77, blocks_sigprof: false })
        );
        assert_eq!(looked("t", 0).map(|task| task.doing), Some(Doing::Halted));
        assert_eq!(looked("Z", 0), None);
        assert_eq!(parse(b"4711 (cut"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn states_and_blocked_sigprof_are_known() {
        let this = || crate::os::CpuClock::of_current().unwrap().thread();
        let task = read(this()).unwrap();
        assert_eq!((task.doing, task.blocks_sigprof), (Doing::Runs, false));
        let process = read(std::process::id() as i32).unwrap();
        assert!(task.age() <= process.age() && process.age() < Some(Duration::from_secs(24 * 3600)), "{process:?}");
        assert!(list().unwrap().contains(&this()));
        {
            let _hidden = hide();
            assert!(is_hidden(this()));
        }
        assert!(!is_hidden(this()));
        let blocking = std::thread::spawn(move || {
            let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: the set is writable, and filled before it is used; the thread ends at once.
            unsafe {
                libc::sigfillset(set.as_mut_ptr());
                libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            }
            read(this()).unwrap().blocks_sigprof
        });
        assert!(blocking.join().unwrap());
        assert_eq!(read(1 << 22), None);
    }
}
