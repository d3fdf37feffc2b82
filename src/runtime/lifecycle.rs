//! The start and the end of a runtime, in their order: the one place where tree, log and profile
//! are wired together.

use super::claim::Claim;
use super::config::{Config, LogTo, OnStuck, Settings};
use super::limits::Limits;
use super::log_at_end::log_at_end;
use super::profiler::{self, Profiler};
use super::reserve::Reserve;
use super::stop_watch::StopWatch;
use super::{at_exit, exit, inspection, last_profile, left, pushing, signals, watch};
use crate::error::{Error, Kind};
use crate::log as logs;
use crate::os::process;
use crate::os::tell::tell;
use crate::queue;
use crate::signal::{BatchWake, Reason, Signal};
use crate::thread::current::CurrentThreadGuard;
use crate::thread::failure::{Failures, Unlogged};
use crate::thread::roots;
use crate::thread::stop;
use crate::thread::tree::Node;
use crate::thread::{Failure, end_those_left, failure_context, forked, latency, leaving, panic};
use log::Level;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

/// The runtime, for programs and tests that keep their own `main`. While it lives, the thread that
/// started it is `main`.
///
/// ```
/// use selvedge::{Config, Runtime, spawn};
///
/// let runtime = Runtime::start(Config::new("doc"))?;
/// drop(spawn("worker", |please_stop| please_stop.wait_for_go()));
/// runtime.shutdown().unwrap();
/// # Ok::<(), selvedge::Error>(())
/// ```
#[must_use = "the runtime ends when this is dropped"]
pub struct Runtime {
    up: Option<Up>,
    /// It has made one thread `main`, and must end there.
    _not_send: PhantomData<*const ()>,
}

/// What there is while it runs, in the order in which it is let go.
struct Up {
    name: String,
    stop_watch: StopWatch,
    limits: Limits,
    node: Arc<Node>,
    _inside: CurrentThreadGuard,
    _reserve: Reserve,
    _claim: Claim,
}

/// The threads that a start has started so far: should it fail half-way, they end.
struct OwnThreads {
    node: Arc<Node>,
    /// The threads that were there before.
    others: Vec<u64>,
    kept: bool,
}

impl OwnThreads {
    fn of(node: &Arc<Node>) -> OwnThreads {
        let others = node.children().iter().map(|child| child.id).collect();
        OwnThreads { node: node.clone(), others, kept: false }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        if !self.kept {
            let why = Reason::of("the runtime could not start", None, None);
            stop::stop_runtimes_own(&self.node, &self.others, &why);
        }
    }
}

impl Runtime {
    /// Checks the whole configuration, installs the log, starts the profiler and the thread that
    /// waits for SIGINT and SIGTERM. The calling thread becomes `main`.
    ///
    /// # Errors
    /// A fault in the configuration ([`Error::is_config`]), another runtime in this process
    /// ([`Error::is_already_running`]; also on a thread that was spawned by this crate or
    /// registered, since its tree has a `main` already), a profiler that cannot run as asked, or no
    /// thread to be had. Nothing has been started then.
    pub fn start(config: impl Into<Config>) -> Result<Runtime, Error> {
        let settings = Arc::new(config.into().resolve()?);
        let claim = Claim::take()?;
        let me = roots::current();
        if me.parent.is_some() {
            let message = format!("this thread is {}; the runtime starts on the thread that is to be main", me.path);
            return Err(Error::new(Kind::AlreadyRunning, message));
        }
        let refresh = install_log(&settings)?;
        install_hooks(&settings);
        latency::begin();
        queue::begin();
        let (node, guard) = roots::become_main();
        let no_thread = |error| Error::new(Kind::Io, "no thread for the log").because(error);
        let reserve = Reserve::start()
            .map_err(|error| Error::new(Kind::Io, "no threads for the reports at the end").because(error))?;
        let own = OwnThreads::of(&node);
        let stop_watch = StopWatch::start(&node, &settings.shutdown).map_err(|error| {
            Error::new(Kind::Io, "no thread for the reports of threads that do not stop").because(error)
        })?;
        logs::start_writer(&node).map_err(no_thread)?;
        if let (LogTo::File(file), Some(refresh)) = (&settings.log.to, refresh) {
            logs::start_reload(&node, file.clone(), refresh, settings.log.wiring).map_err(no_thread)?;
        }
        let is_recorded = settings.profile.enabled || pushing::needs_recording(&settings);
        last_profile::keep(if is_recorded { Profiler::start(&settings, &node, 1)? } else { None });
        pushing::start(&settings, &node)?;
        if let Some(after) = settings.deadlocks {
            watch::start(&node, after)
                .map_err(|error| Error::new(Kind::Io, "no thread for the watcher").because(error))?;
        }
        signals::start(&node, &settings)?;
        // The youngest: it is there until the last thread of the user has ended, and ends first
        // then.
        inspection::start(&settings, &node)?;
        announce(&settings);
        own.keep();
        let up = Up {
            name: settings.name.clone(),
            stop_watch,
            limits: Limits::start(),
            node,
            _inside: guard,
            _reserve: reserve,
            _claim: claim,
        };
        Ok(Runtime { up: Some(up), _not_send: PhantomData })
    }

    /// The `please_stop` of `main`; goes with SIGINT and SIGTERM.
    pub fn please_stop(&self) -> &Signal {
        &self.node().please_stop
    }

    /// The signal that has interrupted the program, as [`interrupted`](crate::interrupted) says.
    ///
    /// ```
    /// use selvedge::{Config, Runtime};
    /// use std::process::ExitCode;
    ///
    /// fn main() -> ExitCode {
    ///     let runtime = Runtime::start(Config::new("doc")).expect("a runtime");
    ///     // … the work, until runtime.please_stop() goes
    ///     let interrupted = runtime.interrupted();
    ///     match runtime.shutdown() {
    ///         Ok(()) if interrupted == Some(2) => ExitCode::from(130),
    ///         Ok(()) => ExitCode::SUCCESS,
    ///         Err(failure) => {
    ///             eprintln!("{failure:#}");
    ///             ExitCode::FAILURE
    ///         }
    ///     }
    /// }
    /// ```
    pub fn interrupted(&self) -> Option<i32> {
        signals::interrupted()
    }

    /// Asks all threads to stop, joins them, writes the profile, and ends the runtime.
    ///
    /// # Blocking
    /// Until all threads have ended. A thread that does not stop in time is reported; what happens
    /// then is for [`Config::on_stuck`] to say.
    ///
    /// # Errors
    /// The failures that no thread had joined, as one.
    #[track_caller]
    pub fn shutdown(self) -> Result<(), Failure> {
        match self.end(None, Reason::given("shutdown() was called"), log_errors).0 {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn up(&self) -> &Up {
        // Taken only by end(), which consumes the runtime, and by Drop.
        self.up.as_ref().expect("the runtime is up")
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.up().node
    }

    pub(super) fn name(&self) -> &str {
        &self.up().name
    }

    pub(super) fn end(mut self, own: Option<Failure>, why: Reason, log: LogErrors) -> (Option<Failure>, Option<i32>) {
        self.up.take().map_or((None, None), |up| {
            let (failure, interrupted, _) = up.end(own, why, log);
            (failure, interrupted)
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(up) = self.up.take() {
            let name = up.name.clone();
            let (failure, _, is_reported) = up.end(None, Reason::of("the runtime was dropped", None, None), log_errors);
            // Otherwise the failure is in the log by then.
            if let Some(failure) = failure.filter(|_| !is_reported) {
                exit::say(&format!("selvedge: {name} failed\n{}", failure.report(exit::is_coloured())));
            }
        }
    }
}

impl Up {
    /// The end of the program: the user's threads, then the profile, then the runtime's own
    /// threads. Returns its failure, the signal that interrupted the program, and whether every
    /// failure has been reported.
    fn end(self, own: Option<Failure>, why: Reason, log: LogErrors) -> (Option<Failure>, Option<i32>, bool) {
        if self.node.is_inherited() {
            // A forked child returns: the runtime and its threads are the parent process's.
            return (forked::end(own), None, false);
        }
        self.stop_watch.main_has_returned();
        signals::look_at_end();
        latency::main_returned(&self.node);
        let mut asked = BatchWake::default();
        asked.go_for(&self.node.please_stop, &why);
        asked.wake();
        // What had main stop, if that was not its own end.
        let why = Reason::of(format!("its parent {} ended", self.node.path), None, self.node.please_stop.reason());
        end_those_left(&self.node);
        // From now on unregistered threads spawn below the next `main`: this end does not wait for
        // what they go on to spawn.
        self.node.begin_end(why.again());
        let survivors = stop::stop_user_children(asked, &self.node, &why, own.is_some());
        let own = own.map(|own| own.with_survivors(survivors));
        let formerly = end_former_roots(&why);
        log_at_end(|| say_how_long(&self.node));
        log_at_end(|| self.limits.report());
        last_profile::finish();
        let interrupted = signals::interrupted();
        stop::stop_children(&self.node, own.as_ref());
        let mut failures = formerly;
        failures.append(self.node.take_failures());
        let mut failure = Failure::merge(&self.node, own, failures);
        let mut is_reported = true;
        match (&mut failure, interrupted) {
            (Some(failure), _) => is_reported = log(failure),
            (None, Some(signal)) => {
                let signal = signals::name(signal);
                let text = format!("{} was interrupted by {signal} and has stopped in order", self.name);
                log_at_end(|| log::info!(target: signals::STOPPING, "{text}"));
            }
            (None, None) => log_at_end(|| log::info!("{} has ended", self.name)),
        }
        log_at_end(|| left::report(&format!("{} has ended", self.name)));
        log_at_end(say_which_threads_are_left);
        self.node.finish(None);
        log_at_end(logs::finish);
        (failure, interrupted, is_reported)
    }
}

/// Checks what can be checked before anything is started, then installs the log. Returns how the
/// log's file asks to be read again, if it does.
fn install_log(settings: &Settings) -> Result<Option<logs::Refresh>, Error> {
    let plan = match &settings.log.to {
        LogTo::File(file) => Some(logs::load(file)?),
        LogTo::Console => Some(logs::console(settings.log.wiring.level)),
        LogTo::Output(output) => Some(logs::plain_file(&output.path, settings.log.wiring.level)),
        LogTo::Own | LogTo::Off => None,
    };
    // A file that reaches a limit of its size is a full disk, and no reason to be killed.
    process::survive_file_size_limit();
    profiler::check(&settings.profile)?;
    // Before the log: at an exit the log is written first, and then the process dies as the exit
    // code says.
    signals::prepare_end();
    logs::install_exit_hook();
    at_exit::prepare();
    let refresh = plan.as_ref().and_then(logs::CheckedLog::refresh);
    match plan {
        Some(plan) => plan.install(settings.log.wiring, false).map_err(|error| match &settings.log.to {
            LogTo::Output(output) => output.at_place(error),
            _ => error,
        })?,
        None if settings.log.to == LogTo::Off => logs::switch_off()?,
        None => {}
    }
    Ok(refresh)
}

/// Puts the runtime's functions where the room `thread` calls them.
fn install_hooks(settings: &Settings) {
    panic::install_hook();
    panic::panics_go_to_log(true);
    panic::set_before_abort(exit::before_abort);
    failure_context::set_records(logs::recent_of_this_thread);
    leaving::set_report(Some(match settings.shutdown.on_stuck {
        OnStuck::Wait => exit::report_leaving,
        OnStuck::Abort => exit::abort_leaving,
    }));
}

/// The children of the process's main thread from before this runtime was started on another thread
/// end with it. Returns their failures.
fn end_former_roots(why: &Reason) -> Failures {
    let mut failures = Failures::default();
    for root in roots::take_former_roots() {
        let mut asked = BatchWake::default();
        asked.go_for(&root.please_stop, &why.again());
        root.begin_end(why.again());
        stop::stop_user_children(asked, &root, why, false);
        failures.append(root.take_failures());
        root.close();
        root.stopped.go();
    }
    failures
}

/// The files into which the runtime that is up will write its profile when it ends. Empty if it
/// records none, or if the program was built without the feature `profiling`.
pub fn profile_files() -> Vec<PathBuf> {
    profiler::planned()
}

/// Logs the failures of which the log has not been told. Returns `true` if all of it is told.
type LogErrors = fn(&mut Failure) -> bool;

/// For a program that the report on stderr follows at once.
pub(super) fn log_before_report(failure: &mut Failure) -> bool {
    failure.take_unlogged().iter().for_each(|line| log_at_end(|| line.log_before_report()));
    true
}

/// Panics are in the log, or on stderr, since they happened, and failures since their handle was
/// dropped; what is left comes into the log here. Returns `true` if the log takes all of it.
fn log_errors(failure: &mut Failure) -> bool {
    let unlogged = failure.take_unlogged();
    // Each is logged, also after the log has refused one.
    let is_told = |line: &Unlogged| {
        let mut is_told = false;
        log_at_end(|| is_told = line.log());
        is_told
    };
    let told = unlogged.iter().filter(|line| is_told(line)).count();
    told == unlogged.len()
}

/// Logs how long the threads took to stop, if that was long enough to notice.
fn say_how_long(main: &Node) {
    let slowest = latency::slowest();
    let (Some(reason), false) = (main.please_stop.reason(), slowest.is_empty()) else { return };
    let list: Vec<_> = slowest.iter().map(|stopped| stopped.to_string()).collect();
    log::info!(
        "all threads have stopped, {:.1?} after {}; the slowest: {}",
        reason.elapsed(),
        reason.text(),
        list.join(", ")
    );
}

/// Threads that came from outside while `main` ended: a process that ends now cuts them off.
fn say_which_threads_are_left() {
    const MOST: usize = 5;
    let left = roots::left_to_next_main();
    if left.is_empty() {
        return;
    }
    let paths: Vec<_> = left.iter().rev().take(MOST).map(|node| &*node.path).collect();
    let more = if left.len() > MOST { ", …" } else { "" };
    let text = format!(
        "{} thread{} that unregistered threads have started while main ended will not be waited for: {}{more}",
        left.len(),
        if left.len() == 1 { "" } else { "s" },
        paths.join(", "),
    );
    tell(Level::Warn, module_path!(), &text);
}

fn announce(settings: &Settings) {
    let files = logs::files();
    let places: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let log = match &settings.log.to {
        LogTo::Own | LogTo::Off => "where the program's own logger writes it".to_owned(),
        _ if !places.is_empty() => format!("to {}", places.join(", ")),
        _ if logs::is_installed() => "to the console".to_owned(),
        _ if cfg!(not(feature = "log4rs")) => "where the program's own logger writes it".to_owned(),
        _ => "where the program's own logger writes it, which was installed before".to_owned(),
    };
    log::info!("{} has started; its log goes {log}", settings.name);
    if let (LogTo::File(file), true) = (&settings.log.to, logs::is_asked_by_environment()) {
        log::info!("RUST_LOG is set and has no effect: the levels come from {}", file.display());
    }
}
