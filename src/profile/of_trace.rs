//! What a profile says of the events of its recording: which threads kept others waiting, what the
//! run had to wait for, and all of it as a timeline. Only for recordings that count waits.

use super::lost_time::{self, Blame, CriticalPath};
use super::model::{Profile, program};
use super::timeline::{self, About};
use super::trace::Trace;
use super::traced_stacks::TracedStacks;
use crate::error::{Error, Kind};
use crate::flame::{self, FlameOptions};
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// Stands for a trace that was not recorded.
static NO_TRACE: Trace =
    Trace { begin: 0, end: 0, threads: Vec::new(), queues: Vec::new(), is_by_wall: false, lost: 0 };

impl Profile {
    /// Which threads kept others waiting, and what they did meanwhile. Empty unless the recording
    /// [counted waits](super::Options::waits).
    ///
    /// While A waits for B, A's time is B's doing; while B waits then for C, it is C's. So it is
    /// followed back in time to code that ran, to a call outside of this crate, or to the clock. The
    /// code is that of the samples: record with more [samples per second](super::Options::frequency)
    /// for finer results, and by the [wall clock](super::Clock::Wall) to see where threads were
    /// blocked outside.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use selvedge::profile::{self, Options};
    ///
    /// let recording = profile::start(Options::new().waits(true))?;
    /// let jobs = selvedge::Queue::<u32>::unbounded("jobs");
    /// let reader = selvedge::spawn("reader", {
    ///     let jobs = jobs.clone();
    ///     move |_| jobs.pop()
    /// });
    /// std::thread::sleep(std::time::Duration::from_millis(20));
    /// jobs.add(7).unwrap();
    /// reader.join().unwrap();
    ///
    /// let blame = recording.finish().blame();
    /// let reader = blame.waiting().iter().find(|thread| thread.path() == "main/reader").unwrap();
    /// assert_eq!(reader.causes()[0].path(), "main");
    /// println!("{blame}");
    /// # }
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn blame(&self) -> Blame {
        let (trace, stacks) = self.events();
        Blame::new(trace, stacks)
    }

    /// Draws what threads did while other threads waited for them, as a flamegraph of the threads that
    /// were waited for. A frame's width is the time that others lost by it. Blocks as long as `out`
    /// does.
    ///
    /// Not drawn: waits of the runtime's own threads, and waits that no other thread of the tree
    /// ended; see [`Blame::waiting`].
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// use selvedge::profile::FlameOptions;
    /// let file = std::fs::File::create("indexer.blame.svg")?;
    /// profile.write_blame(file, &FlameOptions::new())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_blame(&self, out: impl Write, options: &FlameOptions) -> Result<(), Error> {
        let title = format!("{}: what threads did while others waited for them", program());
        let subtitle = format!("width: time that others waited · brown: not on a processor · {}", self.summary());
        flame::write_svg(&self.blame().stacks, &title, &subtitle, options, out)
    }

    /// Writes the same as folded stacks, as [`write_folded`](Self::write_folded) does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), selvedge::Error> {
    /// profile.write_blame_folded(std::io::stdout())
    /// # }
    /// ```
    pub fn write_blame_folded(&self, out: impl Write) -> Result<(), Error> {
        flame::write_folded(&self.blame().stacks, out)
    }

    /// What the run had to wait for, from the beginning of the recording to its end: backwards from
    /// the end of the root thread, `main`, and where a thread waited, on in the thread that ended
    /// that. Without steps unless the recording [counted waits](super::Options::waits).
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) {
    /// let path = profile.critical_path();
    /// println!("{path}");
    /// for step in path.steps() {
    ///     println!("{:?} {} {}", step.from(), step.thread(), step.what());
    /// }
    /// # }
    /// ```
    pub fn critical_path(&self) -> CriticalPath {
        let (trace, stacks) = self.events();
        lost_time::critical_path(trace, stacks)
    }

    /// The same for the longest call of a span. `None`: no call of a span with that name is
    /// recorded.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) {
    /// if let Some(path) = profile.critical_path_of("request") {
    ///     println!("{path}");
    /// }
    /// # }
    /// ```
    pub fn critical_path_of(&self, span: &str) -> Option<CriticalPath> {
        let (trace, stacks) = self.events();
        lost_time::critical_path_of(trace, stacks, span)
    }

    /// Writes the recording as a timeline, in the processed format of the Firefox Profiler
    /// (<https://profiler.firefox.com>, which opens the file without sending it anywhere): the threads
    /// in the order of the tree, with their samples, waits, wake-ups, spans, log records, births and
    /// ends, and the depths of queues. Blocks as long as `out` does.
    ///
    /// Of more than 100,000 waits, the longest are written; the file says how many are left out.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::create("indexer.timeline.json")?;
    /// profile.write_timeline(std::io::BufWriter::new(file))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_timeline(&self, out: impl Write) -> Result<(), Error> {
        let (trace, stacks) = self.events();
        // The events may begin later than the recording: the oldest may not be kept.
        let length = Duration::from_nanos(trace.end.saturating_sub(trace.begin));
        let began = self.session.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = began + self.session.duration.saturating_sub(length);
        let about = About { program: program(), began, period: self.period(), summary: self.summary() };
        timeline::write(trace, stacks, about, out)
            .map_err(|cause| Error::new(Kind::Io, "the timeline could not be written").because(cause))
    }

    fn events(&self) -> (&Trace, &TracedStacks) {
        let trace = self.traced.as_ref().map_or(&NO_TRACE, |traced| &traced.trace);
        (trace, &self.names.get().traced)
    }
}
