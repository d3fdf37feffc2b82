//! Threads that wait for the end of a program in trouble. What is said and written then runs on
//! threads of its own, since it may hang; where the system gives none (a limit on threads or memory
//! is reached), these two are there.

use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::task;
use crate::thread::bodies;
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// If one of them hangs, for example in the log, the other still works.
const THREADS: usize = 2;

/// How long the log may take for its last lines: it may hang for the same reason as the threads
/// that do not stop.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// While a runtime is up. A rendezvous: a value is taken only by a thread that waits for one.
static JOBS: PerProcess<Mutex<Option<Sender<Job>>>> = PerProcess::new(Mutex::new(None), Mutex::default);

/// The threads end with it, each after its job.
pub(super) struct Reserve(());

impl Reserve {
    pub(super) fn start() -> io::Result<Reserve> {
        let (sender, receiver) = bounded::<Job>(0);
        for number in 1..=THREADS {
            let jobs: Receiver<Job> = receiver.clone();
            // Outside of the tree: a thread that hangs here must not keep the runtime from its end.
            let body = move || {
                // It waits for no thread of the program: the search for deadlocks need not reckon
                // with it.
                let _counted = bodies::count_body();
                let _hidden = task::hide();
                jobs.into_iter().for_each(|job| job());
            };
            std::thread::Builder::new().name(format!("main/selvedge/reserve-{number}")).spawn(body)?;
        }
        *JOBS.lock() = Some(sender);
        Ok(Reserve(()))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let _sender = JOBS.lock().take();
    }
}

/// Runs `job` on a new thread; if there is none to be had, on one of the reserve. Returns the job
/// if all of these are busy.
pub(super) fn run(name: &str, job: impl FnOnce() + Send + 'static) -> Result<(), Job> {
    // Shared, since a spawn that fails drops what it was given.
    let job: Arc<Mutex<Option<Job>>> = Arc::new(Mutex::new(Some(Box::new(job))));
    let body = job.clone();
    let take = |job: &Mutex<Option<Job>>| job.lock().take();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _hidden = task::hide();
        let job = take(&body);
        job.into_iter().for_each(|job| job());
    });
    if spawned.is_ok() {
        return Ok(());
    }
    take(&job).map_or(Ok(()), give)
}

/// Runs `run` on another thread, since it may hang. `None`: it has not returned within `patience`,
/// or there is no thread to be had.
pub(super) fn run_within<T: Send + 'static>(
    name: &str,
    patience: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, wait) = mpsc::channel();
    let body = move || {
        let _ = done.send(run());
    };
    self::run(&format!("main/selvedge/{name}"), body).ok()?;
    wait.recv_timeout(patience).ok()
}

/// Runs `job` on a thread of the reserve. Returns it if all of these are busy.
pub(super) fn give(job: Job) -> Result<(), Job> {
    // A thread may just be returning from its last job.
    const COMING_BACK: Duration = Duration::from_millis(20);
    match JOBS.lock().clone() {
        Some(jobs) => jobs.send_timeout(job, COMING_BACK).map_err(SendTimeoutError::into_inner),
        None => Err(job),
    }
}
