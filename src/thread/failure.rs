//! A failure: what is known of a thread that failed, and of the failed threads below it.

use super::failure_context::FailureContext;
use super::seen::{self, Identity, Seen};
use super::tree::{self, Failures, Node};
use crate::error::{STOPPED, Stopped, drop_payload, is_text_of_stop, panic_message};
use crate::model::locks::Mutex;
use crate::os::tell::{remark, was_logged};
use crate::signal::Reason;
use std::any::Any;
use std::backtrace::Backtrace;
use std::error::Error;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type Payload = Box<dyn Any + Send>;

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
pub struct Failure(Box<Inner>);

struct Inner {
    path: Arc<str>,
    cause: Cause,
    message: String,
    location: Option<String>,
    backtrace: Option<Arc<Backtrace>>,
    failure_context: FailureContext,
    /// How often the thread had been run again by then.
    restarts: u64,
    /// The log has been told.
    logged: bool,
    children: Vec<Failure>,
    /// How many more there were than `children`.
    omitted: u64,
}

enum Cause {
    /// The payload, until it is taken. In a lock only because payloads are not Sync, and errors
    /// should be.
    Panic(Mutex<Option<Payload>>),
    Error(Option<Box<dyn Error + Send + Sync>>),
    /// It was asked to stop, and ended with an error that says so. The thread is well; it only has
    /// no value.
    Stopped(Option<Box<dyn Error + Send + Sync>>),
    /// The thread itself was well.
    Children,
    /// Its parent was told when it ended.
    Reported,
}

impl Failure {
    /// On the thread that has panicked, after the catch.
    pub(crate) fn panic(node: &Node, payload: Payload) -> Failure {
        // A failure that was raised as a panic stays what it is.
        let payload = match payload.downcast::<Failure>() {
            Ok(failure) => return Failure::adopt(node, *failure),
            Err(payload) => payload,
        };
        let message = panic_message(&*payload);
        let seen = seen::take(&*payload, &message);
        let mut failure = Failure::of(node, Cause::Panic(Mutex::new(Some(payload))), message);
        match seen {
            Some(seen) => failure.take_from(seen),
            // It came past the hook.
            None => failure.0.failure_context = FailureContext::of_now(),
        }
        failure.0.failure_context.of_thread(node);
        failure
    }

    /// On the thread that panics, which is at `path`, before that aborts the process.
    pub(super) fn of_abort(path: &Arc<str>, seen: Seen) -> Failure {
        let mut failure = Failure::new(path, Cause::Panic(Mutex::new(None)), seen.text.clone());
        failure.take_from(seen);
        if tree::is_in_tree() {
            failure.0.failure_context.of_thread(&tree::current());
        }
        failure
    }

    fn take_from(&mut self, seen: Seen) {
        self.0.logged = seen.logged;
        self.0.location = seen.location;
        self.0.backtrace = Some(seen.backtrace);
        self.0.failure_context = seen.failure_context;
    }

    /// On the thread that has returned it.
    pub(crate) fn error(node: &Node, error: Box<dyn Error + Send + Sync>) -> Failure {
        // A failure that comes back as an error, from join()?, is not told once more as a text: it
        // stays a failure.
        match error.downcast::<Failure>() {
            Ok(failure) => Failure::adopt(node, *failure),
            Err(error) => {
                let message = with_sources(&*error);
                if node.please_stop.is_go() && is_of_stop(&*error) {
                    return Failure::of(node, Cause::Stopped(Some(error)), message);
                }
                Failure::of(node, Cause::Error(Some(error)), message).with_failure_context(node)
            }
        }
    }

    /// For an error of which only the text can be had.
    pub(crate) fn text(node: &Node, message: String) -> Failure {
        if node.please_stop.is_go() && is_text_of_stop(&message) {
            return Failure::of(node, Cause::Stopped(None), message);
        }
        Failure::of(node, Cause::Error(None), message).with_failure_context(node)
    }

    /// `node` was asked to stop, and `error` says so.
    pub(crate) fn stopped(node: &Node, error: &dyn Error) -> Failure {
        Failure::of(node, Cause::Stopped(None), error.to_string())
    }

    fn with_failure_context(mut self, node: &Node) -> Failure {
        self.0.failure_context = FailureContext::of_now();
        self.0.failure_context.of_thread(node);
        self
    }

    /// `failure` of another thread was returned by this one.
    pub(crate) fn adopt(node: &Node, failure: Failure) -> Failure {
        if failure.0.path == node.path {
            return failure;
        }
        if failure.is_stopped() && node.please_stop.is_go() {
            return Failure::of(node, Cause::Stopped(None), failure.to_string());
        }
        Failure::below(node, Failures { kept: vec![failure], omitted: 0 })
    }

    pub(crate) fn reported(path: &Arc<str>, parent: &str) -> Failure {
        Failure::new(path, Cause::Reported, format!("{parent} has been told of it"))
    }

    /// It had not ended, or its failure was still to be told, when the process forked.
    pub(crate) fn in_parent_process(path: &Arc<str>) -> Failure {
        let message = "it is a thread of the parent process; this process is a forked child".to_owned();
        Failure::new(path, Cause::Reported, message)
    }

    fn below(node: &Node, children: Failures) -> Failure {
        let mut failure = Failure::of(node, Cause::Children, String::new());
        failure.set_children(children);
        failure
    }

    fn of(node: &Node, cause: Cause, message: String) -> Failure {
        let mut failure = Failure::new(&node.path, cause, message);
        failure.0.restarts = node.restarts.load(Ordering::Relaxed);
        failure
    }

    fn new(path: &Arc<str>, cause: Cause, message: String) -> Failure {
        Failure(Box::new(Inner {
            path: path.clone(),
            cause,
            message,
            location: None,
            backtrace: None,
            failure_context: FailureContext::default(),
            restarts: 0,
            logged: false,
            children: Vec::new(),
            omitted: 0,
        }))
    }

    /// The thread's own failure and those of its children as one; `None` if all is well.
    pub(crate) fn merge(node: &Node, own: Option<Failure>, children: Failures) -> Option<Failure> {
        match own {
            None if children.is_empty() => None,
            None => Some(Failure::below(node, children)),
            Some(own) => Some(own.with_more(children)),
        }
    }

    /// Adds `children` after the failures that it has.
    pub(super) fn with_children(self, children: Vec<Failure>) -> Failure {
        self.with_more(Failures { kept: children, omitted: 0 })
    }

    fn with_more(mut self, more: Failures) -> Failure {
        let mut all = Failures { kept: std::mem::take(&mut self.0.children), omitted: self.0.omitted };
        all.append(more);
        self.set_children(all);
        self
    }

    fn set_children(&mut self, children: Failures) {
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

/// Returns `true` if the error, or what caused it, says that the thread was asked to stop.
pub(crate) fn is_of_stop(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // Whether a failure of another thread was a stop was decided when that thread ended.
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.is_stopped();
        }
        if error.is::<Stopped>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The message of an error and of its sources, each once.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error:#}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors print their source themselves.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

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

    /// Logs it, and writes it to stderr if it would be told nowhere else.
    pub(super) fn tell(&self) {
        if !self.log() {
            remark(&format!("selvedge: {}", self.line));
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            Cause::Error(Some(error)) | Cause::Stopped(Some(error)) => Some(&**error),
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
