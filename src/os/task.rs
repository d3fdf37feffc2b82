//! What the kernel says of a thread of this process: whether it runs, and whether it can be sent SIGPROF.

/// A thread, as the scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It runs, or would if it were given a processor.
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
    #[cfg_attr(not(all(target_os = "linux", feature = "profiling")), allow(dead_code))]
    pub(crate) blocks_sigprof: bool,
}

/// Why a thread cannot take SIGPROF now, as a sentence.
#[cfg(all(target_os = "linux", feature = "profiling"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The thread may be able to in a moment: a thread that is in its handler of SIGPROF blocks all signals.
    MayPass(&'static str),
    Lasts(&'static str),
}

#[cfg(all(target_os = "linux", feature = "profiling"))]
impl Task {
    /// `None`: the thread takes SIGPROF.
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

/// By the kernel's id of the thread; `None` if it is gone, or the system does not tell. Some microseconds.
#[cfg(target_os = "linux")]
pub(crate) fn look(thread: i32) -> Option<Task> {
    use std::io::Read;
    // On the stack: a thousand threads may be looked at.
    let mut text = [0; 1024];
    let length = std::fs::File::open(format!("/proc/self/task/{thread}/stat")).ok()?.read(&mut text).ok()?;
    parse(&text[..length])
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn look(_thread: i32) -> Option<Task> {
    None
}

/// Of a line as `4711 (the name) S 1 …`; the name may contain anything.
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
    // The 32nd of proc(5): the signals that are blocked, up to the 31st. The state was the third.
    let blocked: u64 = fields.nth(28)?.parse().ok()?;
    const SIGPROF: u32 = 27;
    Some(Task { doing, blocks_sigprof: blocked >> (SIGPROF - 1) & 1 == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_and_brackets_are_no_fields() {
        let line = |state: &str, blocked: u64| {
            let between = "0 ".repeat(28);
            format!("4711 (a) R (b) {state} {between}{blocked} 0 0")
        };
        let looked = |state, blocked| parse(line(state, blocked).as_bytes());
        assert_eq!(looked("R", 0), Some(Task { doing: Doing::Runs, blocks_sigprof: false }));
        assert_eq!(looked("S", 1 << 26), Some(Task { doing: Doing::Sleeps, blocks_sigprof: true }));
        assert_eq!(looked("D", !(1 << 26)), Some(Task { doing: Doing::SleepsDeeply, blocks_sigprof: false }));
        assert_eq!(looked("t", 0).map(|task| task.doing), Some(Doing::Halted));
        assert_eq!(looked("Z", 0), None);
        assert_eq!(parse(b"4711 (cut"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_calling_thread_runs_and_one_that_blocks_sigprof_is_known() {
        let this = || crate::os::CpuClock::of_current().unwrap().thread();
        assert_eq!(look(this()), Some(Task { doing: Doing::Runs, blocks_sigprof: false }));
        let blocking = std::thread::spawn(move || {
            let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: the set is writable, and filled before it is used; the thread ends at once.
            unsafe {
                libc::sigfillset(set.as_mut_ptr());
                libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            }
            look(this()).unwrap().blocks_sigprof
        });
        assert!(blocking.join().unwrap());
        assert_eq!(look(1 << 22), None);
    }
}
