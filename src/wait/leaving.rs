//! The threads whose thread-locals are being destroyed. A destructor may hold a lock, or take one. So
//! such a thread counts as alive until the system does not have it any more.

use crate::model::locks::Mutex;
use crate::os::CpuClock;
use crate::os::fork::{self, PerProcess};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By the kernel's id, of which one thread at a time is the owner.
static LEAVING: PerProcess<Mutex<Leaving>> = PerProcess::new(Mutex::new(Leaving::new()), || Mutex::new(Leaving::new()));

struct Leaving {
    threads: BTreeMap<i32, Thread>,
    /// At this number, the threads that are gone are looked for.
    sweep_at: usize,
}

struct Thread {
    number: u64,
    path: Arc<str>,
    clock: CpuClock,
}

impl Leaving {
    const SWEEP_FIRST: usize = 64;
    /// Beyond this number threads are forgotten: a system that refuses to read clocks never tells
    /// that a thread is gone.
    const MOST: usize = 4096;

    const fn new() -> Leaving {
        Leaving { threads: BTreeMap::new(), sweep_at: Leaving::SWEEP_FIRST }
    }

    fn add(&mut self, thread: Thread) {
        self.threads.insert(thread.clock.thread(), thread);
        if self.threads.len() >= self.sweep_at {
            self.threads.retain(|_, thread| !thread.clock.is_gone());
            while self.threads.len() > Leaving::MOST {
                self.threads.pop_first();
            }
            self.sweep_at = (2 * self.threads.len()).max(Leaving::SWEEP_FIRST);
        }
    }
}

/// The calling thread, of this number and path, is destroying its thread-locals.
pub(super) fn begins(number: u64, path: Arc<str>) {
    fork::watch();
    if let Some(clock) = CpuClock::of_current() {
        LEAVING.lock().add(Thread { number, path, clock });
    }
}

/// The path of the thread with this number, if it is destroying its thread-locals. `None` once the
/// system has it no more, and on systems without clocks of threads. A thread whose kernel id another
/// thread has got counts as there.
pub(super) fn path_of(number: u64) -> Option<Arc<str>> {
    let leaving = LEAVING.lock();
    let thread = leaving.threads.values().find(|thread| thread.number == number)?;
    (!thread.clock.is_gone()).then(|| thread.path.clone())
}

#[cfg(all(test, target_os = "linux", not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn threads_that_are_gone_do_not_collect() {
        let mut leaving = Leaving::new();
        for number in 0..10 * Leaving::SWEEP_FIRST as u64 {
            let clock = std::thread::spawn(|| CpuClock::of_current().unwrap()).join().unwrap();
            leaving.add(Thread { number, path: "main/short".into(), clock });
        }
        assert!(leaving.threads.len() < 2 * Leaving::SWEEP_FIRST, "{}", leaving.threads.len());
        // A thread that is there stays.
        let clock = CpuClock::of_current().unwrap();
        leaving.add(Thread { number: 0, path: "main/there".into(), clock });
        leaving.sweep_at = 0;
        leaving.add(Thread { number: 0, path: "main/there".into(), clock });
        assert_eq!(leaving.threads.keys().filter(|id| **id == clock.thread()).count(), 1);
    }
}
