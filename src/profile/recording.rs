//! Starting and ending a recording: an engine that samples, and a roster of the threads that live meanwhile.

use super::engines::{self, Effective, Sampler};
use super::model::{Profile, Session};
use super::options::Options;
use super::roster::Roster;
use super::symbols::OfThisProcess;
use super::{build, engines::Start};
use crate::error::{Error, Kind};
use crate::thread::{Thread, observe};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

/// Whether a recording runs: signals and process timers are there once in a process.
static RUNS: AtomicBool = AtomicBool::new(false);

/// Held by the one recording that runs.
struct OnlyOne(());

impl OnlyOne {
    fn take() -> Option<OnlyOne> {
        // SeqCst: nothing here is hot.
        (!RUNS.swap(true, Ordering::SeqCst)).then_some(OnlyOne(()))
    }
}

impl Drop for OnlyOne {
    fn drop(&mut self) {
        RUNS.store(false, Ordering::SeqCst);
    }
}

/// The tree tells the roster of its threads until this is dropped.
struct Observing(u64);

impl Drop for Observing {
    fn drop(&mut self) {
        observe::remove(self.0);
    }
}

/// A recording that runs. Dropping it stops it, and what it found is lost; [`finish`](Self::finish) keeps it.
// Fields are dropped in this order: the source first, then who listens, then the right to start another.
pub struct Recording {
    sampler: Box<dyn Sampler>,
    _observing: Observing,
    _only_one: OnlyOne,
    roster: Arc<Roster>,
    effective: Effective,
    began: Instant,
    epoch: SystemTime,
}

/// Starts to record what all threads of this process do.
///
/// One recording can run at a time. The setting that came of the options is logged, and can be asked of the
/// [`Profile`]. Blocks for tenths of a second, in which the engine prepares its table: with
/// [`Engine::Process`](super::Engine::Process) 100 MB, kept for as long as the process lives.
///
/// # Errors
/// - [`Error::is_already_running`]: another recording runs.
/// - [`Error::is_profile`]: the frequency is none of [`Options::FREQUENCIES`]; the clock or the engine cannot be had; or
///   someone else in this process handles SIGPROF.
///
/// ```no_run
/// use selvedge::profile::{self, Options};
///
/// let recording = profile::start(Options::new().frequency(200))?;
/// // … the program does its work …
/// let profile = recording.finish();
/// for thread in profile.threads() {
///     log::info!("{}: {:?} of CPU", thread.path(), thread.cpu_time());
/// }
/// # Ok::<(), selvedge::Error>(())
/// ```
pub fn start(options: Options) -> Result<Recording, Error> {
    let only_one = OnlyOne::take().ok_or_else(|| Error::new(Kind::AlreadyRunning, "a recording runs already"))?;
    // Main is in the tree from its first look at itself on; perhaps this is it.
    Thread::current();
    // The engine first: a thread's account begins when it can be sampled. New threads, then the list of old ones.
    let Start { sampler, effective, began, epoch } = engines::start(&options)?;
    let roster = Roster::new(began);
    let observing = Observing(observe::add(roster.clone(), &mut |thread| roster.see(thread)));
    log::info!(
        "profiling: engine {}, clock {}, a sample each {:?} (asked: {}, {}, {} Hz)",
        effective.engine,
        effective.clock,
        effective.period,
        options.get_engine(),
        options.get_clock(),
        options.get_frequency(),
    );
    Ok(Recording { sampler, _observing: observing, _only_one: only_one, roster, effective, began, epoch })
}

impl Recording {
    /// What was found up to now; the recording goes on.
    ///
    /// Blocks for as long as it takes to read the samples and to find their functions' names, seconds in a large
    /// program. While they are read, no samples are taken; those are counted as lost.
    pub fn snapshot(&self) -> Profile {
        self.read()()
    }

    /// Stops, and gives what was found.
    ///
    /// Blocks as [`snapshot`](Self::snapshot) does. Should the engine fail to give its samples, the profile says so where
    /// it says how many there are, and so does the log.
    pub fn finish(self) -> Profile {
        let profile = self.read();
        drop(self);
        profile()
    }

    /// Reads what is there; names are found when the result is called.
    fn read(&self) -> impl FnOnce() -> Profile + use<> {
        let duration = self.began.elapsed();
        // Samples before lives: so the roster knows every thread that has one.
        let (raw, trouble) = match self.sampler.snapshot() {
            Ok(raw) => (raw, None),
            Err(trouble) => {
                log::error!("profiling: {trouble}");
                (Vec::new(), Some(trouble))
            }
        };
        let lives = self.roster.lives();
        let session = Session { effective: self.effective, started: self.epoch, duration, trouble };
        move || build::profile(raw, &lives, session, &mut OfThisProcess::new())
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("effective", &self.effective).field("began", &self.began).finish()
    }
}
