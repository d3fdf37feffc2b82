//! What keeps threads from being sampled: system calls that the system refuses, another handler of
//! SIGPROF, threads that block it. Counts each, warns of the first, and describes all in the
//! result. An EPERM or ENOSYS of a sandbox does not mean that a thread has ended. Knows no threads.

use crate::os::counted::counted;
use crate::os::sigprof;
use std::collections::BTreeSet;
use std::io;

#[derive(Default)]
pub(super) struct Obstacles {
    /// Signals that were not sent, and why the first was not.
    signals: Option<(u64, io::Error)>,
    /// Why unregistered threads are not found.
    list: Option<io::Error>,
    /// Why stacks of unregistered threads are not read.
    memory: Option<io::Error>,
    /// Another handler of SIGPROF was seen.
    is_displaced: bool,
    /// Its description, once known.
    displaced: Option<String>,
    /// Threads that block SIGPROF, by their paths.
    blocking: BTreeSet<String>,
    has_warned_of_blocking: bool,
    /// The warning about the first of each kind, until it is taken.
    warnings: Vec<String>,
}

impl Obstacles {
    /// Sends SIGPROF to that thread. Nothing happens if it has ended.
    pub(super) fn send(&mut self, thread: i32) {
        let Err(cause) = sigprof::send(thread) else { return };
        if sigprof::is_no_thread(&cause) {
            return;
        }
        match &mut self.signals {
            Some((count, _)) => *count += 1,
            None => {
                self.warnings.push(format!("{}: their time is [unsampled]", signals(&cause)));
                self.signals = Some((1, cause));
            }
        }
    }

    /// The kernel's list of threads could not be read.
    pub(super) fn note_unlisted(&mut self, cause: io::Error) {
        if self.list.is_none() {
            self.warnings.push(list(&cause));
            self.list = Some(cause);
        }
    }

    /// This process's own memory could not be read by the kernel.
    pub(super) fn note_unreadable_memory(&mut self, cause: io::Error) {
        self.warnings.push(memory(&cause));
        self.memory = Some(cause);
    }

    /// Returns `true` for the first caller that has seen another handler.
    pub(super) fn is_displaced_first(&mut self) -> bool {
        !std::mem::replace(&mut self.is_displaced, true)
    }

    /// The handler of SIGPROF was replaced while the recording ran. `by`: its description.
    pub(super) fn note_displaced(&mut self, by: String) {
        self.warnings.push(format!("{}: the time of threads from now on is [unsampled]", displaced(&by)));
        self.displaced = Some(by);
    }

    /// That thread blocks SIGPROF.
    pub(super) fn note_blocking(&mut self, path: &str) {
        if !std::mem::replace(&mut self.has_warned_of_blocking, true) {
            self.warnings.push(format!("{path} blocks SIGPROF, by which threads are sampled: its time is [unsampled]"));
        }
        self.blocking.insert(path.to_owned());
    }

    /// That thread was seen with SIGPROF unblocked.
    pub(super) fn note_unblocked(&mut self, path: &str) {
        self.blocking.remove(path);
    }

    /// All obstacles, as sentences.
    pub(super) fn trouble(&self) -> Vec<String> {
        let signals =
            self.signals.as_ref().map(|(count, cause)| format!("{}, {}", signals(cause), counted(*count, "time")));
        let others = [self.list.as_ref().map(list), self.memory.as_ref().map(memory)];
        let displaced = self.displaced.as_deref().map(displaced);
        let all = signals.into_iter().chain(others.into_iter().flatten()).chain(displaced);
        all.chain((!self.blocking.is_empty()).then(|| blocking(&self.blocking))).collect()
    }

    /// The warnings to log, by a caller that holds no lock: appenders are the user's.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

fn signals(cause: &io::Error) -> String {
    format!("the system refuses to send threads SIGPROF ({cause})")
}

fn displaced(by: &str) -> String {
    format!("SIGPROF was given another handler while the recording ran: {by}")
}

fn blocking(paths: &BTreeSet<String>) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = paths.iter().take(SHOWN).map(String::as_str).collect();
    let more = if paths.len() > SHOWN { format!(" and {} more", paths.len() - SHOWN) } else { String::new() };
    format!("threads that block SIGPROF were not sampled: {}{more}", shown.join(", "))
}

fn memory(cause: &io::Error) -> String {
    format!(
        "the system refuses process_vm_readv ({cause}): of unregistered threads only the innermost function is known"
    )
}

fn list(cause: &io::Error) -> String {
    format!("the system does not list the process's threads ({cause}): unregistered threads are reported together")
}
