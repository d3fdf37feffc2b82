//! A failure: what is known of a thread that failed, and of the failed threads below it. Knows no
//! tree: `failing.rs` makes failures of the way in which a thread's function ended.

use super::failure_context::FailureContext;
use super::kept_error::{self, Boxed};
use super::seen::{self, Identity, Seen};
use crate::error::{STOPPED, drop_payload};
use crate::model::locks::Mutex;
use crate::os::tell::{remark, was_logged};
use crate::signal::Reason;
use std::any::Any;
use std::backtrace::Backtrace;
use std::error::Error;
use std::panic::Location;
use std::sync::Arc;

pub(super) type Payload = Box<dyn Any + Send>;

/// A thread failed: it panicked, it returned an error, or threads below it failed and no thread had
/// joined them.
///
/// `Display` writes the whole tree of failures, a line for each; with `{:#}` also what is known of
/// each: the backtrace of a panic, trimmed to the program's own frames, where the thread was
/// spawned, its diagnostic context, its last log records, and what became of its children.
/// [`to_json`](Self::to_json) gives the same to a machine.
///
/// ```
/// let child = selvedge::spawn_fallible("config", |_please_stop| Err::<(), _>("no such file"));
/// let failure = child.join().unwrap_err();
/// assert!(failure.is_error());
/// assert!(failure.to_string().ends_with("/config failed: no such file"));
/// ```
pub struct Failure(pub(super) Box<Inner>);

pub(super) struct Inner {
    pub(super) path: Arc<str>,
    pub(super) cause: Cause,
    pub(super) message: String,
    pub(super) location: Option<String>,
    pub(super) backtrace: Option<Arc<Backtrace>>,
    pub(super) failure_context: FailureContext,
    /// How often the thread had been run again by then.
    pub(super) restarts: u64,
    /// The log has been told.
    pub(super) logged: bool,
    /// Of a registered thread, whose guard a panic has unwound. Whether the thread's owner has
    /// handled the panic is not known.
    pub(super) is_of_guard: bool,
    pub(super) children: Vec<Failure>,
    /// How many more there were than `children`.
    pub(super) omitted: u64,
}

pub(super) enum Cause {
    /// The payload, until it is taken. In a lock only because payloads are not Sync, and errors
    /// should be.
    Panic(Mutex<Option<Payload>>),
    Error(Option<Boxed>),
    /// It was asked to stop, and ended with an error that says so. The thread is well; it only has
    /// no value.
    Stopped(Option<Boxed>),
    /// The thread itself was well.
    Children,
    /// Its parent was told when it ended.
    Reported,
}

impl Failure {
    pub(super) fn new(path: &Arc<str>, cause: Cause, message: String) -> Failure {
        Failure(Box::new(Inner {
            path: path.clone(),
            cause,
            message,
            location: None,
            backtrace: None,
            failure_context: FailureContext::default(),
            restarts: 0,
            logged: false,
            is_of_guard: false,
            children: Vec::new(),
            omitted: 0,
        }))
    }

    /// Adds `children` after the failures that it has.
    pub(super) fn with_children(self, children: Vec<Failure>) -> Failure {
        self.with_more(Failures { kept: children, omitted: 0 })
    }

    pub(super) fn with_more(mut self, more: Failures) -> Failure {
        let mut all = Failures { kept: std::mem::take(&mut self.0.children), omitted: self.0.omitted };
        all.append(more);
        self.set_children(all);
        self
    }

    pub(super) fn set_children(&mut self, children: Failures) {
        let Failures { kept, omitted } = children;
        if matches!(self.0.cause, Cause::Stopped(_)) && !kept.is_empty() {
            self.0.cause = Cause::Children;
        }
        if matches!(self.0.cause, Cause::Children) {
            let count = kept.len() as u64 + omitted;
            self.0.message = format!("{count} thread{} below it failed", if count == 1 { "" } else { "s" });
        }
        (self.0.children, self.0.omitted) = (kept, omitted);
    }

    /// A line for each panic and error in it of which the log has not been told. It counts as told
    /// from now on.
    pub(crate) fn take_unlogged(&mut self) -> Vec<Unlogged> {
        let (mut lines, mut next) = (Vec::new(), vec![self]);
        while let Some(failure) = next.pop() {
            let is_own = failure.is_panic() || failure.is_error();
            if is_own && !std::mem::replace(&mut failure.0.logged, true) {
                // A panic without a place was raised past the hook.
                let by_hook = failure.is_panic() && failure.0.location.is_some();
                lines.push(Unlogged { line: failure.own_line(), by_hook });
            }
            next.extend(failure.0.children.iter_mut().rev());
        }
        lines
    }

    /// The lines for the log while the handle is held and no thread joins. The first line says so, and
    /// replaces the failure's own line. Empty if the log has the whole failure. A thread that was
    /// restarted has lines also then: the log does not have that this was the last run.
    pub(crate) fn take_held(&mut self) -> Vec<Unlogged> {
        let (own, restarts) = (self.own_line(), self.0.restarts);
        let is_untold = !self.0.logged && (self.is_error() || self.is_panic());
        let mut lines = self.take_unlogged();
        let by_hook = is_untold && lines.remove(0).by_hook;
        if is_untold || !lines.is_empty() || restarts > 0 && !self.is_stopped() {
            let restarted = match restarts {
                0 => String::new(),
                1 => " (after 1 restart)".to_owned(),
                count => format!(" (after {count} restarts)"),
            };
            let line = format!("{own}{restarted}; its handle is held, and no thread has joined it yet");
            lines.insert(0, Unlogged { line, by_hook });
        }
        lines
    }

    /// The path of the thread that failed.
    pub fn thread_path(&self) -> &str {
        &self.0.path
    }

    /// What the panic said, or the error with its sources. Of a payload that is no string, that it
    /// is none.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it panicked, as `file:line:column`. `None` for errors.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The stack at the panic, always captured. `None` for errors.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.0.backtrace.as_deref()
    }

    /// The thread panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.cause, Cause::Panic(_))
    }

    /// The thread returned an error.
    pub fn is_error(&self) -> bool {
        matches!(self.0.cause, Cause::Error(_))
    }

    /// The thread did not fail: it was asked to stop, and ended with an error that says so
    /// ([`Stopped`](crate::Stopped)). So it has no value to give. The thread that joins it gets
    /// this; no other thread, no log and no exit code tells of it.
    pub fn is_stopped(&self) -> bool {
        matches!(self.0.cause, Cause::Stopped(_))
    }

    /// Where the thread that failed was spawned, then where its spawner was, and so on up to
    /// `main`: the path of the thread that spawned, and the call. Of a thread named as the parent
    /// by [`Builder::parent`](crate::Builder::parent) it is that path. Empty if the thread itself
    /// was well.
    pub fn spawned(&self) -> &[(Arc<str>, &'static Location<'static>)] {
        &self.0.failure_context.sites
    }

    /// The mapped diagnostic context of the thread when it panicked, or when it returned its error.
    pub fn context(&self) -> &[(String, String)] {
        &self.0.failure_context.context
    }

    /// The last records that the thread had logged by then, the oldest first: time (local), level
    /// and message. None where no runtime logs.
    pub fn records(&self) -> &[String] {
        &self.0.failure_context.records
    }

    /// Why the thread had been asked to stop by the time it failed; `None` if it had not.
    pub fn stop_reason(&self) -> Option<&Reason> {
        self.0.failure_context.stop.as_ref()
    }

    /// What became of the children that it left behind and that were well: a line for each.
    pub fn survivors(&self) -> &[String] {
        &self.0.failure_context.survivors
    }

    pub(crate) fn with_survivors(mut self, survivors: Vec<String>) -> Failure {
        // The survivors of a last run are there already when the thread itself ends.
        self.0.failure_context.survivors.extend(survivors);
        self
    }

    /// What the log says of it itself.
    fn own_line(&self) -> String {
        let (path, message) = (self.thread_path(), self.message());
        match (self.is_panic(), self.location()) {
            (true, Some(location)) => format!("{path} panicked at {location}: {message}"),
            (true, None) => format!("{path} panicked: {message}"),
            (false, _) => format!("{path} failed: {message}"),
        }
    }

    /// How often the thread had failed before and was run again; see
    /// [`Builder::restart`](crate::Builder::restart).
    pub fn restarts(&self) -> u64 {
        self.0.restarts
    }

    pub(super) fn is_of_guard(&self) -> bool {
        self.0.is_of_guard
    }

    /// Returns `true` if it is of a guard, and is the same panic as `other`.
    pub(super) fn is_of_guard_and(&self, other: &Failure) -> bool {
        let (Some(mine), Some(others)) = (&self.0.backtrace, &other.0.backtrace) else { return false };
        self.0.is_of_guard && Arc::ptr_eq(mine, others)
    }

    pub(super) fn is_of_children(&self) -> bool {
        matches!(self.0.cause, Cause::Children)
    }

    pub(super) fn is_reported(&self) -> bool {
        matches!(self.0.cause, Cause::Reported)
    }

    /// Failures of threads below this one that no thread had joined, the oldest first. Of very
    /// many, the first 32 and the last 32; [`omitted`](Self::omitted) counts the others.
    pub fn children(&self) -> &[Failure] {
        &self.0.children
    }

    /// How many more threads below this one had failed than [`children`](Self::children) shows. The
    /// log was told of each when it failed.
    ///
    /// ```
    /// let parent = selvedge::spawn("server", |_| {
    ///     for _ in 0..100 {
    ///         drop(selvedge::spawn_fallible("connection", |_| Err::<(), _>("reset by peer")));
    ///     }
    /// });
    /// let failure = parent.join().unwrap_err();
    /// assert_eq!((failure.children().len(), failure.omitted()), (64, 36));
    /// assert_eq!(failure.message(), "100 threads below it failed");
    /// ```
    pub fn omitted(&self) -> u64 {
        self.0.omitted
    }

    /// The error that the thread has returned, if it is an `E`. `None` for a panic, for a thread
    /// below which others failed, and for an error of another type. An error that came as an
    /// `anyhow::Error` is found in it, also below a context, as anyhow's own `downcast_ref` does.
    ///
    /// ```
    /// use selvedge::spawn_fallible;
    /// use std::io;
    ///
    /// let reader = spawn_fallible("reader", |_please_stop| std::fs::read("no such file"));
    /// let failure = reader.join().unwrap_err();
    /// let error = failure.downcast_ref::<io::Error>().expect("fs::read returns one");
    /// assert_eq!(error.kind(), io::ErrorKind::NotFound);
    /// ```
    pub fn downcast_ref<E: Error + Send + Sync + 'static>(&self) -> Option<&E> {
        match &self.0.cause {
            Cause::Error(Some(error)) | Cause::Stopped(Some(error)) => kept_error::downcast_ref(&**error),
            _ => None,
        }
    }

    /// Takes out the error that the thread has returned, if it is an `E`, as
    /// [`downcast_ref`](Self::downcast_ref) finds it. What else is known of the failure is dropped
    /// then, also the failures below it ([`children`](Self::children)). For the payload of a panic
    /// there is [`into_panic`](Self::into_panic).
    ///
    /// # Errors
    /// The failure itself, unchanged.
    ///
    /// ```
    /// use selvedge::{Failure, spawn_fallible};
    /// use std::num::ParseIntError;
    ///
    /// fn port(text: &'static str) -> Result<u16, ParseIntError> {
    ///     let parser = spawn_fallible("parser", move |_please_stop| text.parse::<u16>());
    ///     parser.join().map_err(|failure| failure.downcast().unwrap_or_else(|failure: Failure| failure.resume()))
    /// }
    /// assert_eq!(port("8080"), Ok(8080));
    /// assert!(port("8080x").is_err());
    /// ```
    pub fn downcast<E: Error + Send + Sync + 'static>(mut self) -> Result<E, Failure> {
        let (Cause::Error(slot) | Cause::Stopped(slot)) = &mut self.0.cause else { return Err(self) };
        match slot.take().map(kept_error::downcast) {
            Some(Ok(error)) => return Ok(error),
            Some(Err(error)) => *slot = Some(error),
            None => {}
        }
        Err(self)
    }

    /// The panic's payload, for `resume_unwind`. For other failures, the text of the failure.
    /// Raised again in a thread of the tree, on whichever thread, it keeps the place and the
    /// backtrace of this panic; [`resume`](Self::resume) keeps all.
    pub fn into_panic(self) -> Payload {
        let payload = match &self.0.cause {
            Cause::Panic(payload) => payload.lock().take(),
            _ => None,
        };
        let Some(payload) = payload else { return Box::new(self.to_string()) };
        if let Some(backtrace) = &self.0.backtrace {
            seen::remember_for_others(Arc::new(Seen {
                text: self.0.message.clone(),
                location: self.0.location.clone(),
                backtrace: backtrace.clone(),
                logged: self.0.logged,
                failure_context: self.0.failure_context.clone(),
                payload: Identity::of_box(&*payload),
            }));
        }
        payload
    }

    /// Panics with this failure, for a thread that cannot go on without another one. In a thread of
    /// the tree that does not catch it, it becomes part of that thread's failure as it is: path,
    /// place, backtrace, and what is below it. The panic hook is not called again.
    ///
    /// ```
    /// let parent = selvedge::spawn("parent", |_please_stop| {
    ///     let child = selvedge::spawn("child", |_please_stop| panic!("deep trouble"));
    ///     child.join().unwrap_or_else(|failure| failure.resume())
    /// });
    /// let failure = parent.join().unwrap_err();
    /// assert!(failure.children()[0].thread_path().ends_with("/parent/child"));
    /// assert!(failure.children()[0].location().is_some());
    /// ```
    ///
    /// # Panics
    /// Always.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(Box::new(self))
    }
}

/// The failures below a thread, for its own failure.
#[derive(Default)]
pub(crate) struct Failures {
    /// In the order of the children's start.
    pub(crate) kept: Vec<Failure>,
    /// The number of further failures that were not kept.
    pub(crate) omitted: u64,
}

impl Failures {
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn append(&mut self, mut more: Failures) {
        self.kept.append(&mut more.kept);
        self.omitted += more.omitted;
    }
}

/// The log target of failures that are in the report on stderr, which follows at once. A console
/// that leads to the same place leaves them out.
pub(crate) const IN_REPORT: &str = "selvedge::failed";

/// A failure that the log has not been told of.
pub(crate) struct Unlogged {
    line: String,
    /// The panic hook has seen it, and written it to stderr where the log did not take it.
    by_hook: bool,
}

impl Unlogged {
    /// Logs it. Returns `false` if neither the log has taken it nor the hook has told it.
    pub(crate) fn log(&self) -> bool {
        was_logged(|| log::error!("{}", self.line)) || self.by_hook
    }

    /// Logs it for the places that the report on stderr, which is to follow, does not reach.
    pub(crate) fn log_before_report(&self) {
        log::error!(target: IN_REPORT, "{}", self.line);
    }

    /// Logs it, and writes it to stderr if it would be told nowhere else.
    pub(crate) fn tell(&self) {
        if !self.log() {
            self.remark();
        }
    }

    /// Writes it to stderr.
    pub(crate) fn remark(&self) {
        remark(&format!("selvedge: {}", self.line));
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            Cause::Error(Some(error)) | Cause::Stopped(Some(error)) => Some(kept_error::own(&**error)),
            Cause::Stopped(None) => Some(STOPPED),
            _ => None,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        match &mut self.cause {
            Cause::Panic(payload) => payload.get_mut().take().into_iter().for_each(drop_payload),
            Cause::Error(error) | Cause::Stopped(error) => error.take().into_iter().for_each(drop_payload),
            Cause::Children | Cause::Reported => {}
        }
        // One after the other, not each within its parent: they may be nested deeper than a stack.
        let mut next = std::mem::take(&mut self.children);
        while let Some(mut failure) = next.pop() {
            next.append(&mut failure.0.children);
        }
    }
}
