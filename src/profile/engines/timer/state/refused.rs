//! What the system has refused to do: a sandbox that answers EPERM or ENOSYS does not mean that a thread has ended.

use crate::os::sigprof;
use std::io;

#[derive(Default)]
pub(super) struct Refused {
    /// Signals that were not sent, and why the first was not.
    signals: Option<(u64, io::Error)>,
    /// Why threads outside the tree are not looked for.
    list: Option<io::Error>,
    /// Why stacks of threads outside the tree are not read.
    memory: Option<io::Error>,
    /// What was said of the first of each, until it is taken.
    warnings: Vec<String>,
}

impl Refused {
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
    pub(super) fn list(&mut self, cause: io::Error) {
        if self.list.is_none() {
            self.warnings.push(list(&cause));
            self.list = Some(cause);
        }
    }

    /// This process's own memory could not be read by the kernel.
    pub(super) fn memory(&mut self, cause: io::Error) {
        self.warnings.push(memory(&cause));
        self.memory = Some(cause);
    }

    /// All of it, as sentences.
    pub(super) fn trouble(&self) -> Vec<String> {
        let signals = self.signals.as_ref().map(|(count, cause)| format!("{}, {count} times", signals(cause)));
        let others = [self.list.as_ref().map(list), self.memory.as_ref().map(memory)];
        signals.into_iter().chain(others.into_iter().flatten()).collect()
    }

    /// What is to be logged, by a caller that holds no lock: appenders are the user's.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

fn signals(cause: &io::Error) -> String {
    format!("the system refuses to send threads SIGPROF ({cause})")
}

fn memory(cause: &io::Error) -> String {
    format!(
        "the system refuses process_vm_readv ({cause}): of threads outside the tree only the innermost function is known"
    )
}

fn list(cause: &io::Error) -> String {
    format!("the system does not list the process's threads ({cause}): those outside the tree are not told apart")
}
