//! The profile, as users hold it: named stacks, and each thread's account. Writes itself by
//! `flame`. Knows no engine and no addresses.

use super::accounts::{Account, Table, sums};
use super::named::Names;
use super::options::{Clock, Engine};
use super::raw::Effective;
use super::spans::{Counted, SpanTable, SpanTotal};
use super::thread_profile::ThreadProfile;
use super::top::Top;
use super::trace::Traced;
use crate::error::{Error, Kind};
use crate::flame::{self, Facts, FlameOptions};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What all threads did during a recording, or up to a [snapshot](super::Recording::snapshot) of
/// it.
///
/// The names of functions are found by the first call that needs one: [`top`](Self::top), and what
/// writes stacks. That call blocks for as long as it takes, seconds in a large program, and logs
/// which files could not be read. Until then the profile keeps the files of the program and its
/// libraries open. [`threads`](Self::threads), [`accounts`](Self::accounts) and
/// [`spans`](Self::spans) need no names.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(super) threads: Vec<ThreadProfile>,
    pub(super) accounts: Arc<[Account]>,
    pub(super) spans: Counted,
    /// `None`: waits were not counted.
    pub(super) traced: Option<Arc<Traced>>,
    /// Everything that has names of functions.
    pub(super) names: Names,
    pub(super) unregistered: u64,
    pub(super) ambiguous: u64,
    /// Samples whose stacks are `[others]`.
    pub(super) others: u64,
    pub(super) session: Session,
}

/// Fewer samples than this say little about shares: 5 points at 100.
const FEW_SAMPLES: u64 = 100;

/// What was recorded, and how.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) effective: Effective,
    pub(super) started: SystemTime,
    pub(super) duration: Duration,
    /// Why there are fewer samples than there should be.
    pub(super) trouble: Option<String>,
    /// What else than names is missing, as sentences.
    pub(super) unread: Vec<String>,
    /// The CPU time of the whole process meanwhile. `None`: not known.
    pub(super) process_cpu: Option<Duration>,
}

/// CPU time of threads outside of the tree is told if it is more than this share of the process's.
const MUCH_OUTSIDE: f64 = 0.05;

impl Profile {
    /// Draws the flamegraph as an SVG: at the bottom the tree of threads, on it the code that they
    /// ran.
    ///
    /// A frame's width is the time that its samples stand for. The title names the program; the
    /// subtitle says how many samples there are, and how much of the threads' CPU time they have
    /// seen. Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// use selvedge::profile::FlameOptions;
    /// let file = std::fs::File::create("indexer.svg")?;
    /// profile.write_flamegraph(file, &FlameOptions::new().title("indexer: all threads"))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_flamegraph(&self, out: impl Write, options: &FlameOptions) -> Result<(), Error> {
        let title = format!("{}: {} time of all threads", program(), self.clock_name());
        flame::write_svg(self.names.stacks(), &title, &self.summary(), &self.drawn(options), out)
    }

    /// Draws this profile's flamegraph, coloured by what has changed since another one: red frames
    /// have a greater share of the time than they had, blue ones a smaller one. Blocks as long as
    /// `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # use selvedge::profile::Profile;
    /// # fn show(before: &Profile, after: &Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// use selvedge::profile::FlameOptions;
    /// let file = std::fs::File::create("change.svg")?;
    /// after.write_difference(before, file, &FlameOptions::new().fold_pools())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_difference(&self, before: &Profile, out: impl Write, options: &FlameOptions) -> Result<(), Error> {
        let title = format!("{}: change of {} time", program(), self.clock_name());
        flame::write_svg_difference(before.names.stacks(), self.names.stacks(), &title, &self.drawn(options), out)
    }

    /// The options, and with them what depends on the clock.
    fn drawn(&self, options: &FlameOptions) -> FlameOptions {
        options.clone().hide_runtime_if(self.clock() == Clock::Wall)
    }

    /// Writes folded stacks, a line for each: `main;crawler;fetcher-3;<frames, root first>
    /// <nanoseconds>`.
    ///
    /// A line starts with the thread's path; threads that are not in the tree stand under
    /// `other;<name in the system>`. Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), selvedge::Error> {
    /// profile.write_folded(std::io::stdout())
    /// # }
    /// ```
    pub fn write_folded(&self, out: impl Write) -> Result<(), Error> {
        flame::write_folded(self.names.stacks(), out)
    }

    /// Writes a gzipped `profile.proto`, for `go tool pprof` and other programs that read that
    /// format.
    ///
    /// Its values are `samples/count` and `cpu/nanoseconds`; each sample is labelled with the path
    /// of its `thread` (`-tagroot=thread` makes a tree of them). Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it. [`Error::is_profile`]: it cannot be made on this system.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// profile.write_pprof(std::fs::File::create("indexer.pb.gz")?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_pprof(&self, out: impl Write) -> Result<(), Error> {
        let comments = [self.summary()];
        let clock = self.clock().to_string();
        let facts = Facts {
            values: [["samples", "count"], [&clock, "nanoseconds"]],
            started: self.session.started,
            duration: self.session.duration,
            period_type: [&clock, "nanoseconds"],
            period: self.session.effective.period.as_nanos() as u64,
            label_key: "thread",
            comments: &comments,
        };
        flame::write_pprof(self.names.stacks(), &facts, out)
    }

    /// Each thread's account: the threads of the tree in the order of their starts, then
    /// unregistered threads.
    pub fn threads(&self) -> &[ThreadProfile] {
        &self.threads
    }

    /// Where the lifetime of each thread of the tree went, in the order of the threads' starts.
    /// Empty unless the recording [counted waits](super::Options::waits).
    ///
    /// More than 4096 ended threads are folded by pool, as in
    /// [`ThreadProfile::members`](ThreadProfile::members).
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use selvedge::profile::{self, Options};
    /// use std::time::Duration;
    ///
    /// let recording = profile::start(Options::new().waits(true))?;
    /// let jobs = selvedge::Queue::<u32>::unbounded("jobs");
    /// let reader = selvedge::spawn("reader", {
    ///     let jobs = jobs.clone();
    ///     move |_| jobs.pop()
    /// });
    /// std::thread::sleep(Duration::from_millis(20));
    /// jobs.add(7).unwrap();
    /// assert_eq!(reader.join().unwrap(), Some(7));
    ///
    /// let profile = recording.finish();
    /// let account = profile.accounts().iter().find(|account| account.path() == "main/reader").unwrap();
    /// let wait = &account.waits()[0];
    /// assert_eq!((wait.kind(), wait.name(), wait.count()), ("queue", "jobs", 1));
    /// assert_eq!(&*wait.ended_by()[0].0, "main");
    /// # }
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Writes the accounts as a table: a line for each thread, and below it what it waited for
    /// longest, and which threads ended that. Threads of a pool of more than 8 are one line, the
    /// runtime's own threads are the last one. Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), selvedge::Error> {
    /// profile.write_accounts(std::io::stdout())
    /// # }
    /// ```
    pub fn write_accounts(&self, mut out: impl Write) -> Result<(), Error> {
        let table = Table::new(&self.accounts);
        write!(out, "{table}").map_err(|cause| Error::new(Kind::Io, "cannot write the accounts").because(cause))
    }

    /// The [spans](crate::span) of the recording: what was counted under each name on each thread.
    /// By thread, in the order in which the threads opened their first spans; of one thread the
    /// most self time first.
    ///
    /// More than 4096 sums of ended threads are folded by pool, as in
    /// [`ThreadProfile::members`](ThreadProfile::members).
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use selvedge::profile::{self, Options};
    /// use selvedge::span;
    ///
    /// let recording = profile::start(Options::new())?;
    /// for _ in 0..10 {
    ///     let _parse = span("parse");
    ///     let _check = span("check");
    /// }
    /// let profile = recording.finish();
    /// let parse = profile.spans().iter().find(|span| span.name() == "parse").unwrap();
    /// assert_eq!((parse.path(), parse.calls()), ("main", 10));
    /// assert!(parse.self_time() <= parse.total_time());
    /// # }
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn spans(&self) -> &[SpanTotal] {
        &self.spans.totals
    }

    /// Writes the spans as a table: a line for each name, over all threads, the most self time
    /// first; and below it the threads, if there are several. Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), selvedge::Error> {
    /// profile.write_spans(std::io::stdout())
    /// # }
    /// ```
    pub fn write_spans(&self, mut out: impl Write) -> Result<(), Error> {
        let table = SpanTable::new(&self.spans.totals, &self.spans.remarks);
        write!(out, "{table}").map_err(|cause| Error::new(Kind::Io, "cannot write the spans").because(cause))
    }

    /// The `n` functions that used most time themselves.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) {
    /// log::info!("{}", profile.top(10));
    /// # }
    /// ```
    pub fn top(&self, n: usize) -> Top {
        Top::new(self.names.stacks(), n)
    }

    /// How long was recorded, by the wall clock.
    pub fn duration(&self) -> Duration {
        self.session.duration
    }

    /// The engine that took the samples; never [`Engine::Auto`].
    pub fn engine(&self) -> Engine {
        self.session.effective.engine
    }

    /// The clock that drove the samples.
    pub fn clock(&self) -> Clock {
        self.session.effective.clock
    }

    /// The clock's time between two samples. Longer than the options say if the system cannot reach
    /// their frequency: with 250 ticks a second, a kernel takes at most 250 samples a second for
    /// [`Engine::Process`].
    pub fn period(&self) -> Duration {
        self.session.effective.period
    }

    /// The number of samples.
    pub fn samples(&self) -> u64 {
        self.threads.iter().map(ThreadProfile::samples).sum()
    }

    /// The number of samples of unregistered threads; they stand under `other`.
    pub fn unregistered(&self) -> u64 {
        self.unregistered
    }

    /// The number of samples that may be another thread's. [`Engine::Process`] counts equal stacks
    /// of two threads as one thread's if the second got the handle (`pthread_t`) of the first,
    /// which had ended. They are shown with the first. A pool of ended threads counts as one thread.
    pub fn ambiguous(&self) -> u64 {
        self.ambiguous
    }

    /// The number of samples that stand under `[others]` of their threads, since a recording keeps at most 65536
    /// different stacks.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// What is missing of waits and other events, as a sentence. The accounts have the times of all
    /// waits.
    pub(super) fn missing(&self) -> Option<String> {
        self.traced.as_ref().and_then(|traced| traced.missing())
    }

    /// How much CPU time no thread of the profile has, if that is much, as a part of the summary.
    fn outside(&self) -> Option<String> {
        let whole = self.session.process_cpu.filter(|_| self.clock() == Clock::Cpu)?;
        let outside = whole.saturating_sub(self.threads.iter().map(|thread| thread.cpu).sum());
        let is_much = outside.as_secs_f64() > MUCH_OUTSIDE * whole.as_secs_f64() && outside > Duration::from_millis(50);
        is_much.then(|| {
            let seconds = outside.as_secs_f64();
            format!("{seconds:.2} s more in threads outside of the tree: `unregistered: true` shows them")
        })
    }

    fn clock_name(&self) -> &'static str {
        match self.clock() {
            Clock::Cpu => "CPU",
            Clock::Wall => "wall",
        }
    }

    /// The subtitle, in one line: how many samples there are, and what is missing.
    pub(super) fn summary(&self) -> String {
        let Effective { engine, period, .. } = self.session.effective;
        let hertz = 1.0 / period.as_secs_f64();
        let mut parts = vec![
            crate::os::counted::counted(self.samples(), "sample"),
            format!("{} Hz ({engine})", (hertz * 10.0).round() / 10.0),
            format!("{:.1} s", self.session.duration.as_secs_f64()),
        ];
        let time = |thread: &ThreadProfile| if self.clock() == Clock::Cpu { thread.cpu } else { thread.wall };
        let all: Duration = self.threads.iter().map(time).sum();
        if !all.is_zero() {
            let seen: Duration = self.threads.iter().filter(|thread| !time(thread).is_zero()).map(|t| t.sampled).sum();
            let share = 100.0 * seen.as_secs_f64() / all.as_secs_f64();
            parts.push(format!("{share:.1} % of {:.2} s {} time seen", all.as_secs_f64(), self.clock_name()));
        }
        parts.extend(self.outside());
        if self.clock() == Clock::Wall && !self.accounts.is_empty() {
            parts.push(sums(&self.accounts));
        }
        let sum = |of: fn(&ThreadProfile) -> u64| self.threads.iter().map(of).sum::<u64>();
        // With the process engine, chance is a part of this number.
        let lost = if engine == Engine::Process { 0 } else { sum(ThreadProfile::lost) };
        let counts = [
            (lost.saturating_sub(sum(ThreadProfile::merged)), "lost"),
            (sum(ThreadProfile::merged), "merged"),
            (sum(ThreadProfile::truncated), "truncated"),
            (sum(ThreadProfile::broken), "broken"),
            (self.unregistered, "of unregistered threads"),
            (self.threads.iter().map(|thread| thread.members - 1).sum(), "ended threads folded by pool"),
            (self.ambiguous, "of one thread or its successor"),
            (self.others, "of stacks that were too many, as [others]"),
        ];
        parts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        if (1..FEW_SAMPLES).contains(&self.samples()) {
            // The share of a function that has half of the samples, at one standard deviation.
            let points = 50.0 / (self.samples() as f64).sqrt();
            parts.push(format!(
                "few samples: a share is uncertain by up to {points:.0} points, record longer or faster"
            ));
        }
        parts.extend(self.missing());
        parts.extend(self.session.trouble.clone());
        let unread = self.session.unread.iter().chain(&self.names.get().unread);
        parts.extend(unread.map(|sentence| sentence.trim_end_matches('.').to_owned()));
        parts.join(" · ")
    }
}

pub(super) fn program() -> String {
    crate::os::program::name().unwrap_or_else(|| "program".into())
}
