//! A recording: starts an engine, and makes a profile of its findings. One recording at a time
//! in a process. Knows engines only by their interface.

use super::assemble::profile;
use super::counted_waits::{CountedWaits, Waits};
use super::engines;
use super::model::Profile;
use super::options::{Engine, Options};
use super::raw::Effective;
use super::running::Owned;
use super::spans::SpanLedger;
use super::trace::{Collected, Collector, Traced};
use crate::error::{Error, Kind};
use crate::os::fork::PerProcess;
use crate::os::only_one::OnlyOne;
use crate::os::process;
use crate::thread::Thread;
use crate::wait::{ContextNumbers, number_contexts};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

/// `true` while a recording runs: a process has one SIGPROF and one process timer. A forked child
/// may have a recording of its own.
static RUNS: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);

/// A recording that runs. Dropping it stops it, and what it found is lost; [`finish`](Self::finish)
/// keeps it.
// Fields are dropped in this order: the engine first, then the right to start another recording.
pub struct Recording {
    sampler: Owned,
    /// `None`: waits are not counted.
    waits: Option<Arc<Waits>>,
    spans: SpanLedger,
    /// Samples have the numbers of contexts.
    contexts: ContextNumbers,
    _only_one: OnlyOne,
    effective: Effective,
    began: Instant,
    epoch: SystemTime,
    /// The CPU time of the process before the recording; `None`: its threads are all in the profile.
    cpu_before: Option<Duration>,
}

/// Starts to record what all threads of this process do.
///
/// One recording can run at a time. The effective settings are logged, and the [`Profile`] has
/// them. Blocks for tenths of a second, in which the engine prepares its table: with
/// [`Engine::Process`](super::Engine::Process) 100 MB, kept for as long as the process lives.
///
/// # Errors
/// - [`Error::is_already_running`]: another recording runs.
/// - [`Error::is_profile`]: the frequency is not in [`Options::FREQUENCIES`]; the clock or the
///   engine is not available; or other code in this process handles SIGPROF.
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
    let only_one =
        OnlyOne::try_take(&RUNS).ok_or_else(|| Error::new(Kind::AlreadyRunning, "a recording runs already"))?;
    // The profile will be written into files: a limit of their size is no reason to be killed.
    process::survive_file_size_limit();
    // A thread is in the tree from its first such call on, and this may be `main`.
    Thread::current();
    let collector = options.get_waits().then(Collector::new).map(Arc::new);
    // Before the engine, which gives numbers to the contexts that threads have.
    let contexts = number_contexts();
    let start = engines::start(&options, collector.clone())?;
    // The process engine samples whichever thread runs.
    let cpu_before = (start.effective.engine != Engine::Process).then(process::cpu_time);
    let (effective, began, epoch) = (start.effective, start.began, start.epoch);
    log::info!(
        "profiling: engine {}, clock {}, a sample each {:?} (options: {}, {}, {} Hz)",
        effective.engine,
        effective.clock,
        effective.period,
        options.get_engine(),
        options.get_clock(),
        options.get_frequency(),
    );
    let waits = collector.map(|collector| Arc::new(Waits::start(start.sampler.own_stacks(), collector)));
    let sampler = Owned::share(start, waits.as_ref());
    let spans = SpanLedger::start();
    Ok(Recording { sampler, waits, spans, contexts, _only_one: only_one, effective, began, epoch, cpu_before })
}

impl Recording {
    /// What was found up to now; the recording goes on.
    ///
    /// Blocks while the samples are read. The names of functions are found later, as
    /// [`Profile`] says. Sampling goes on meanwhile; only
    /// [`Engine::Process`](super::Engine::Process) takes no samples while those up to now are
    /// read, and counts them as lost.
    pub fn snapshot(&self) -> Profile {
        let duration = self.began.elapsed();
        // First the waits, since their numbers of stacks are looked up in what the engine has found. Then
        // the engine: it adds the samples that it has to the trace.
        let (waits, found, spans) = (self.waits(), self.sampler.snapshot(), self.spans.counted());
        let process_cpu = cpu_since(self.cpu_before);
        let traced = self.collect().map(|collected| Traced::new(collected, self.effective.clock));
        let mut profile = profile(found, waits, traced, self.effective, self.epoch, duration);
        (profile.spans, profile.session.process_cpu) = (spans, process_cpu);
        profile
    }

    /// Stops, and gives what was found.
    ///
    /// Blocks as [`snapshot`](Self::snapshot) does. Should the engine fail to give its samples, the
    /// profile says so where it says how many there are, and so does the log.
    pub fn finish(self) -> Profile {
        let (waits, collected, counted) = (self.waits(), self.collect(), self.spans.counted());
        let Recording { sampler, waits: counting, spans, contexts, _only_one: only_one, .. } = self;
        let Recording { effective, began, epoch, cpu_before, .. } = self;
        let found = sampler.finish();
        let (duration, process_cpu) = (began.elapsed(), cpu_since(cpu_before));
        let traced = collected.map(|collected| Traced::new(collected, effective.clock));
        drop((counting, spans, contexts));
        drop(only_one);
        let mut profile = profile(found, waits, traced, effective, epoch, duration);
        (profile.spans, profile.session.process_cpu) = (counted, process_cpu);
        profile
    }

    fn waits(&self) -> Option<CountedWaits> {
        self.waits.as_ref().map(|waits| waits.counted())
    }

    fn collect(&self) -> Option<Collected> {
        self.waits.as_ref().and_then(|waits| waits.collect())
    }
}

/// The CPU time that the process has used since it had used `before`.
fn cpu_since(before: Option<Duration>) -> Option<Duration> {
    Some(process::cpu_time().saturating_sub(before?))
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("effective", &self.effective).field("began", &self.began).finish()
    }
}
